"""Pose by direct regression: x and y of every joint as numbers (Toshev & Szegedy 2014, arXiv:1312.4659)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from edgecv.layers.shapes import check_classes, check_image_shape
from edgecv.models.alexnet import DENSE_WIDTH, TOWERS, body
from edgecv.models.registry import ModelRecord, Option, Paper, Preprocessing, register
from edgecv.pose.joints import JOINTS, skeleton_of

if TYPE_CHECKING:
    import keras

PAPER = Paper("Toshev, Szegedy", 2014, "DeepPose: Human Pose Estimation via Deep Neural Networks", "1312.4659")
PIXELS = Preprocessing(mean=(127.5,) * 3, std=(127.5,) * 3)
NO_WEIGHTS = "its authors publish no weights"


def decoder(input_shape: tuple[int, ...], classes: int, options: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """How the runtime reads these networks: with fourteen joints, as those of `edgecv.pose.joints.JOINTS`."""
    skeleton = skeleton_of(classes)
    return "regression-pose", {} if skeleton is None else {"skeleton": skeleton}


def _record(
    name: str, summary: str, side: int, parameters: int, macs: int, options: tuple[Option, ...], smallest: int
) -> ModelRecord:
    return ModelRecord(
        name=name,
        task="pose",
        summary=summary,
        paper=PAPER,
        input_shape=(side, side, 3),
        classes=len(JOINTS),
        parameters=parameters,
        macs=macs,
        preprocessing=PIXELS,
        options=options,
        weights_note=NO_WEIGHTS,
        minimum_size=smallest,
        decoder=decoder,
    )


_FILTERS = Option("filters", int, 16, 1, 256, "channels of the first convolution; every halving doubles them")


@register(
    _record(
        "deeppose",
        "first stage of DeepPose: AlexNet's layers, and x and y of every joint",
        227,
        58_396_060,
        1_131_274_784,
        (DENSE_WIDTH, TOWERS),
        67,
    )
)
def deeppose(
    input_shape: tuple[int, int, int] | None = None,
    classes: int = len(JOINTS),
    *,
    dense_width: int = 4096,
    towers: int = 1,
    include_top: bool = True,
    name: str = "deeppose",
) -> keras.Model:
    """Build the first stage of DeepPose, with fresh weights.

    Parameters
    ----------
    input_shape : (height, width, channels), optional
        Default (227, 227, 3): the maps then have the sizes of the paper's figure 2.
    classes : int
        Joints.
    dense_width, towers : int
        As of `alexnet`.
    include_top : bool
        False ends with the last feature map.
    name : str

    Returns
    -------
    keras.Model
        From (N, H, W, C) to (N, 2 classes): x₁, y₁, x₂, y₂, ... as shares of the picture. Train it with `PointLoss`.

    Raises
    ------
    InputError
        A shape or number of joints that cannot be built.
    """
    import keras

    layers = keras.layers
    shape = check_image_shape(name, input_shape, (227, 227, 3), 67)
    check_classes(name, classes)
    image = layers.Input(shape, name="image")
    x = body(image, towers)
    if include_top:
        x = layers.Flatten(name="flatten")(x)
        for number in (1, 2):
            x = layers.Dense(dense_width, activation="relu", name=f"fc{number}")(x)
            x = layers.Dropout(0.6, name=f"dropout{number}")(x)  # section 3.3
        x = layers.Dense(2 * classes, name="points")(x)
    return keras.Model(image, x, name=name)


@register(
    _record(
        "deeppose_small",
        "direct regression of joints for devices: six convolutions and one hidden dense layer",
        96,
        1_471_116,
        20_761_600,
        (_FILTERS,),
        16,
    )
)
def deeppose_small(
    input_shape: tuple[int, int, int] | None = None,
    classes: int = len(JOINTS),
    *,
    filters: int = 16,
    include_top: bool = True,
    name: str = "deeppose_small",
) -> keras.Model:
    """Build a small network for direct regression, with fresh weights.

    What it has learnt of a place stands in that place until the end: the last map is flattened, not averaged.

    Parameters
    ----------
    input_shape : (height, width, channels), optional
        Default (96, 96, 3).
    classes : int
        Joints.
    filters : int
        Of the first convolution.
    include_top : bool
        False ends with the last feature map.
    name : str

    Returns
    -------
    keras.Model
        As `deeppose`.

    Raises
    ------
    InputError
        A shape or number of joints that cannot be built.
    """
    import keras

    from edgecv.layers.convolution import convolve

    layers = keras.layers
    small, middle = keras.initializers.RandomNormal(stddev=0.01), keras.initializers.Constant(0.5)
    shape = check_image_shape(name, input_shape, (96, 96, 3), 16)
    check_classes(name, classes)
    x = image = layers.Input(shape, name="image")
    for level in range(4):
        x = convolve(x, filters * 2**level, 3, strides=2, name=f"down{level + 1}")
        if level >= 2:
            x = convolve(x, filters * 2**level, 3, name=f"stay{level + 1}")
    if include_top:
        x = layers.Flatten(name="flatten")(x)
        x = layers.Dense(16 * filters, use_bias=False, name="fc1")(x)
        x = layers.ReLU(name="fc1_relu")(layers.BatchNormalization(name="fc1_bn")(x))
        # Begins in the middle of the picture.
        x = layers.Dense(2 * classes, kernel_initializer=small, bias_initializer=middle, name="points")(x)
    return keras.Model(image, x, name=name)
