"""FCN-32s, 16s and 8s: VGG-16 made fully convolutional for segmentation (Long, Shelhamer, Darrell 2015).

The dense layers of VGG-16 become a 7×7 and two 1×1 convolutions; the scores are enlarged by a learned upsampling that
starts as bilinear interpolation; 16s and 8s add the scores of finer layers on the way (section 4.2). Padding is `same`
throughout, where the published network pads the picture by 100 pixels and crops.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from edgecv.layers.shapes import check_classes, check_image_shape
from edgecv.models.imagenet import MEAN_SUBTRACTED
from edgecv.models.registry import Builder, ModelRecord, Option, Paper, register
from edgecv_runtime.errors import InputError
from edgecv_runtime.manifest import Resize

if TYPE_CHECKING:
    import keras

PAPER = Paper("Long, Shelhamer, Darrell", 2015, "Fully Convolutional Networks for Semantic Segmentation", "1411.4038")
CLASSES = 21  # Pascal VOC with its background

_SHAPE = (224, 224, 3)
_STRIDE = 32
_BLOCKS = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))  # VGG-16: filters and convolutions of each block
_DENSE = 4096

# Of the finer networks, per score that is added: its layer and the pooling it reads (section 4.2).
_SKIPS = {32: (), 16: ("block4_pool",), 8: ("block4_pool", "block3_pool")}
_PARAMETERS = {32: 136_152_917, 16: 134_815_994, 8: 134_489_759}
_MACS = {32: 21_296_701_440, 16: 21_299_154_576, 8: 21_304_752_336}


def build(
    stride: int,
    name: str,
    input_shape: tuple[int, int, int] | None = None,
    classes: int = CLASSES,
    alpha: float = 1.0,
    dropout: float = 0.5,
    include_top: bool = True,
    classifier_activation: str | None = "softmax",
) -> keras.Model:
    """Build an FCN with fresh weights.

    Parameters
    ----------
    stride : {32, 16, 8}
        Of the finest scores.
    name : str
    input_shape : (height, width, channels), optional
        Default (224, 224, 3); height and width multiples of 32. Pixels less ImageNet's mean, RGB.
    classes : int
    alpha : float
        Width multiplier of every layer but the scores; 1 is the published network.
    dropout : float
        After each of the two former dense layers.
    include_top : bool
        False ends with the (N, H/32, W/32, 4096 α) map before the scores.
    classifier_activation : {"softmax", None}
        None ends with the logits.

    Returns
    -------
    keras.Model
        From (N, H, W, C) to (N, H, W, classes).

    Raises
    ------
    InputError
        A shape or class count that cannot be built.
    """
    import keras

    from edgecv.layers.heads import softmax
    from edgecv.layers.upsampling import upsample

    layers = keras.layers
    shape = check_image_shape(name, input_shape, _SHAPE, _STRIDE)
    check_classes(name, classes)
    check_multiple(name, shape, _STRIDE)
    x = image = layers.Input(shape, name="image")
    pools: dict[str, Any] = {}
    for block, (filters, count) in enumerate(_BLOCKS, start=1):
        for number in range(1, count + 1):
            x = _convolution(x, filters, alpha, 3, f"block{block}_conv{number}")
        x = pools[f"block{block}_pool"] = layers.MaxPooling2D(2, name=f"block{block}_pool")(x)
    for number, kernel in ((1, 7), (2, 1)):
        x = _convolution(x, _DENSE, alpha, kernel, f"fc{number}")
        x = layers.Dropout(dropout, name=f"fc{number}_dropout")(x)
    if include_top:
        x = _score(x, classes, "score_fc", "glorot_uniform")
        left = _STRIDE
        for pool in _SKIPS[stride]:
            x = upsample(x, 2, f"upscore_{pool}")
            # Zero at first: the network then starts as the coarser one it is initialised from (section 4.2).
            x = layers.Add(name=f"fuse_{pool}")([x, _score(pools[pool], classes, f"score_{pool}", "zeros")])
            left //= 2
        x = upsample(x, left, f"upscore_{left}")
        x = softmax(x, classifier_activation, "probabilities")
    return keras.Model(image, x, name=name)


def _convolution(x: Any, filters: int, alpha: float, kernel: int, name: str) -> Any:
    import keras

    width = max(1, round(filters * alpha))
    return keras.layers.Conv2D(width, kernel, padding="same", activation="relu", name=name)(x)


def _score(x: Any, classes: int, name: str, initializer: str) -> Any:
    import keras

    return keras.layers.Conv2D(classes, 1, kernel_initializer=initializer, name=name)(x)


def check_multiple(name: str, shape: tuple[int, int, int], stride: int) -> None:
    """Refuse a height or width that the strides do not divide: the output would not lie on the input."""
    if shape[0] % stride or shape[1] % stride:
        raise InputError(
            f"{name}: height and width must be multiples of {stride} pixels; received {shape[0]}x{shape[1]}"
        )


def initialize_from(finer: keras.Model, coarser: keras.Model) -> tuple[str, ...]:
    """Start a finer network from a coarser one: every layer of the same name and shapes takes its weights.

    FCN-16s from FCN-32s, FCN-8s from FCN-16s (section 4.2); what is new scores zero at first. Also an FCN from VGG-16,
    whose dense layers become convolutions.

    Parameters
    ----------
    finer, coarser : keras.Model
        The first is changed in place.

    Returns
    -------
    tuple of str
        The layers that took weights.

    Raises
    ------
    InputError
        No layer fits.

    Examples
    --------
    >>> fcn32, fcn16 = (create_model(name, alpha=0.1) for name in ("fcn32s", "fcn16s"))  # doctest: +SKIP
    >>> initialize_from(fcn16, fcn32)[-1]                                                 # doctest: +SKIP
    'score_fc'
    """
    taken = []
    sources = {layer.name: layer for layer in coarser.layers}
    for layer in finer.layers:
        source = sources.get(layer.name)
        if source is None or not layer.weights or len(layer.weights) != len(source.weights):
            continue
        shapes = [tuple(weight.shape) for weight in layer.weights]
        values = source.get_weights()
        # A dense layer's weights are those of a convolution over the whole map, row by row.
        if all(value.size == math.prod(shape) for value, shape in zip(values, shapes, strict=True)):
            layer.set_weights([value.reshape(shape) for value, shape in zip(values, shapes, strict=True)])
            taken.append(layer.name)
    if not taken:
        raise InputError(f"{coarser.name} must have layers of {finer.name}, by name and shape; it has none")
    return tuple(taken)


def _named(stride: int) -> Builder:
    name = f"fcn{stride}s"

    def builder(
        input_shape: tuple[int, int, int] | None = None,
        classes: int = CLASSES,
        *,
        alpha: float = 1.0,
        dropout: float = 0.5,
        include_top: bool = True,
        classifier_activation: str | None = "softmax",
        name: str = name,
    ) -> Any:
        return build(stride, name, input_shape, classes, alpha, dropout, include_top, classifier_activation)

    builder.__name__ = builder.__qualname__ = name
    builder.__doc__ = f"Build FCN-{stride}s: `build` with stride {stride}."
    record = ModelRecord(
        name=name,
        task="segmentation",
        summary=f"VGG-16 made fully convolutional; scores at stride {stride}",
        paper=PAPER,
        input_shape=_SHAPE,
        classes=CLASSES,
        parameters=_PARAMETERS[stride],
        macs=_MACS[stride],
        preprocessing=replace(MEAN_SUBTRACTED, resize=Resize()),
        options=(
            Option("alpha", float, 1.0, 0.01, 4.0, "width multiplier α: channels of every layer"),
            Option("dropout", float, 0.5, 0.0, 0.9, "share of features dropped before the scores in training"),
        ),
        weights_note="start it from VGG-16: edgecv.models.fcn.initialize_from",
        minimum_size=_STRIDE,
    )
    return register(record)(builder)


fcn32s = _named(32)
fcn16s = _named(16)
fcn8s = _named(8)
