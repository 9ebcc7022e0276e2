"""A picture as the answer of a model: a painting in another style, a picture without noise."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecv_runtime.errors import InputError


@dataclass(frozen=True, eq=False)
class Picture:
    """What a model has made of a picture.

    Attributes
    ----------
    image : (H, W, 3) or (H, W) uint8, RGB or grey
        Of the source image's size; black where the model did not look (a crop).
    """

    image: npt.NDArray[np.uint8]

    def __post_init__(self) -> None:
        fits = self.image.ndim == 2 or (self.image.ndim == 3 and self.image.shape[2] == 3)
        if not fits or self.image.dtype != np.uint8:
            raise InputError(
                f"a picture must be (H, W, 3) or (H, W) uint8; received {self.image.shape}, {self.image.dtype}"
            )

    def top(self, k: int = 1) -> Picture:
        """The same: there is one picture."""
        if k < 1:
            raise InputError(f"k must be at least 1; received {k}")
        return self

    def __len__(self) -> int:
        return 1

    def __iter__(self) -> Iterator[npt.NDArray[np.uint8]]:
        """The image, once."""
        return iter((self.image,))

    def __repr__(self) -> str:
        return f"<Picture {self.summary}>"

    @property
    def summary(self) -> str:
        """One line for people."""
        height, width = self.image.shape[:2]
        return f"{width}×{height}, mean {self.image.mean():.0f}"

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values: size and mean; the pixels are in `image`."""
        means = self.image.reshape(-1, self.image.shape[2] if self.image.ndim == 3 else 1).mean(axis=0)
        return {"size": list(self.image.shape[:2]), "mean": means.tolist()}
