"""Pose by heat maps: a map for every joint that is warm where the joint is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from edgecv.layers.shapes import check_classes, check_image_shape
from edgecv.models.fcn import check_multiple
from edgecv.models.imagenet import STANDARDISED
from edgecv.models.pose_regression import PIXELS
from edgecv.models.registry import ModelRecord, Option, Paper, register
from edgecv.models.resnet import REPEATS, bottleneck_body
from edgecv.pose.joints import JOINTS, skeleton_of
from edgecv_runtime.manifest import Resize

if TYPE_CHECKING:
    import keras

_STRIDE = 4  # pixels of the picture for a cell of the maps


def decoder(input_shape: tuple[int, ...], classes: int, options: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """How the runtime reads these networks: with fourteen joints, as those of `edgecv.pose.joints.JOINTS`."""
    skeleton = skeleton_of(classes)
    return "heatmap-pose", {} if skeleton is None else {"skeleton": skeleton}


@register(
    ModelRecord(
        name="simple_baseline",
        task="pose",
        summary="ResNet-50 and three transposed convolutions to a heat map for every joint",
        paper=Paper("Xiao, Wu, Wei", 2018, "Simple Baselines for Human Pose Estimation and Tracking", "1804.06208"),
        input_shape=(256, 192, 3),
        classes=len(JOINTS),
        parameters=34_080_142,
        macs=5_197_529_088,
        preprocessing=replace(STANDARDISED, resize=Resize()),
        options=(Option("filters", int, 256, 8, 1024, "channels of the transposed convolutions"),),
        weights_note="the authors publish weights for PyTorch only",
        minimum_size=32,
        decoder=decoder,
    )
)
def simple_baseline(
    input_shape: tuple[int, int, int] | None = None,
    classes: int = len(JOINTS),
    *,
    filters: int = 256,
    include_top: bool = True,
    name: str = "simple_baseline",
) -> keras.Model:
    """Build the simple baseline, with fresh weights; its body takes those of ``resnet50``.

    Parameters
    ----------
    input_shape : (height, width, channels), optional
        Default (256, 192, 3); height and width multiples of 32.
    classes : int
        Joints.
    filters : int
        Of the transposed convolutions.
    include_top : bool
        False ends with the last feature map of ResNet.
    name : str

    Returns
    -------
    keras.Model
        From (N, H, W, C) to (N, H / 4, W / 4, classes): heat, which training leads to 0..1. Train it with
        `HeatmapLoss`.

    Raises
    ------
    InputError
        A shape or number of joints that cannot be built.
    """
    import keras

    layers = keras.layers
    shape = check_image_shape(name, input_shape, (256, 192, 3), 32)
    check_multiple(name, shape, 32)
    check_classes(name, classes)
    image = layers.Input(shape, name="image")
    x = bottleneck_body(image, REPEATS[50])
    if include_top:
        for number in (1, 2, 3):
            x = layers.Conv2DTranspose(
                filters, 4, strides=2, padding="same", use_bias=False, kernel_initializer=_small(), name=f"up{number}"
            )(x)
            x = layers.BatchNormalization(name=f"up{number}_bn")(x)
            x = layers.ReLU(name=f"up{number}_relu")(x)
        x = layers.Conv2D(classes, 1, kernel_initializer=_small(), name="heatmaps")(x)
    return keras.Model(image, x, name=name)


def _small() -> Any:
    """A normal distribution of standard deviation 0.001, as the authors' code begins."""
    import keras

    return keras.initializers.RandomNormal(stddev=1e-3)


@register(
    ModelRecord(
        name="hourglass_small",
        task="pose",
        summary="one hourglass of plain convolutions at a quarter of the resolution, for devices",
        paper=Paper("Newell, Yang, Deng", 2016, "Stacked Hourglass Networks for Human Pose Estimation", "1603.06937"),
        input_shape=(96, 96, 3),
        classes=len(JOINTS),
        parameters=166_206,
        macs=22_560_768,
        preprocessing=PIXELS,
        options=(Option("filters", int, 16, 1, 256, "channels of the first convolution; the hourglass has twice it"),),
        weights_note="the authors publish weights for Torch only",
        minimum_size=16,
        decoder=decoder,
    )
)
def hourglass_small(
    input_shape: tuple[int, int, int] | None = None,
    classes: int = len(JOINTS),
    *,
    filters: int = 16,
    include_top: bool = True,
    name: str = "hourglass_small",
) -> keras.Model:
    """Build one small hourglass, with fresh weights.

    As in figure 3 of the paper: halved twice, enlarged twice to the nearest pixel, and what each level saw added on the
    way up. Plain convolutions stand in place of the residual modules.

    Parameters
    ----------
    input_shape : (height, width, channels), optional
        Default (96, 96, 3); height and width multiples of 16.
    classes : int
        Joints.
    filters : int
        Of the first convolution.
    include_top : bool
        False ends with the last (N, H / 4, W / 4, 2 filters) map.
    name : str

    Returns
    -------
    keras.Model
        As `simple_baseline`.

    Raises
    ------
    InputError
        A shape or number of joints that cannot be built.
    """
    import keras

    from edgecv.layers.convolution import convolve, max_pool

    layers = keras.layers
    shape = check_image_shape(name, input_shape, (96, 96, 3), 16)
    check_multiple(name, shape, 4 * _STRIDE)
    check_classes(name, classes)
    width = 2 * filters
    image = layers.Input(shape, name="image")
    x = convolve(image, filters, 3, strides=2, name="stem1")
    x = convolve(x, width, 3, strides=2, name="stem2")
    skips = []
    for level in (1, 2):
        skips.append(convolve(x, width, 3, name=f"skip{level}"))
        x = max_pool(x, 2, 2, "valid", f"pool{level}")
        x = convolve(x, width, 3, name=f"down{level}")
    for number in (1, 2, 3):
        x = convolve(x, 2 * width, 3, name=f"bottom{number}")
    x = convolve(x, width, 1, name="bottom_narrow")
    for level in (2, 1):
        x = convolve(x, width, 3, name=f"up{level}")
        x = layers.UpSampling2D(2, name=f"up{level}_enlarge")(x)
        x = layers.Add(name=f"up{level}_add")([x, skips[level - 1]])
    x = convolve(x, width, 3, name="last")
    if include_top:
        x = layers.Conv2D(classes, 1, name="heatmaps")(x)
    return keras.Model(image, x, name=name)
