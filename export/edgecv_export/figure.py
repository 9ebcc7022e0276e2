"""The one figure of accuracy that a budget is about, found in a report by its key."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# Key in reports and in `edgecv eval --json`: what people call it, and what agreement with the float source means.
_FIGURES = {
    "top1": ("top-1", "the same best class as the float source"),
    "miou": ("mIoU", "pixels with the float source's class"),
    "map50": ("mAP50", "objects found as by the float source"),
    "tar_at_far": ("TAR at FAR", "pairs of one person judged as by the float source"),
}


@dataclass(frozen=True)
class Figure:
    """A figure of accuracy.

    Attributes
    ----------
    key : str
        As in reports.
    name : str
        For people.
    value : float in [0, 1], or None
        None where nothing was measured.
    agreement : str
        What agreement with the float source means beside it.
    """

    key: str
    name: str
    value: float | None
    agreement: str

    def to_dict(self) -> dict[str, float | None]:
        """As in reports: the key and the value."""
        return {self.key: self.value}


def figure(entry: Mapping[str, Any]) -> Figure:
    """The figure of an accuracy, or of a candidate of a search, as reports hold them.

    Examples
    --------
    >>> figure({"tar_at_far": 0.97, "far": 0.001, "n": 320}).name
    'TAR at FAR 0.001'
    """
    key = next((key for key in _FIGURES if entry.get(key) is not None), "top1")
    name, agreement = _FIGURES[key]
    if entry.get("far") is not None:
        name = f"{name} {entry['far']:g}"
    return Figure(key, name, entry.get(key), agreement)
