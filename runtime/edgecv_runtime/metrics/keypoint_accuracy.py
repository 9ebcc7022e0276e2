"""How well keypoints are found: the figures of `edgecv_runtime.metrics.keypoints`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class KeypointAccuracy:
    """Average precision (AP) and recall (AR) by object keypoint similarity; NaN where there is nothing to find.

    Attributes
    ----------
    map, map50, map75 : float
        AP over similarities 0.50, 0.55, … 0.95, at 0.50, and at 0.75.
    map_medium, map_large : float
        As `map`, of objects from 32² to 96², and above that many pixels.
    ar, ar50, ar75, ar_medium, ar_large : float
        As those, recall.
    n : int
        Pictures.
    objects : int
        Objects with at least one labelled keypoint.
    skipped : int
        Pictures that could not be read.
    """

    map: float
    map50: float
    map75: float
    map_medium: float
    map_large: float
    ar: float
    ar50: float
    ar75: float
    ar_medium: float
    ar_large: float
    n: int
    objects: int
    skipped: int = 0

    @property
    def score(self) -> float:
        """The figure that a budget is about."""
        return self.map50

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}
