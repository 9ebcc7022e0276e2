"""What single units respond to: filters, activations, and the patches that excite one most."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from edgecv.explain.network import Network
from edgecv.explain.pictures import grid, stretch
from edgecv.receptive_field import receptive_fields
from edgecv_runtime.errors import InputError
from edgecv_runtime.images import Image, cv2

if TYPE_CHECKING:
    import keras

Array = npt.NDArray[np.float32]
_TILE = 64  # side of a drawn patch, pixels


@dataclass(frozen=True)
class Patch:
    """A part of an input that excites a unit.

    Attributes
    ----------
    image : int
        Which of the inputs.
    position : (row, column) of the feature map
    box : (top, left, bottom, right), pixels of the input
        The unit's receptive field, cut to the picture.
    activation : float
    pixels : (h, w, C) float32
        What lies in the box.
    """

    image: int
    position: tuple[int, int]
    box: tuple[int, int, int, int]
    activation: float
    pixels: Array


def maximal_patches(model: keras.Model, layer: str, unit: int, inputs: Iterable[Any], count: int = 9) -> list[Patch]:
    """The patches on which one channel of a layer is largest, one per input, the strongest first.

    Parameters
    ----------
    model : keras.Model
    layer : str
        One with a receptive field.
    unit : int
        Channel.
    inputs : iterable of (H, W, C) float32
        Read one after the other: a generator over many pictures is fine.
    count : int

    Raises
    ------
    InputError
        No such unit, or the layer has no receptive field (it mixes all positions).
    """
    network = Network(model, layer)
    field = receptive_fields(model).get(layer)
    if field is None:
        raise InputError(
            f"layer {layer!r} must have a receptive field; it mixes all positions, or its reach is unknown"
        )
    found: list[Patch] = []
    for index, picture in enumerate(inputs):
        image = np.asarray(picture, np.float32)
        maps = network.features(image[None])[0]
        if not 0 <= unit < maps.shape[2]:
            raise InputError(f"layer {layer!r} has units 0 to {maps.shape[2] - 1}; received {unit}")
        row, column = divmod(int(maps[..., unit].argmax()), maps.shape[1])
        (top, bottom), (left, right) = (
            (max(0, int(np.floor(first))), min(length, int(np.ceil(last)) + 1))
            for (first, last), length in zip(field.of((row, column)), image.shape[:2], strict=True)
        )
        pixels = image[top:bottom, left:right].copy()
        activation = float(maps[row, column, unit])
        found.append(Patch(index, (row, column), (top, left, bottom, right), activation, pixels))
        found = sorted(found, key=lambda patch: -patch.activation)[:count]
    return found


def plot_patches(patches: list[Patch]) -> Image:
    """The patches in a grid, each stretched to one size and to the full range of brightness."""
    opencv = cv2("drawing patches")
    return grid([opencv.resize(stretch(_rgb(patch.pixels)), (_TILE, _TILE)) for patch in patches])


def first_layer_filters(model: keras.Model) -> Array:
    """(filters, height, width, channels): the kernels of the first convolution.

    Raises
    ------
    InputError
        The model has no 2-D convolution.
    """
    import keras

    for layer in model.layers:
        if isinstance(layer, keras.layers.Conv2D):
            kernel = np.asarray(keras.ops.convert_to_numpy(layer.kernel), np.float32)
            return kernel.transpose(3, 0, 1, 2)
    raise InputError(f"a model with a 2-D convolution is required; {model.name} has none")


def plot_filters(filters: npt.ArrayLike) -> Image:
    """Filters in a grid: in colour where they take three channels, else the mean over the channels in grey."""
    array = np.asarray(filters, np.float32)
    enlarge = max(1, 48 // array.shape[1])
    return grid([stretch(_rgb(kernel)) for kernel in array], enlarge=enlarge)


def activations(model: keras.Model, inputs: Any, layer: str) -> Array:
    """(h, w, C): the feature map of a layer for one input (H, W, C).

    Raises
    ------
    InputError
        No such layer, or its output is no map.
    """
    return Network(model, layer).features(np.asarray(inputs, np.float32)[None])[0]


def plot_activations(maps: npt.ArrayLike, limit: int = 64) -> Image:
    """The first `limit` channels in a grid, each over the full range of brightness."""
    array = np.asarray(maps, np.float32)
    enlarge = max(1, 48 // max(array.shape[:2]))
    return grid([stretch(array[..., channel]) for channel in range(min(limit, array.shape[2]))], enlarge=enlarge)


def _rgb(pixels: Array) -> Array:
    return pixels if pixels.shape[2] == 3 else pixels.mean(axis=2)
