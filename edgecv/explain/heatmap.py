"""A map of how much each place counts for a class, and the pictures made of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecv.explain.pictures import overlay
from edgecv_runtime.errors import InputError
from edgecv_runtime.images import Image, cv2


@dataclass(frozen=True)
class Heatmap:
    """How much each place of the network's input counts for a class.

    Attributes
    ----------
    values : (h, w) float32
        Not scaled; what they mean depends on the method. Each covers an equal share of the input.
    class_index : int
    score : float
        Of that class, before the softmax.
    method : str
    """

    values: npt.NDArray[np.float32]
    class_index: int
    score: float
    method: str

    def __post_init__(self) -> None:
        if self.values.ndim != 2:
            raise InputError(f"a heat map must be (h, w); received shape {self.values.shape}")

    def scaled(self) -> npt.NDArray[np.float32]:
        """(h, w) in 0..1: negative values are 0, the largest is 1; all 0 where nothing is positive."""
        positive = np.maximum(self.values, 0)
        return (positive / max(float(positive.max()), np.finfo(np.float32).tiny)).astype(np.float32)

    def resized(self, size: tuple[int, int]) -> npt.NDArray[np.float32]:
        """`scaled`, interpolated to (height, width)."""
        opencv = cv2("resizing a heat map")
        larger: npt.NDArray[np.float32] = opencv.resize(
            self.scaled(), (size[1], size[0]), interpolation=opencv.INTER_LINEAR
        )
        return larger

    def plot(self, image: Any) -> Image:
        """(H, W, 3) uint8 RGB: the picture under the map, blue for nothing to red for the most."""
        return overlay(image, self.scaled())
