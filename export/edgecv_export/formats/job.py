"""What every exporter is given: the network to convert, and the grid of its input."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecv_export.keras_source import KerasSource
from edgecv_export.plan import Plan
from edgecv_export.quantize.affine import Range
from edgecv_export.quantize.correct import FLOAT16, INT8, INT8_WEIGHTS, round_and_correct
from edgecv_export.quantize.fold import fold_batch_norms
from edgecv_export.quantize.inputs import Channels, peel_input_scaling, with_scaling_layer
from edgecv_export.source import INPUT_NAME

# The corrected biases come from this many calibration images: a mean needs few, and both networks' activations are
# held in memory.
_CORRECTION_IMAGES = 32

# Float precisions that round the weights all the same.
_WEIGHT_ROUNDING = {"fp16": FLOAT16, "dynamic": INT8_WEIGHTS}


@dataclass(frozen=True)
class InputGrid:
    """How a uint8 pixel stands for a real input: ``real = scale * (pixel - zero_point)``.

    With one mean and one std for all channels the normalisation is this grid, and costs nothing on the device.
    A mean between two levels is rounded to the next; the bias correction makes up for the half level.
    """

    scale: float
    zero_point: int

    @property
    def range(self) -> Range:
        """The real values of pixels 0 and 255."""
        return Range(-self.scale * self.zero_point, self.scale * (255 - self.zero_point))

    def to_real(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        return (pixels.astype(np.float32) - np.float32(self.zero_point)) * np.float32(self.scale)


def grid_of(mean: Channels, std: Channels) -> InputGrid | None:
    """The grid that stands for a normalisation; None where channels differ, or the mean is no level."""
    if np.allclose(mean, mean[0]) and np.allclose(std, std[0]) and 0 <= mean[0] <= 255 and std[0] > 0:
        return InputGrid(1 / std[0], int(np.floor(mean[0] + 0.5)))
    return None


@dataclass(frozen=True, eq=False)
class Job:
    """One conversion.

    Attributes
    ----------
    plan : Plan
    network : keras.Model
        What is converted. Float precisions: the whole model, fed with normalised values. Integer precisions:
        without its final activation, batch norms folded, weights on their grid, fed with `grid` values.
    normalize : callable
        For float precisions: a TensorFlow function from float pixels to the network's input.
    grid : InputGrid
        For integer precisions.
    pixels : (N, H, W, C) uint8
        Calibration images at the input's size; empty where the precision needs none.
    output_name : str
    """

    plan: Plan
    network: Any
    normalize: Callable[[Any], Any]
    grid: InputGrid
    pixels: npt.NDArray[np.uint8]
    output_name: str
    input_name: str = INPUT_NAME

    @property
    def input_shape(self) -> tuple[int, ...]:
        """(1, H, W, C)."""
        return (1, *self.network.inputs[0].shape[1:])

    def calibration_values(self) -> list[npt.NDArray[np.float32]]:
        """The calibration images as the integer network takes them, (1, H, W, C) each."""
        return [self.grid.to_real(image[None]) for image in self.pixels]


def make_job(source: KerasSource, plan: Plan, pixels: npt.NDArray[np.uint8]) -> Job:
    """Prepare a source model for one conversion."""
    mean, std = source.preprocessing.mean, source.preprocessing.std
    few = pixels[:_CORRECTION_IMAGES]
    if not plan.integer:
        network = source.model
        if plan.precision in _WEIGHT_ROUNDING:
            normalized = source.normalize(few)
            rounding = _WEIGHT_ROUNDING[plan.precision]
            network = round_and_correct(fold_batch_norms(network), normalized, normalized, rounding)
        return Job(plan, network, lambda image: (image - list(mean)) / list(std), InputGrid(1.0, 0), pixels, "scores")
    network, mean, std, grid = _onto_grid(fold_batch_norms(source.logits[0]), mean, std)
    exact = ((few - np.array(mean)) / np.array(std)).astype(np.float32)
    rounding = INT8 if plan.precision == "int8" else INT8_WEIGHTS
    network = round_and_correct(network, exact, grid.to_real(few), rounding)
    return Job(plan, network, lambda image: image, grid, pixels, "logits")


def _onto_grid(network: Any, mean: Channels, std: Channels) -> tuple[Any, Channels, Channels, InputGrid]:
    """The network with as much of the normalisation in the grid of its uint8 input as fits.

    Returns the network, the exact mean and std of the input it now takes, and the grid that stands for them.
    """
    network, mean, std = peel_input_scaling(network, mean, std)
    if (grid := grid_of(mean, std)) is not None:
        return network, mean, std, grid
    network = with_scaling_layer(network, mean, std, INPUT_NAME)
    return network, (0.0,) * len(mean), (1.0,) * len(std), InputGrid(1.0, 0)
