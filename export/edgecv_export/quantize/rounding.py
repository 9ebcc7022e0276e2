"""What an artefact rounds: kernels, biases, activations."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from edgecv_export.quantize.affine import FloatArray, half, quantize_weights


@dataclass(frozen=True)
class Rounding:
    """What an artefact rounds.

    Attributes
    ----------
    kernel : callable
        ``kernel(values, channel_axes)`` gives the values as the artefact stores them.
    bias : callable
        The same for a bias.
    activations : bool
        Whether activations are rounded to 256 levels.
    """

    kernel: Callable[[FloatArray, tuple[int, ...]], FloatArray]
    bias: Callable[[FloatArray], FloatArray]
    activations: bool


INT8 = Rounding(quantize_weights, lambda bias: bias, activations=True)
INT8_WEIGHTS = Rounding(quantize_weights, lambda bias: bias, activations=False)
FLOAT16 = Rounding(lambda kernel, _: half(kernel), half, activations=False)
