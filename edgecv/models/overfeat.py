"""OverFeat: a classifier and a box regressor slid over the picture as convolutions (Sermanet et al. 2014, 1312.6229).

Every layer is a convolution, so that a picture larger than the window gives the answers of all windows, 32 pixels
apart, at the price of the one picture: section 3.5. `edgecv.fully_convolutional` does the same to a network that ends
in dense layers.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from edgecv.layers.shapes import check_classes, check_image_shape
from edgecv.models.registry import ModelRecord, Option, Paper, register
from edgecv.two_stage.options import NO_WEIGHTS, PIXELS
from edgecv_runtime.errors import InputError

if TYPE_CHECKING:
    import keras
    import numpy as np
    import numpy.typing as npt

_WINDOW = 231
_STRIDE = 32
_SMALLEST = 71  # leaves one place before layer 6
_CLASSES = 1000
_WIDTHS = (96, 256, 512, 1024, 1024)  # table 1, stages 1 to 5
_CLASS_WIDTHS = (3072, 4096)  # stages 6 and 7
_BOX_WIDTHS = (4096, 1024)  # section 4.2


def _decoder(shape: tuple[int, ...], classes: int, options: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    # Boxes of one object come from many windows and are joined, rather than all but one being left out: section 4.3.
    return "rcnn", {"outputs": {"boxes": "boxes", "scores": "scores"}, "method": "weighted"}


@register(
    ModelRecord(
        name="overfeat",
        task="detection",
        summary="classes and boxes of windows that slide as convolutions",
        paper=Paper(
            "Sermanet, Eigen, Zhang, Mathieu, Fergus, LeCun",
            2014,
            "OverFeat: Integrated Recognition, Localization and Detection using Convolutional Networks",
            "1312.6229",
        ),
        input_shape=(_WINDOW, _WINDOW, 3),
        classes=_CLASSES,
        parameters=305_219_337,
        macs=2_960_693_248,
        preprocessing=PIXELS,
        options=(
            Option("alpha", float, 1.0, 0.01, 4.0, "width multiplier α: channels of every layer"),
            Option("window", int, _WINDOW, _SMALLEST, 4096, "side of the window that the classifier sees, pixels"),
        ),
        weights_note=NO_WEIGHTS,
        minimum_size=_WINDOW,
        decoder=_decoder,
    )
)
def overfeat(
    input_shape: tuple[int, int, int] | None = None,
    classes: int = _CLASSES,
    *,
    alpha: float = 1.0,
    window: int = _WINDOW,
    name: str = "overfeat",
) -> keras.Model:
    """Build OverFeat (the fast model of table 1) with fresh weights.

    Parameters
    ----------
    input_shape : (height, width, channels), optional
        At least the window; default one window, (231, 231, 3). Pixels as ``x / 127.5 - 1``.
    classes : int
        Without the background, which comes first in the scores (section 5).
    alpha : float
        Width multiplier.
    window : int
        Side of the window, pixels.
    name : str

    Returns
    -------
    keras.Model
        To ``boxes`` (N, h · w, 4 · classes), xyxy in pixels of the input, and ``scores`` (N, h · w, 1 + classes), for
        the windows row by row: see `windows_of`.

    Raises
    ------
    InputError
        A shape, class count or window that cannot be built.
    """
    import keras

    from edgecv.layers.proposals import DecodeRegions
    from edgecv.layers.roi_heads import FixedRegions

    layers = keras.layers
    check_classes(name, classes)
    if window < _SMALLEST:
        raise InputError(f"{name}: the window must be at least {_SMALLEST} pixels; received {window}")
    shape = check_image_shape(name, input_shape, (window, window, 3), window)
    image = layers.Input(shape, name="image")
    features = _body(image, alpha)
    scores = _slid(features, window, alpha, _CLASS_WIDTHS, 1 + classes, "class")
    offsets = _slid(features, window, alpha, _BOX_WIDTHS, 4 * classes, "box")
    windows = FixedRegions(windows_of(shape, window), name="windows")(features)
    outputs = [
        DecodeRegions(shape[:2], name="boxes")([windows, offsets]),
        layers.Activation("softmax", name="scores")(scores),
    ]
    return keras.Model(image, outputs, name=name)


def _body(image: Any, alpha: float) -> Any:
    """Stages 1 to 5 of table 1: from 231 pixels to 6 × 6 × 1024."""
    import keras

    from edgecv.layers.convolution import max_pool

    convolution = partial(keras.layers.Conv2D, activation="relu")
    width = [_channels(channels, alpha) for channels in _WIDTHS]
    x = convolution(width[0], 11, strides=4, name="conv1")(image)
    x = max_pool(x, 2, 2, "valid", "pool1")
    x = convolution(width[1], 5, name="conv2")(x)
    x = max_pool(x, 2, 2, "valid", "pool2")
    for stage in (3, 4, 5):
        x = convolution(width[stage - 1], 3, padding="same", name=f"conv{stage}")(x)
    return max_pool(x, 2, 2, "valid", "pool5")


def _slid(features: Any, window: int, alpha: float, widths: tuple[int, ...], outputs: int, name: str) -> Any:
    """A dense head as convolutions: the first as large as the window's map, the others 1 × 1. (N, h · w, outputs)."""
    import keras

    layers = keras.layers
    x, side = features, _map_side(window)
    for number, width in enumerate(widths, start=6):
        kernel = side if number == 6 else 1
        x = layers.Conv2D(_channels(width, alpha), kernel, activation="relu", name=f"{name}_fc{number}")(x)
    x = layers.Conv2D(outputs, 1, name=f"{name}_map")(x)
    return layers.Reshape((-1, outputs), name=f"{name}_rows")(x)


def _channels(channels: int, alpha: float) -> int:
    return max(1, round(channels * alpha))


def _map_side(pixels: int) -> int:
    """Places that stage 5 leaves of so many pixels."""
    return (((pixels - 11) // 4 + 1) // 2 - 4) // 2 // 2


def windows_of(shape: tuple[int, ...], window: int = _WINDOW) -> npt.NDArray[np.float32]:
    """(h · w, 4): the window behind each answer, xyxy in pixels of an input of (height, width, ...), row by row.

    Examples
    --------
    >>> windows_of((231, 270, 3)).tolist()
    [[0.0, 0.0, 231.0, 231.0], [32.0, 0.0, 263.0, 231.0]]
    """
    import numpy as np

    side = _map_side(window)
    rows, columns = (_map_side(length) - side + 1 for length in shape[:2])
    top, left = (axis.ravel() * _STRIDE for axis in np.mgrid[0:rows, 0:columns])
    return np.stack([left, top, left + window, top + window], axis=1).astype(np.float32)
