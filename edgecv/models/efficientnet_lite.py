"""EfficientNet-Lite 0 to 4: EfficientNet for int8 devices.

Published by the authors of EfficientNet (TPU repository, ``models/official/efficientnet/lite``), without a paper
of its own. Against EfficientNet: no squeeze-and-excitation (poorly supported on accelerators), ReLU6 for swish
(a bounded range quantizes well), and a stem and head that are not scaled (they stay small and fast).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgecv.layers.graph import functional
from edgecv.layers.inverted_residual import (
    B0_STAGES,
    HEAD_FILTERS,
    STEM_FILTERS,
    BlockStyle,
    classifier,
    head,
    mbconv_stages,
    stem,
)
from edgecv.layers.shapes import check_classes, check_image_shape, make_divisible, round_repeats
from edgecv.models.compound_scaling import Scaling
from edgecv.models.efficientnet import CROP_PADDING, PAPER, evaluation_rule
from edgecv.models.registry import Builder, ModelRecord, Preprocessing, register

if TYPE_CHECKING:
    import keras

# The reference's table (``efficientnet_lite_params``).
LITE = {
    "lite0": Scaling(width=1.0, depth=1.0, resolution=224, dropout=0.2),
    "lite1": Scaling(width=1.0, depth=1.1, resolution=240, dropout=0.2),
    "lite2": Scaling(width=1.1, depth=1.2, resolution=260, dropout=0.3),
    "lite3": Scaling(width=1.2, depth=1.4, resolution=280, dropout=0.3),
    "lite4": Scaling(width=1.4, depth=1.8, resolution=300, dropout=0.3),
}

# Multiply-accumulates for one picture.
_MACS = {
    "lite0": 385_187_552,
    "lite1": 600_185_232,
    "lite2": 859_736_272,
    "lite3": 1_383_321_872,
    "lite4": 2_553_034_336,
}

# All parameters. Published are the trainable ones, without batch statistics: 4.7, 5.4, 6.1, 8.2, 13.0 million.
_PARAMETERS = {"lite0": 4_694_024, "lite1": 5_470_344, "lite2": 6_150_168, "lite3": 8_273_768, "lite4": 13_118_936}

_STYLE = BlockStyle(activation="relu6", squeeze=0.0, explicit_padding=False)
_MINIMUM_SIZE = 32


def build(
    scaling: Scaling,
    name: str,
    input_shape: tuple[int, int, int] | None = None,
    classes: int = 1000,
    include_top: bool = True,
    classifier_activation: str | None = "softmax",
) -> keras.Model:
    """Build an EfficientNet-Lite of any scaling.

    Parameters
    ----------
    scaling : Scaling
    name : str
    input_shape : (height, width, channels), optional
        Default: the scaling's resolution with 3 channels. At least 32 x 32. The network expects pixels as
        ``(x - 127) / 128``.
    classes : int
    include_top : bool
        False ends with the (N, H/32, W/32, 1280) feature map.
    classifier_activation : {"softmax", None}
        None ends with the logits.

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
    Of the first and the last stage the channels are scaled, the number of layers is not; stem and head are
    not scaled at all (``fix_head_stem`` in the reference).
    """
    import keras

    default = (scaling.resolution, scaling.resolution, 3)
    shape = check_image_shape(name, input_shape, default, _MINIMUM_SIZE)
    check_classes(name, classes)
    inputs = keras.layers.Input(shape, name="image")
    x = stem(inputs, STEM_FILTERS, _STYLE)
    ends = (0, len(B0_STAGES) - 1)
    x = mbconv_stages(
        x,
        filters=tuple(make_divisible(stage.filters * scaling.width) for stage in B0_STAGES),
        repeats=tuple(
            stage.repeats if index in ends else round_repeats(stage.repeats, scaling.depth)
            for index, stage in enumerate(B0_STAGES)
        ),
        style=_STYLE,
    )
    x = head(x, HEAD_FILTERS, _STYLE)
    if include_top:
        x = classifier(x, classes, scaling.dropout, classifier_activation)
    return functional(inputs, x, name)


def _named(variant: str) -> Builder:
    """Register and return the builder of one row of the table."""
    scaling = LITE[variant]
    model_name = f"efficientnet_{variant}"

    def builder(
        input_shape: tuple[int, int, int] | None = None,
        classes: int = 1000,
        *,
        include_top: bool = True,
        classifier_activation: str | None = "softmax",
        name: str = model_name,
    ) -> Any:
        return build(scaling, name, input_shape, classes, include_top, classifier_activation)

    builder.__name__ = builder.__qualname__ = model_name
    builder.__doc__ = f"Build EfficientNet-{variant.capitalize()}: `build` with {scaling}."
    record = ModelRecord(
        name=model_name,
        task="classification",
        summary=f"for int8 devices: no squeeze-and-excitation, ReLU6; {scaling.resolution} pixels",
        paper=PAPER,
        input_shape=(scaling.resolution, scaling.resolution, 3),
        classes=1000,
        parameters=_PARAMETERS[variant],
        macs=_MACS[variant],
        preprocessing=Preprocessing(
            mean=(127.0,) * 3,
            std=(128.0,) * 3,
            resize=evaluation_rule(scaling.resolution),
            crop_padding=CROP_PADDING,
        ),
        weights_note="the authors publish TensorFlow 1 checkpoints only, no Keras file",
        minimum_size=_MINIMUM_SIZE,
    )
    return register(record)(builder)


efficientnet_lite0 = _named("lite0")
efficientnet_lite1 = _named("lite1")
efficientnet_lite2 = _named("lite2")
efficientnet_lite3 = _named("lite3")
efficientnet_lite4 = _named("lite4")
