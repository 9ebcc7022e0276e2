"""A classifier with a dense head as a fully convolutional network: one run gives the scores of every window.

Long, Shelhamer, Darrell 2015, section 3.1; the same computation is OverFeat's dense evaluation (Sermanet et al. 2014).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from edgecv.receptive_field import ReceptiveField, Step, fields_of, flat, steps_of
from edgecv_runtime.errors import InputError, UnsupportedError

if TYPE_CHECKING:
    import keras

_POSITIONWISE = (
    "Activation", "BatchNormalization", "Dropout", "ELU", "LeakyReLU", "Normalization", "ReLU", "Rescaling", "Softmax"
)  # fmt: skip


@dataclass(frozen=True)
class Windows:
    """Where the windows of a fully convolutional classifier lie: score (i, j) is of the window that begins there.

    Attributes
    ----------
    size : (height, width), pixels
        Of the classifier's input.
    stride : (y, x), pixels
    """

    size: tuple[int, int]
    stride: tuple[int, int]

    def corner(self, row: int, column: int) -> tuple[int, int]:
        """Top and left of the window of score (row, column)."""
        return row * self.stride[0], column * self.stride[1]


def fully_convolutional(model: keras.Model, input_shape: tuple[int, int, int]) -> tuple[keras.Model, Windows]:
    """Rebuild a classifier so that it slides over larger pictures.

    Flattening and the dense layer behind it become one convolution as large as the map they took; global pooling
    becomes pooling over windows of that size; later dense layers become 1×1 convolutions. Weights are copied.

    Parameters
    ----------
    model : keras.Model
        (N, H, W, C) to (N, classes), by `Flatten` or global pooling and dense or 1×1 convolution layers.
    input_shape : (height, width, channels)
        Of the new network, at least the old one's.

    Returns
    -------
    model : keras.Model
        (N, height, width, C) to (N, h, w, classes).
    windows : Windows

    Raises
    ------
    InputError
        An input smaller than the classifier's, or of other channels.
    UnsupportedError
        The head has a layer that cannot slide.

    Notes
    -----
    The scores equal those of the sliding classifier to the last bit of rounding where no layer pads. A layer with
    padding `same` sees zeros at the border of every window when the classifier is slid, and the real surroundings here;
    a gate on a global average (squeeze-and-excitation) sees the whole picture. The scores then differ, and are what one
    trains further from.

    Examples
    --------
    >>> from edgecv import create_model
    >>> large, windows = fully_convolutional(create_model("lenet5"), (64, 96, 1))
    >>> large.output_shape, windows.stride
    ((None, 9, 17, 10), (4, 4))
    """
    import keras

    size = tuple(model.input_shape[1:])
    if len(input_shape) != 3 or input_shape[2] != size[2] or min(np.subtract(input_shape, size)) < 0:
        raise InputError(f"input_shape must be at least {size}, with {size[2]} channels; received {input_shape}")
    image = keras.layers.Input(input_shape, name="image")
    values: dict[int, Any] = {id(flat(model.inputs)[0]): image}
    heads: dict[int, tuple[int, int, int]] = {}  # tensors behind the body, with the map (h, w, C) they stand for
    copies: dict[int, Any] = {}  # of layers: one that is used several times is one layer here, too
    steps = list(steps_of(model))
    for place, step in enumerate(steps):
        if step.node.is_input:
            continue
        maps = [heads[id(tensor)] for tensor in step.inputs if id(tensor) in heads]
        shape = tuple(step.inputs[0].shape[1:])
        if not maps and not _begins_head(steps[place:]):
            arguments, options = step.node.arguments.fill_in(values)
            if id(step.layer) not in copies:
                copies[id(step.layer)] = _copy(step.layer)
            layer = copies[id(step.layer)]
            values.update(zip(map(id, step.outputs), flat(layer(*arguments, **options)), strict=True))
            continue
        if len(step.inputs) != 1:
            raise UnsupportedError(f"a head that is a chain of layers is required; {step.name} joins several")
        source = values[id(step.inputs[0])]
        result, spread = _slide(step.layer, source, maps[0] if maps else shape, first=not maps)
        values[id(step.outputs[0])] = result
        heads[id(step.outputs[0])] = spread
    built = keras.Model(image, values[id(flat(model.outputs)[0])], name=f"{model.name}_fully_convolutional")
    _copy_weights(built, model)
    return built, Windows((size[0], size[1]), _stride_of(built))


def _begins_head(steps: Sequence[Step]) -> bool:
    """Whether the first step flattens or pools the last map: what depends on it depends on nothing else.

    A gate's pooling, whose answer is multiplied with the map again, does not.
    """
    first = steps[0]
    if type(first.layer).__name__ not in ("Flatten", "GlobalAveragePooling2D", "GlobalMaxPooling2D"):
        return False
    reached = {id(tensor) for tensor in first.outputs}
    for step in steps[1:]:
        found = [id(tensor) in reached for tensor in step.inputs]
        if any(found):
            if not all(found):
                return False
            reached.update(id(tensor) for tensor in step.outputs)
    return True


def _copy(layer: Any) -> Any:
    """A fresh layer of the same settings and name."""
    return type(layer).from_config(layer.get_config())


def _slide(layer: Any, x: Any, shape: tuple[int, ...], *, first: bool) -> tuple[Any, Any]:
    """A layer of the head over windows, and the map that its output stands for: (h, w, C), or (1, 1, C)."""
    import keras

    layers, kind = keras.layers, type(layer).__name__
    if first:
        if kind == "Flatten":
            return x, shape
        pooling = layers.AveragePooling2D if kind == "GlobalAveragePooling2D" else layers.MaxPooling2D
        return pooling(shape[:2], strides=1, name=layer.name)(x), (1, 1, shape[2])
    if kind == "Dense":
        convolution = layers.Conv2D(
            layer.units, shape[:2], activation=layer.activation, use_bias=layer.use_bias, name=layer.name
        )
        return convolution(x), (1, 1, layer.units)
    if kind == "Conv2D" and layer.kernel_size == (1, 1) and shape[:2] == (1, 1):
        return _copy(layer)(x), (1, 1, layer.filters)
    if kind in ("Flatten", "Reshape") and shape[:2] == (1, 1):
        return x, shape
    last = getattr(layer, "axis", -1) in (-1, len(layer.input.shape) - 1)
    if kind in _POSITIONWISE and last and (shape[:2] == (1, 1) or kind == "Dropout"):
        config = layer.get_config()
        return type(layer).from_config({**config, **({"axis": -1} if "axis" in config else {})})(x), shape
    raise UnsupportedError(f"the head's layer {layer.name} ({kind}) cannot slide: dense, 1×1 and pooling layers can")


def _copy_weights(built: keras.Model, model: keras.Model) -> None:
    for layer in built.layers:
        if layer.weights:
            shapes = [tuple(weight.shape) for weight in layer.weights]
            values = model.get_layer(layer.name).get_weights()
            # A dense kernel (h·w·C, units) holds the rows of the flattened map in the order of a convolution's.
            layer.set_weights([value.reshape(shape) for value, shape in zip(values, shapes, strict=True)])


def _stride_of(model: keras.Model) -> tuple[int, int]:
    field: ReceptiveField | None = fields_of(list(steps_of(model)))[-1]
    if field is None:
        raise UnsupportedError(f"{model.name} holds a layer whose reach is not known: its windows cannot be placed")
    return int(field.stride[0]), int(field.stride[1])


def slide(
    model: keras.Model, image: npt.ArrayLike, stride: tuple[int, int], batch: int = 64
) -> npt.NDArray[np.float32]:
    """The plain way: the classifier on every window, (h, w, classes). To compare with, and to measure against.

    Parameters
    ----------
    model : keras.Model
        (N, H, W, C) to (N, classes).
    image : (height, width, C) float32
    stride : (y, x), pixels
    batch : int
        Windows that run at once.
    """
    pixels = np.asarray(image, np.float32)
    height, width = model.input_shape[1:3]
    rows, columns = (
        range(0, length - size + 1, step)
        for length, size, step in zip(pixels.shape[:2], (height, width), stride, strict=True)
    )
    windows = [pixels[top : top + height, left : left + width] for top in rows for left in columns]
    found = [
        np.asarray(model(np.stack(windows[first : first + batch]), training=False), np.float32)
        for first in range(0, len(windows), batch)
    ]
    return np.concatenate(found).reshape(len(rows), len(columns), -1)


def shift_and_stitch(model: keras.Model, windows: Windows, image: npt.ArrayLike) -> npt.NDArray[np.float32]:
    """Scores of the window at *every* pixel: run on every shift within a stride, the results interlaced.

    Long et al. 2015, section 3.2 (the "à trous" trick of OverFeat).

    Parameters
    ----------
    model, windows
        From `fully_convolutional`.
    image : (H + stride_y − 1, W + stride_x − 1, C) float32
        One stride less a pixel larger than the network's input.

    Returns
    -------
    (h · stride_y, w · stride_x, classes) float32
        Score (y, x) is of the window whose left upper corner is pixel (y, x).

    Raises
    ------
    InputError
        An image of another size.
    """
    pixels = np.asarray(image, np.float32)
    height, width, channels = model.input_shape[1:]
    down, right = windows.stride
    if pixels.shape != (height + down - 1, width + right - 1, channels):
        raise InputError(
            f"the image must be {(height + down - 1, width + right - 1, channels)} for an input of "
            f"{height}x{width} and a stride of {down}x{right}; received {pixels.shape}"
        )
    shifted = [pixels[y : y + height, x : x + width] for y in range(down) for x in range(right)]
    scores = np.stack([np.asarray(model(part[None], training=False), np.float32)[0] for part in shifted])
    _, rows, columns, classes = scores.shape
    laced = scores.reshape(down, right, rows, columns, classes).transpose(2, 0, 3, 1, 4)
    return laced.reshape(rows * down, columns * right, classes)
