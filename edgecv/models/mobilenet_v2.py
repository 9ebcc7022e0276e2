"""MobileNet v2: inverted residuals and linear bottlenecks (Sandler et al. 2018, arXiv:1801.04381)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgecv.layers.heads import softmax
from edgecv.layers.shapes import check_classes, check_image_shape, make_divisible, strided_padding
from edgecv.models.registry import ModelRecord, OfficialWeights, Option, Paper, Preprocessing, register
from edgecv_runtime.manifest import Resize

if TYPE_CHECKING:
    import keras

# Table 2: (expansion t, output channels c, repeats n, stride s of the first).
_BODY = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)

_ADDRESS = "https://storage.googleapis.com/tensorflow/keras-applications/mobilenet_v2/"
_SHAPE = (224, 224, 3)
_MINIMUM_SIZE = 32

# Keras states no hash for these files.
_WEIGHTS = tuple(
    OfficialWeights(
        address=f"{_ADDRESS}{file}",
        file=file,
        licence="Apache-2.0",
        input_size=size,
        options={"alpha": alpha},
        include_top=top,
    )
    for alpha, sizes in (
        (1.0, (224, 192, 160, 128, 96)),
        (0.75, (224, 192, 160, 128, 96)),
        (0.5, (224, 192, 160, 128, 96)),
        (0.35, (224, 192, 160, 128, 96)),
        (1.3, (224,)),
        (1.4, (224,)),
    )
    for size in sizes
    for top in (True, False)
    for file in (f"mobilenet_v2_weights_tf_dim_ordering_tf_kernels_{alpha}_{size}{'' if top else '_no_top'}.h5",)
)


@register(
    ModelRecord(
        name="mobilenet_v2",
        task="classification",
        summary="inverted residuals with linear bottlenecks; width α",
        paper=Paper(
            "Sandler, Howard, Zhu, Zhmoginov, Chen",
            2018,
            "MobileNetV2: Inverted Residuals and Linear Bottlenecks",
            "1801.04381",
        ),
        input_shape=_SHAPE,
        classes=1000,
        parameters=3_538_984,
        macs=300_774_272,
        preprocessing=Preprocessing(
            mean=(127.5,) * 3, std=(127.5,) * 3, resize=Resize(mode="crop", crop_fraction=0.875)
        ),
        options=(Option("alpha", float, 1.0, 0.1, 4.0, "width multiplier α: channels of every layer"),),
        weights=_WEIGHTS,
        minimum_size=_MINIMUM_SIZE,
    )
)
def mobilenet_v2(
    input_shape: tuple[int, int, int] | None = None,
    classes: int = 1000,
    *,
    alpha: float = 1.0,
    include_top: bool = True,
    classifier_activation: str | None = "softmax",
    name: str = "mobilenet_v2",
) -> keras.Model:
    """Build MobileNet v2 with fresh weights.

    Parameters
    ----------
    input_shape : (height, width, channels), optional
        Default (224, 224, 3), at least 32 x 32. The network expects pixels as ``x / 127.5 - 1``.
    classes : int
    alpha : float
        Width multiplier: ``alpha * channels``, rounded to multiples of 8. Below 1 the last convolution keeps
        its 1280 channels (section 5, "Width multiplier").
    include_top : bool
        False ends with the (N, H/32, W/32, 1280) feature map.
    classifier_activation : {"softmax", None}
        None ends with the logits.
    name : str

    Returns
    -------
    keras.Model
        From (N, height, width, channels) float32 to (N, classes) probabilities.

    Raises
    ------
    InputError
        A shape, class count or activation that cannot be built.

    Notes
    -----
    Layer order, names and weight shapes are those of ``keras.applications.MobileNetV2``: its files load. The
    softmax follows the layer ``predictions`` instead of being inside it.

    Examples
    --------
    >>> mobilenet_v2((96, 96, 3), classes=2, alpha=0.35).output_shape
    (None, 2)
    """
    import keras

    layers = keras.layers
    shape = check_image_shape(name, input_shape, _SHAPE, _MINIMUM_SIZE)
    check_classes(name, classes)
    inputs = layers.Input(shape, name="image")
    x = layers.Conv2D(make_divisible(32 * alpha), 3, strides=2, padding="same", use_bias=False, name="Conv1")(inputs)
    x = _normalise(x, "bn_Conv1")
    x = layers.ReLU(6.0, name="Conv1_relu")(x)
    index = 0
    for expansion, channels, repeats, stride in _BODY:
        # The reference cuts to a whole number before it rounds to multiples of 8.
        filters = make_divisible(int(channels * alpha))
        for repeat in range(repeats):
            x = inverted_residual(x, expansion, filters, stride if repeat == 0 else 1, index)
            index += 1
    x = layers.Conv2D(make_divisible(1280 * max(1.0, alpha)), 1, use_bias=False, name="Conv_1")(x)
    x = _normalise(x, "Conv_1_bn")
    x = layers.ReLU(6.0, name="out_relu")(x)
    if include_top:
        x = layers.GlobalAveragePooling2D()(x)
        x = layers.Dense(classes, name="predictions")(x)
        x = softmax(x, classifier_activation, "probabilities")
    return keras.Model(inputs, x, name=name)


def inverted_residual(inputs: Any, expansion: int, filters: int, stride: int, index: int, dilation: int = 1) -> Any:
    """Expand, filter depthwise, project without activation (table 1; figure 4d); taps `dilation` apart at stride 1."""
    import keras

    layers = keras.layers
    x = inputs
    channels = inputs.shape[-1]
    prefix = f"block_{index}_" if index else "expanded_conv_"
    if expansion != 1:
        x = layers.Conv2D(expansion * channels, 1, padding="same", use_bias=False, name=f"{prefix}expand")(x)
        x = _normalise(x, f"{prefix}expand_BN")
        x = layers.ReLU(6.0, name=f"{prefix}expand_relu")(x)
    if stride == 2:
        x = layers.ZeroPadding2D(strided_padding(tuple(x.shape[1:3]), 3), name=f"{prefix}pad")(x)
    x = layers.DepthwiseConv2D(
        3,
        strides=stride,
        padding="same" if stride == 1 else "valid",
        dilation_rate=dilation,
        use_bias=False,
        name=f"{prefix}depthwise",
    )(x)
    x = _normalise(x, f"{prefix}depthwise_BN")
    x = layers.ReLU(6.0, name=f"{prefix}depthwise_relu")(x)
    x = layers.Conv2D(filters, 1, padding="same", use_bias=False, name=f"{prefix}project")(x)
    x = _normalise(x, f"{prefix}project_BN")
    return layers.Add(name=f"{prefix}add")([inputs, x]) if stride == 1 and channels == filters else x


def _normalise(x: Any, name: str) -> Any:
    import keras

    # Momentum as the official weights were trained.
    return keras.layers.BatchNormalization(momentum=0.999, name=name)(x)
