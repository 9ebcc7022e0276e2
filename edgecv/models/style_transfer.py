"""A network that paints pictures in one style at once (Johnson, Alahi, Fei-Fei 2016), made small for devices.

What differs from the published network: a fraction of its channels; depthwise-separable convolutions in the residual
blocks; enlarging by nearest neighbours and a convolution, where transposed ones leave a chequered pattern (Odena,
Dumoulin, Olah 2016); a sigmoid where they scale a tanh, so that pixels lie in 0..1.

Normalisation is a choice. Batch normalisation folds into the convolutions: it costs a device nothing and int8 loses
nothing by it. Instance normalisation (Ulyanov, Vedaldi, Lempitsky 2016) gives the better pictures, but needs mean and
variance of every map of every picture at run time, which integer kernels round badly and most NPUs do not have.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from edgecv.layers.shapes import check_image_shape
from edgecv.models.fcn import check_multiple
from edgecv.models.registry import ModelRecord, Option, Paper, Preprocessing, register
from edgecv_runtime.errors import InputError

if TYPE_CHECKING:
    import keras

NORMS = ("batch", "instance")

_SHAPE = (256, 256, 3)
_STRIDE = 4
_EPSILON = 1e-5


def _decoder(input_shape: tuple[int, ...], classes: int, options: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    return "image", {"scale": 255.0}


@register(
    ModelRecord(
        name="style_transfer",
        task="image",
        summary="paints a picture in the style it has learned, small enough for a device",
        paper=Paper(
            "Johnson, Alahi, Fei-Fei",
            2016,
            "Perceptual Losses for Real-Time Style Transfer and Super-Resolution",
            "1603.08155",
        ),
        input_shape=_SHAPE,
        classes=0,
        parameters=103_779,
        macs=1_455_947_776,
        preprocessing=Preprocessing(mean=(0.0,) * 3, std=(255.0,) * 3),
        options=(
            Option("filters", int, 16, 1, 128, "channels at full size; twice and four times as many below"),
            Option("blocks", int, 5, 0, 16, "residual blocks"),
            Option("norm", str, "batch", help="normalisation: batch (folds away) or instance (better pictures)"),
        ),
        weights_note="it is trained for one style: benchmarks/style_transfer.py",
        minimum_size=16,
        decoder=_decoder,
    )
)
def style_transfer(
    input_shape: tuple[int, int, int] | None = None,
    *,
    filters: int = 16,
    blocks: int = 5,
    norm: str = "batch",
    include_top: bool = True,
    name: str = "style_transfer",
) -> keras.Model:
    """Build a transfer network with fresh weights.

    Parameters
    ----------
    input_shape : (height, width, channels), optional
        Default (256, 256, 3); height and width multiples of 4. Pixels / 255.
    filters : int
        At full size; the published network has 32.
    blocks : int
        Residual blocks at a quarter of the size; published are 5.
    norm : {"batch", "instance"}
    include_top : bool
        False ends with the (N, H, W, filters) map before the pixels.
    name : str

    Returns
    -------
    keras.Model
        From (N, H, W, C) in 0..1 to a painting of the same shape. `edgecv.style.feed_forward` trains it.

    Raises
    ------
    InputError
        A shape or normalisation that cannot be built.
    """
    import keras

    layers = keras.layers
    shape = check_image_shape(name, input_shape, _SHAPE, 16)
    check_multiple(name, shape, _STRIDE)
    if norm not in NORMS:
        raise InputError(f"norm must be {' or '.join(map(repr, NORMS))}; received {norm!r}")
    x = image = layers.Input(shape, name="image")
    x = _convolve(x, filters, 9, 1, norm, "stem")
    x = _convolve(x, 2 * filters, 3, 2, norm, "down1")
    x = _convolve(x, 4 * filters, 3, 2, norm, "down2")
    for number in range(1, blocks + 1):
        way = x
        for part, last in ((1, False), (2, True)):
            x = _separable(x, 4 * filters, norm, f"block{number}_{part}", activate=not last)
        x = layers.Add(name=f"block{number}_add")([way, x])
    for number, width in ((1, 2 * filters), (2, filters)):
        x = layers.UpSampling2D(2, interpolation="nearest", name=f"up{number}_enlarge")(x)
        x = _convolve(x, width, 3, 1, norm, f"up{number}")
    if include_top:
        x = layers.Conv2D(shape[2], 9, padding="same", name="paint")(x)
        x = layers.Activation("sigmoid", name="pixels")(x)
    return keras.Model(image, x, name=name)


def _normalize(x: Any, norm: str, name: str) -> Any:
    import keras

    if norm == "batch":
        # Few steps are trained: the default momentum would still remember the initial statistics.
        return keras.layers.BatchNormalization(momentum=0.9, epsilon=_EPSILON, name=f"{name}_bn")(x)
    return keras.layers.GroupNormalization(groups=-1, epsilon=_EPSILON, name=f"{name}_in")(x)


def _convolve(x: Any, filters: int, kernel: int, strides: int, norm: str, name: str) -> Any:
    import keras

    layers = keras.layers
    x = layers.Conv2D(filters, kernel, strides=strides, padding="same", use_bias=False, name=f"{name}_conv")(x)
    return layers.ReLU(name=f"{name}_relu")(_normalize(x, norm, name))


def _separable(x: Any, filters: int, norm: str, name: str, activate: bool) -> Any:
    """A depthwise 3×3 and a pointwise 1×1 convolution."""
    import keras

    layers = keras.layers
    x = layers.DepthwiseConv2D(3, padding="same", use_bias=False, name=f"{name}_depthwise")(x)
    x = layers.Conv2D(filters, 1, use_bias=False, name=f"{name}_pointwise")(x)
    x = _normalize(x, norm, name)
    return layers.ReLU(name=f"{name}_relu")(x) if activate else x
