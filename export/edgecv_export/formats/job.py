"""What every exporter is given: the network to convert, and the grid of its input."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecv_export.plan import Plan
from edgecv_export.quantize.affine import Range
from edgecv_export.quantize.inputs import Channels
from edgecv_export.quantize.recipe import Recipe

INPUT_NAME = "image"
ARRAY_NAME = "input"  # of what is no picture


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

    def to_real(self, pixels: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        return (pixels.astype(np.float32) - np.float32(self.zero_point)) * np.float32(self.scale)


@dataclass(frozen=True)
class ArrayGrid(InputGrid):
    """The grid of an input that is no picture: real values, normalised, then rounded to 256 levels.

    Attributes
    ----------
    mean, std : tuple of float, one per channel
    """

    mean: Channels
    std: Channels

    @classmethod
    def of(cls, values: npt.NDArray[np.float32], mean: Channels, std: Channels) -> ArrayGrid:
        """The grid that holds all of some (N, ..., C) values; zero is a level of it."""
        normalized = (values - np.array(mean, np.float32)) / np.array(std, np.float32)
        reach = Range(float(normalized.min()), float(normalized.max()))
        return cls(reach.scale, int(np.rint(-reach.low / reach.scale)), mean, std)

    def to_real(self, values: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        normalized = (values - np.array(self.mean, np.float32)) / np.array(self.std, np.float32)
        levels = np.clip(np.rint(normalized / np.float32(self.scale)) + self.zero_point, 0, 255)
        return super().to_real(levels)


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
        For float precisions: a TensorFlow function from float pixels to the network's input; the values themselves of
        an input that is no picture, which the device normalises.
    grid : InputGrid
        For integer precisions.
    pixels : (N, H, W, C) uint8
        Calibration images at the input's size (float32 values where `input_dtype` says so); empty where the precision
        needs none.
    output_names : tuple of str
        What the artefact's outputs are called, in the network's order.
    recipe : Recipe
        For integer precisions: how ranges are found, and which layers stay in float.
    input_name : str
    input_dtype : {"uint8", "float32"}
        What the artefact takes: pixels, or the values of a signal or volume.
    """

    plan: Plan
    network: Any
    normalize: Callable[[Any], Any]
    grid: InputGrid
    pixels: npt.NDArray[np.uint8]
    output_names: tuple[str, ...]
    recipe: Recipe = field(default_factory=Recipe)
    input_name: str = INPUT_NAME
    input_dtype: str = "uint8"

    @property
    def input_shape(self) -> tuple[int, ...]:
        """(1, H, W, C), or as it is of other inputs."""
        return (1, *self.network.inputs[0].shape[1:])

    def calibration_values(self) -> list[npt.NDArray[np.float32]]:
        """The calibration images as the integer network takes them, (1, H, W, C) each."""
        return [self.grid.to_real(image[None]) for image in self.pixels]
