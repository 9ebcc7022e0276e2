"""Decoder parameters as data: default, bounds and a line of help; the manifest's are checked against them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edgecv_runtime.errors import BundleError


@dataclass(frozen=True)
class Parameter:
    """One parameter of a decoder.

    Attributes
    ----------
    default : plain JSON value
        `REQUIRED` where there is none.
    help : str
        One line.
    low, high : float
        Bounds of a number, or of every number in a list; both inclusive.
    choices : tuple of str
        Of a string.
    shape : tuple of int or None
        Of a (nested) list of numbers; None for any length. Empty for a single value.
    """

    default: Any
    help: str
    low: float = -math.inf
    high: float = math.inf
    choices: tuple[str, ...] = ()
    shape: tuple[int | None, ...] = ()
    optional: bool = False
    whole: bool = False

    def accepts(self, value: Any) -> bool:
        """Whether a value may stand in a manifest."""
        if value is None:
            return self.optional
        if self.choices:
            return value in self.choices
        if isinstance(self.default, bool):
            return isinstance(value, bool)
        return self._numbers(value, self.shape)

    def _numbers(self, value: Any, shape: tuple[int | None, ...]) -> bool:
        if shape:
            fits = isinstance(value, (list, tuple)) and len(value) > 0 and shape[0] in (None, len(value))
            return fits and all(self._numbers(item, shape[1:]) for item in value)
        kinds = (int,) if self.whole else (int, float)
        return isinstance(value, kinds) and not isinstance(value, bool) and self.low <= value <= self.high

    @property
    def wanted(self) -> str:
        """What it takes, for a message."""
        if self.choices:
            return " | ".join(self.choices)
        if isinstance(self.default, bool):
            return "true or false"
        number = "a whole number" if self.whole else "a number"
        if self.low > -math.inf or self.high < math.inf:
            number += f" in [{self.low:g}, {self.high:g}]"
        for length in reversed(self.shape):
            number = f"a list of {'' if length is None else f'{length} times '}{number}"
        return number + (" or null" if self.optional else "")


class _Required:
    def __repr__(self) -> str:
        return "required"


REQUIRED = _Required()

Parameters = Mapping[str, Parameter]

DETECTION: Parameters = {
    "score_threshold": Parameter(0.25, "detections that score lower are left out", 0, 1),
    "iou_threshold": Parameter(0.5, "overlap above which the worse of two boxes goes", 0, 1),
    "max_detections": Parameter(100, "most detections of a picture", 1, 10_000, whole=True),
    "top_k": Parameter(3000, "most candidates that enter the suppression", 1, 1_000_000, whole=True),
    "class_agnostic": Parameter(False, "boxes of different classes suppress each other"),
    "method": Parameter(
        "hard",
        "how overlapping boxes are suppressed",
        choices=("hard", "diou", "soft-linear", "soft-gaussian", "matrix", "weighted"),
    ),
}


def read_parameters(decoder: str, known: Parameters, given: Mapping[str, Any]) -> dict[str, Any]:
    """The manifest's parameters with the defaults filled in.

    Raises
    ------
    BundleError
        A parameter that the decoder does not have, one out of its bounds, or one missing.
    """
    for name, value in given.items():
        if name not in known:
            raise BundleError(f"decoder {decoder!r} takes {', '.join(known) or 'no parameters'}, not {name!r}")
        if not known[name].accepts(value):
            raise BundleError(
                f"{name} of decoder {decoder!r} must be {known[name].wanted} ({known[name].help}); "
                f"the manifest says {value!r:.80}"
            )
    read = {name: given.get(name, parameter.default) for name, parameter in known.items()}
    for name, value in read.items():
        if value is REQUIRED:
            raise BundleError(f"decoder {decoder!r} needs {name}: {known[name].wanted} ({known[name].help})")
    return read
