"""DeepLab on MobileNet v2: segmentation for devices (Sandler et al. 2018, section 6.3; Chen et al. 2017, DeepLabv3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgecv.layers.shapes import check_classes, check_image_shape, make_divisible
from edgecv.models.fcn import CLASSES, check_multiple
from edgecv.models.mobilenet_v2 import inverted_residual, mobilenet_v2
from edgecv.models.registry import ModelRecord, Option, Paper, Preprocessing, register

if TYPE_CHECKING:
    import keras

_STRIDE = 16
_SHAPE = (256, 256, 3)
_LAST_KEPT = "block_12_add"  # the last layer at stride 16
_DILATED = ((13, 160), (14, 160), (15, 160), (16, 320))  # blocks that would be at stride 32, and their channels
_EXPANSION = 6
_CONTEXT = 256  # channels of the pooling pyramid


@register(
    ModelRecord(
        name="deeplab_mobilenet_v2",
        task="segmentation",
        summary="MobileNet v2 at stride 16 with image-level context, for devices",
        paper=Paper(
            "Sandler, Howard, Zhu, Zhmoginov, Chen",
            2018,
            "MobileNetV2: Inverted Residuals and Linear Bottlenecks",
            "1801.04381",
        ),
        input_shape=_SHAPE,
        classes=CLASSES,
        parameters=2_146_645,
        macs=651_051_008,
        preprocessing=Preprocessing(mean=(127.5,) * 3, std=(127.5,) * 3),
        options=(Option("alpha", float, 1.0, 0.1, 4.0, "width multiplier α: channels of every layer"),),
        weights_note="start it from MobileNet v2: edgecv.models.fcn.initialize_from",
        minimum_size=32,
    )
)
def deeplab_mobilenet_v2(
    input_shape: tuple[int, int, int] | None = None,
    classes: int = CLASSES,
    *,
    alpha: float = 1.0,
    include_top: bool = True,
    classifier_activation: str | None = "softmax",
    name: str = "deeplab_mobilenet_v2",
) -> keras.Model:
    """Build DeepLab on MobileNet v2 with fresh weights.

    The last stage is dilated instead of strided; the pyramid has, as the paper recommends for devices, no dilated
    branches: a 1×1 convolution beside the average of the whole image.

    Parameters
    ----------
    input_shape : (height, width, channels), optional
        Default (256, 256, 3); height and width multiples of 16. Pixels as ``x / 127.5 - 1``.
    classes : int
    alpha : float
        Width multiplier of MobileNet v2; the pyramid keeps its 256 channels.
    include_top : bool
        False ends with the (N, H/16, W/16, 320 α) features.
    classifier_activation : {"softmax", None}
        None ends with the logits.
    name : str

    Returns
    -------
    keras.Model
        From (N, H, W, C) to (N, H, W, classes).

    Raises
    ------
    InputError
        A shape or class count that cannot be built.

    Notes
    -----
    Layers are named as in `mobilenet_v2`, so that its weights can be taken over: `edgecv.models.fcn.initialize_from`.
    """
    import keras

    from edgecv.layers.convolution import convolve
    from edgecv.layers.heads import softmax

    layers = keras.layers
    shape = check_image_shape(name, input_shape, _SHAPE, 32)
    check_classes(name, classes)
    check_multiple(name, shape, _STRIDE)
    backbone = mobilenet_v2(shape, alpha=alpha, include_top=False)
    x = backbone.get_layer(_LAST_KEPT).output
    for index, channels in _DILATED:
        filters, dilation = make_divisible(int(channels * alpha)), 1 if index == _DILATED[0][0] else 2
        x = inverted_residual(x, _EXPANSION, filters, 1, index, dilation)
    if include_top:
        height, width = x.shape[1:3]
        context = layers.GlobalAveragePooling2D(keepdims=True, name="image_pooling")(x)
        context = convolve(context, _CONTEXT, name="image")
        context = layers.UpSampling2D((height, width), name="image_spread")(context)
        x = layers.Concatenate(name="pyramid")([context, convolve(x, _CONTEXT, name="aspp")])
        x = convolve(x, _CONTEXT, name="projection")
        x = layers.Dropout(0.1, name="dropout")(x)
        x = layers.Conv2D(classes, 1, name="scores")(x)
        x = layers.UpSampling2D(_STRIDE, interpolation="bilinear", name="enlarge")(x)
        x = softmax(x, classifier_activation, "probabilities")
    return keras.Model(backbone.input, x, name=name)
