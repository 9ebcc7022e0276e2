"""MobileNet v1: depthwise separable convolutions (Howard et al. 2017, arXiv:1704.04861)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgecv.layers.heads import softmax
from edgecv.layers.shapes import check_classes, check_image_shape
from edgecv.models.registry import ModelRecord, OfficialWeights, Option, Paper, Preprocessing, register
from edgecv_runtime.manifest import Resize

if TYPE_CHECKING:
    import keras

# Table 1 after the first convolution: (output channels, stride) of each depthwise separable pair. The table
# gives the last depthwise layer stride 2 at an unchanged 7x7: a misprint, it is 1 in every implementation.
_BODY = (
    (64, 1),
    (128, 2),
    (128, 1),
    (256, 2),
    (256, 1),
    (512, 2),
    (512, 1),
    (512, 1),
    (512, 1),
    (512, 1),
    (512, 1),
    (1024, 2),
    (1024, 1),
)

_ADDRESS = "https://storage.googleapis.com/tensorflow/keras-applications/mobilenet/"
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
    for alpha, text in ((1.0, "1_0"), (0.75, "7_5"), (0.5, "5_0"), (0.25, "2_5"))
    for size in (224, 192, 160, 128)
    for top in (True, False)
    for file in (f"mobilenet_{text}_{size}_tf{'' if top else '_no_top'}.h5",)
)


@register(
    ModelRecord(
        name="mobilenet_v1",
        task="classification",
        summary="depthwise separable convolutions; width α, resolution by the input size",
        paper=Paper(
            "Howard, Zhu, Chen, Kalenichenko, Wang, Weyand, Andreetto, Adam",
            2017,
            "MobileNets: Efficient Convolutional Neural Networks for Mobile Vision Applications",
            "1704.04861",
        ),
        input_shape=_SHAPE,
        classes=1000,
        parameters=4_253_864,
        macs=568_740_352,
        preprocessing=Preprocessing(
            mean=(127.5,) * 3, std=(127.5,) * 3, resize=Resize(mode="crop", crop_fraction=0.875)
        ),
        options=(
            Option("alpha", float, 1.0, 0.1, 4.0, "width multiplier α: channels of every layer"),
            Option("dropout", float, 0.001, 0.0, 0.9, "share of features dropped before the classifier in training"),
        ),
        weights=_WEIGHTS,
        minimum_size=_MINIMUM_SIZE,
    )
)
def mobilenet_v1(
    input_shape: tuple[int, int, int] | None = None,
    classes: int = 1000,
    *,
    alpha: float = 1.0,
    dropout: float = 0.001,
    include_top: bool = True,
    classifier_activation: str | None = "softmax",
    name: str = "mobilenet_v1",
) -> keras.Model:
    """Build MobileNet v1 with fresh weights.

    Parameters
    ----------
    input_shape : (height, width, channels), optional
        Default (224, 224, 3), at least 32 x 32. The resolution multiplier ρ of section 3.4 is the input size
        over 224. The network expects pixels as ``x / 127.5 - 1``.
    classes : int
    alpha : float
        Width multiplier of section 3.3: every layer has ``int(alpha * channels)`` channels.
    dropout : float
        Before the classifier, in training only.
    include_top : bool
        False ends with the (N, H/32, W/32, 1024 α) feature map.
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
    Layer order, names and weight shapes are those of ``keras.applications.MobileNet``: its files load.

    Examples
    --------
    >>> mobilenet_v1((128, 128, 3), alpha=0.25).count_params()
    475544
    """
    import keras

    layers = keras.layers
    shape = check_image_shape(name, input_shape, _SHAPE, _MINIMUM_SIZE)
    check_classes(name, classes)
    inputs = layers.Input(shape, name="image")
    x = layers.Conv2D(int(32 * alpha), 3, strides=2, padding="same", use_bias=False, name="conv1")(inputs)
    x = layers.BatchNormalization(name="conv1_bn")(x)
    x = layers.ReLU(6.0, name="conv1_relu")(x)
    for index, (filters, stride) in enumerate(_BODY, start=1):
        x = _separable(x, int(filters * alpha), stride, index)
    if include_top:
        x = layers.GlobalAveragePooling2D(keepdims=True)(x)
        x = layers.Dropout(dropout, name="dropout")(x)
        x = layers.Conv2D(classes, 1, padding="same", name="conv_preds")(x)
        x = layers.Reshape((classes,), name="reshape_2")(x)
        x = softmax(x, classifier_activation, "predictions")
    return keras.Model(inputs, x, name=name)


def _separable(x: Any, filters: int, stride: int, index: int) -> Any:
    """A depthwise 3x3 and a pointwise 1x1 convolution, each normalised and cut at 6 (figure 3, right)."""
    import keras

    layers = keras.layers
    if stride == 2:
        # On the right and below only, whatever the size: so the weights were trained.
        x = layers.ZeroPadding2D(((0, 1), (0, 1)), name=f"conv_pad_{index}")(x)
    x = layers.DepthwiseConv2D(
        3, strides=stride, padding="same" if stride == 1 else "valid", use_bias=False, name=f"conv_dw_{index}"
    )(x)
    x = layers.BatchNormalization(name=f"conv_dw_{index}_bn")(x)
    x = layers.ReLU(6.0, name=f"conv_dw_{index}_relu")(x)
    x = layers.Conv2D(filters, 1, padding="same", use_bias=False, name=f"conv_pw_{index}")(x)
    x = layers.BatchNormalization(name=f"conv_pw_{index}_bn")(x)
    return layers.ReLU(6.0, name=f"conv_pw_{index}_relu")(x)
