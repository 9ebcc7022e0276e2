"""MobileFaceNet: inverted residuals that end in a global depthwise convolution (Chen et al. 2018, arXiv:1804.07573)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgecv.layers.embedding import DIMENSION, embedding_head, normalise
from edgecv.layers.shapes import check_image_shape, make_divisible
from edgecv.models.registry import ModelRecord, Option, Paper, Preprocessing, register
from edgecv_runtime.errors import InputError

if TYPE_CHECKING:
    import keras

ACTIVATIONS = ("prelu", "relu6")

# Table 1: (expansion t, output channels c, repeats n, stride s of the first).
_BODY = (
    (2, 64, 5, 2),
    (4, 128, 1, 2),
    (2, 128, 6, 1),
    (4, 128, 1, 2),
    (2, 128, 2, 1),
)

_SHAPE = (112, 112, 3)
_MINIMUM_SIZE = 32


@register(
    ModelRecord(
        name="mobilefacenet",
        task="embedding",
        summary="a face, aligned to 112×112, as a vector; global depthwise convolution",
        paper=Paper(
            "Chen, Liu, Gao, Han",
            2018,
            "MobileFaceNets: Efficient CNNs for Accurate Real-Time Face Verification on Mobile Devices",
            "1804.07573",
        ),
        input_shape=_SHAPE,
        classes=0,
        parameters=1_022_720,
        macs=220_965_376,  # the paper: 221 M
        # Section 4.1: minus 127.5, divided by 128.
        preprocessing=Preprocessing(mean=(127.5,) * 3, std=(128.0,) * 3),
        options=(
            Option("alpha", float, 1.0, 0.1, 4.0, "width multiplier α: channels of every layer"),
            Option("dimension", int, DIMENSION, 2, 4096, "length of the vector"),
            Option("activation", str, "prelu", help=f"between the layers: {', '.join(ACTIVATIONS)}"),
        ),
        weights_note="its training faces are not classes of ImageNet; pass a file of your own",
        minimum_size=_MINIMUM_SIZE,
    )
)
def mobilefacenet(
    input_shape: tuple[int, int, int] | None = None,
    *,
    alpha: float = 1.0,
    dimension: int = DIMENSION,
    activation: str = "prelu",
    include_top: bool = True,
    name: str = "mobilefacenet",
) -> keras.Model:
    """Build MobileFaceNet with fresh weights.

    ===============  ================================  =========================
    input            operator (table 1)                t, c, n, s
    ===============  ================================  =========================
    112 × 112 × 3    conv 3×3                          –, 64, 1, 2
    56 × 56 × 64     depthwise conv 3×3                –, 64, 1, 1
    56 × 56 × 64     bottleneck                        2, 64, 5, 2
    28 × 28 × 64     bottleneck                        4, 128, 1, 2
    14 × 14 × 128    bottleneck                        2, 128, 6, 1
    14 × 14 × 128    bottleneck                        4, 128, 1, 2
    7 × 7 × 128      bottleneck                        2, 128, 2, 1
    7 × 7 × 128      conv 1×1                          –, 512, 1, 1
    7 × 7 × 512      linear global depthwise conv 7×7  –, 512, 1, 1
    1 × 1 × 512      linear conv 1×1                   –, 128, 1, 1
    ===============  ================================  =========================

    Parameters
    ----------
    input_shape : (height, width, channels), optional
        Default (112, 112, 3), at least 32 x 32. The network expects pixels as ``(x - 127.5) / 128``.
    alpha : float
        Width multiplier: ``alpha * channels``, rounded to multiples of 8; the vector keeps its length.
    dimension : int
        Length of the vector.
    activation : {"prelu", "relu6"}
        The paper's is PReLU, with a slope for each channel (section 3.2); relu6 is what every int8 kernel fuses.
    include_top : bool
        False ends with the (N, H/16, W/16, 512) feature map.
    name : str

    Returns
    -------
    keras.Model
        From (N, height, width, channels) float32 to (N, dimension), not normalised: compare by the angle.

    Raises
    ------
    InputError
        A shape or an activation that cannot be built.

    Examples
    --------
    >>> mobilefacenet().output_shape
    (None, 128)
    """
    import keras

    layers = keras.layers
    shape = check_image_shape(name, input_shape, _SHAPE, _MINIMUM_SIZE)
    if activation not in ACTIVATIONS:
        raise InputError(f"{name}: activation must be one of {', '.join(ACTIVATIONS)}; received {activation!r}")
    inputs = layers.Input(shape, name="image")
    stem = make_divisible(64 * alpha)
    x = layers.Conv2D(stem, 3, strides=2, padding="same", use_bias=False, name="conv1")(inputs)
    x = _activate(normalise(x, "conv1_bn"), activation, "conv1_act")
    x = layers.DepthwiseConv2D(3, padding="same", use_bias=False, name="conv2_depthwise")(x)
    x = _activate(normalise(x, "conv2_bn"), activation, "conv2_act")
    for stage, (expansion, channels, repeats, stride) in enumerate(_BODY, start=1):
        for repeat in range(repeats):
            x = _bottleneck(
                x,
                expansion,
                make_divisible(channels * alpha),
                stride if repeat == 0 else 1,
                activation,
                f"block{stage}_{repeat}_",
            )
    x = layers.Conv2D(make_divisible(512 * alpha), 1, use_bias=False, name="conv3")(x)
    x = _activate(normalise(x, "conv3_bn"), activation, "conv3_act")
    if include_top:
        x = embedding_head(x, dimension)
    return keras.Model(inputs, x, name=name)


def _bottleneck(x: Any, expansion: int, filters: int, stride: int, activation: str, prefix: str) -> Any:
    """The residual bottleneck of MobileNetV2: expand, filter depthwise, project without activation."""
    import keras

    layers = keras.layers
    inputs, channels = x, x.shape[-1]
    x = layers.Conv2D(expansion * channels, 1, use_bias=False, name=f"{prefix}expand")(x)
    x = _activate(normalise(x, f"{prefix}expand_bn"), activation, f"{prefix}expand_act")
    x = layers.DepthwiseConv2D(3, strides=stride, padding="same", use_bias=False, name=f"{prefix}depthwise")(x)
    x = _activate(normalise(x, f"{prefix}depthwise_bn"), activation, f"{prefix}depthwise_act")
    x = layers.Conv2D(filters, 1, use_bias=False, name=f"{prefix}project")(x)
    x = normalise(x, f"{prefix}project_bn")
    return layers.Add(name=f"{prefix}add")([inputs, x]) if stride == 1 and channels == filters else x


def _activate(x: Any, activation: str, name: str) -> Any:
    import keras

    if activation == "relu6":
        return keras.layers.ReLU(6.0, name=name)(x)
    # One slope for each channel, begun at 0.25 as where PReLU was proposed (He et al. 2015, section 2.1).
    return keras.layers.PReLU(alpha_initializer=keras.initializers.Constant(0.25), shared_axes=(1, 2), name=name)(x)
