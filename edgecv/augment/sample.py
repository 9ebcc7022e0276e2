"""A training picture with what is known of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecv_runtime.errors import InputError
from edgecv_runtime.metrics.miou import IGNORED

UNLABELLED = IGNORED
"""What a map of classes holds where nothing is known: beyond the border of a picture that was moved."""


@dataclass(frozen=True, eq=False)
class Sample:
    """A picture and its labels, which move with it.

    Coordinates are pixels of the picture; a pixel covers [i, i + 1), as in the runtime.

    Attributes
    ----------
    image : (H, W, C) uint8
    boxes : (n, 4) float32, optional
        xyxy.
    classes : (n,) int64, optional
        Of the boxes.
    masks : (H, W) integers or (n, H, W) bool, optional
        A map of classes (255 unlabelled), or a mask for each object.
    keypoints : (n, K, 3) float32, optional
        x, y and whether it is visible (above 0).

    Raises
    ------
    InputError
        Another shape or dtype, or lengths that differ.

    Examples
    --------
    >>> sample = Sample(np.zeros((20, 30, 3), np.uint8), boxes=[[2, 3, 12, 13]], classes=[1])
    >>> sample.boxes.dtype, sample.size
    (dtype('float32'), (20, 30))
    """

    image: npt.NDArray[np.uint8]
    boxes: npt.NDArray[np.float32] | None = None
    classes: npt.NDArray[np.int64] | None = None
    masks: npt.NDArray[Any] | None = None
    keypoints: npt.NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        image = np.asarray(self.image)
        if image.ndim != 3 or image.dtype != np.uint8:
            raise InputError(f"an image must be (H, W, C) uint8; received {image.shape} {image.dtype}")
        converted: dict[str, Any] = {"image": image}
        for name, dtype in (("boxes", np.float32), ("classes", np.int64), ("keypoints", np.float32)):
            value = getattr(self, name)
            if value is not None:
                converted[name] = np.asarray(value, dtype)
        if converted.get("boxes") is not None and converted["boxes"].size == 0:
            converted["boxes"] = converted["boxes"].reshape(0, 4)
        if self.masks is not None:
            converted["masks"] = np.asarray(self.masks)
        for name, value in converted.items():
            object.__setattr__(self, name, value)
        self._check()

    def _check(self) -> None:
        if self.boxes is not None and (self.boxes.ndim != 2 or self.boxes.shape[1] != 4):
            raise InputError(f"boxes must be (n, 4) xyxy pixels; received shape {self.boxes.shape}")
        if self.keypoints is not None and (self.keypoints.ndim != 3 or self.keypoints.shape[2] != 3):
            raise InputError(f"keypoints must be (n, K, 3): x, y, visible; received shape {self.keypoints.shape}")
        if self.masks is not None and (self.masks.ndim not in (2, 3) or self.masks.shape[-2:] != self.size):
            raise InputError(
                f"masks must be (H, W) or (n, H, W) of the picture's {self.size}; received shape {self.masks.shape}"
            )
        lengths = {
            name: len(value)
            for name, value in (
                ("boxes", self.boxes),
                ("classes", self.classes),
                ("keypoints", self.keypoints),
                ("masks", self.masks if self.by_object else None),
            )
            if value is not None
        }
        if len(set(lengths.values())) > 1:
            found = ", ".join(f"{count} {name}" for name, count in lengths.items())
            raise InputError(f"every object needs one of each; received {found}")

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.image.shape[0], self.image.shape[1]

    @property
    def by_object(self) -> bool:
        """Whether there is a mask for each object."""
        return self.masks is not None and self.masks.ndim == 3

    def with_image(self, image: npt.NDArray[np.uint8]) -> Sample:
        """The same labels with other pixels of the same size."""
        return replace(self, image=image)

    def keep(self, chosen: npt.NDArray[np.bool_]) -> Sample:
        """The objects for which (n,) `chosen` is true."""
        return replace(
            self,
            boxes=None if self.boxes is None else self.boxes[chosen],
            classes=None if self.classes is None else self.classes[chosen],
            masks=self.masks[chosen] if self.masks is not None and self.by_object else self.masks,
            keypoints=None if self.keypoints is None else self.keypoints[chosen],
        )


@dataclass(frozen=True, eq=False)
class ArraySample(Sample):
    """A signal or a volume in the place of a picture: batches take it, augmentation does not.

    Attributes
    ----------
    image : (..., C) float32
        Its values.

    Raises
    ------
    InputError
        Another dtype.
    """

    def __post_init__(self) -> None:
        if self.image.dtype != np.float32:
            raise InputError(f"a signal or volume must be float32; received {self.image.dtype}")
