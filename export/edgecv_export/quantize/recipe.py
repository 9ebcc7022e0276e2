"""How an integer artefact is made: the choices that a search goes through, and that stand in its report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from edgecv_export.quantize.affine import Range
from edgecv_export.quantize.ranges import ESTIMATORS
from edgecv_runtime.errors import InputError


@dataclass(frozen=True, eq=False)
class Recipe:
    """One way to quantize.

    Attributes
    ----------
    estimator : {"minmax", "percentile", "entropy", "mse"}
        How the range of an activation follows from the calibration images.
    images : int, optional
        How many of the calibration images are used, evenly spaced. Default: all.
    equalize : bool
        Even out the ranges of channels between layers first (`equalize`).
    adaround : bool
        Learn for every weight whether it is rounded up or down (`learned_kernel`); else to nearest.
    correct : bool
        Correct the biases for the shift that rounding causes.
    float_layers : tuple of str
        Keras layers that stay in float; the activation behind one goes with it.
    widen : float
        Factor to the width of every activation's range but the image's and the logits': a stress that stands for
        fewer bits (16 for four bits fewer).
    network : keras.Model, optional
        A network trained for quantization, taken in the source's place: ends at the logits, batch norms folded.
    ranges : mapping of str to Range
        Trained ranges, by the name of the layer whose output is stored; they go before estimated ones.
    """

    estimator: str = "minmax"
    images: int | None = None
    equalize: bool = False
    adaround: bool = True
    correct: bool = True
    float_layers: tuple[str, ...] = ()
    widen: float = 1.0
    network: Any = None
    ranges: Mapping[str, Range] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.estimator not in ESTIMATORS:
            raise InputError(f"the range estimator must be one of {', '.join(ESTIMATORS)}; received {self.estimator!r}")
        if self.images is not None and self.images < 1:
            raise InputError(f"at least one calibration image is required; received images={self.images}")
        if not self.widen > 0:
            raise InputError(f"widen must be above 0; received {self.widen:g}")

    @property
    def trained(self) -> bool:
        """Whether it comes from quantization-aware training."""
        return self.network is not None

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values: what differs from the default."""
        plain = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        del plain["network"], plain["ranges"]
        default = Recipe()
        found = {name: value for name, value in plain.items() if value != getattr(default, name)}
        if self.trained:
            found["trained"] = True
        return {name: list(value) if isinstance(value, tuple) else value for name, value in found.items()}


PLAIN = Recipe(adaround=False, correct=False)
"""What a plain converter does: min-max ranges, weights to nearest."""
