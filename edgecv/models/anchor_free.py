"""A small detector without anchors: MobileNet v2, three maps joined from coarse to fine, a head on each.

How a box is written and scored is YOLOX's (Ge et al. 2021, arXiv:2107.08430), which cells learn it FCOS's (Tian et al.
2019, arXiv:1904.01355), and the maps are joined as in a feature pyramid (Lin et al. 2017, arXiv:1612.03144).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from edgecv.layers.detection_heads import activated, rows
from edgecv.layers.shapes import check_classes, check_image_shape
from edgecv.models.mobilenet_v2 import mobilenet_v2
from edgecv.models.registry import ModelRecord, Option, Paper, Preprocessing, register
from edgecv_runtime.errors import InputError

if TYPE_CHECKING:
    import keras

_SHAPE = (320, 320, 3)
_CLASSES = 80
_STRIDES = (8, 16, 32)
_TAPS = {8: "block_5_add", 16: "block_12_add", 32: "block_16_project_BN"}  # the last thin layer at each stride
# Bias of the objectness: one cell in a hundred holds an object (Lin et al. 2017, "Focal Loss", section 4.1).
_RARE = -4.6


def _decoder(shape: tuple[int, ...], classes: int, options: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    roles = ("boxes", "objectness", "scores")
    return "yolox", {"strides": list(_STRIDES), "outputs": {role: role for role in roles}}


@register(
    ModelRecord(
        name="anchor_free_mobilenet_v2",
        task="detection",
        summary="no anchors: each cell near an object's middle gives its box, for devices",
        paper=Paper("Ge, Liu, Wang, Li, Sun", 2021, "YOLOX: Exceeding YOLO Series in 2021", "2107.08430"),
        input_shape=_SHAPE,
        classes=_CLASSES,
        parameters=2_037_727,
        macs=683_734_400,
        preprocessing=Preprocessing(mean=(127.5,) * 3, std=(127.5,) * 3),
        options=(
            Option("alpha", float, 1.0, 0.1, 4.0, "width multiplier α of MobileNet v2"),
            Option("channels", int, 96, 8, 512, "channels of the joined maps and of the head"),
        ),
        weights_note="start it from MobileNet v2: edgecv.models.fcn.initialize_from",
        decoder=_decoder,
    )
)
def anchor_free_mobilenet_v2(
    input_shape: tuple[int, int, int] | None = None,
    classes: int = _CLASSES,
    *,
    alpha: float = 1.0,
    channels: int = 96,
    include_top: bool = True,
    classifier_activation: str | None = "sigmoid",
    name: str = "anchor_free_mobilenet_v2",
) -> keras.Model:
    """Build the detector with fresh weights.

    Parameters
    ----------
    input_shape : (height, width, channels), optional
        Default (320, 320, 3), multiples of 32. Pixels as ``x / 127.5 - 1``.
    classes : int
    alpha : float
        Width multiplier of the backbone.
    channels : int
        Of the joined maps and of the head.
    include_top : bool
        False ends with the backbone's last thin map, (N, H/32, W/32, 320 α).
    classifier_activation : {"sigmoid", None}
        None ends with the logits of objectness and scores.
    name : str

    Returns
    -------
    keras.Model
        From (N, H, W, C) to ``boxes`` (N, A, 4), ``objectness`` (N, A, 1) and ``scores`` (N, A, classes), with a row
        for each cell of the grids of stride 8, 16 and 32.

    Raises
    ------
    InputError
        A shape or class count that cannot be built.

    Notes
    -----
    Layers of the backbone are named as in `mobilenet_v2`.
    """
    import keras

    shape = check_image_shape(name, input_shape, _SHAPE, 32)
    check_classes(name, classes)
    if shape[0] % 32 or shape[1] % 32:
        raise InputError(f"{name}: height and width must be multiples of 32 pixels; received {shape[0]}x{shape[1]}")
    base = mobilenet_v2(shape, alpha=alpha, include_top=False)
    taps = {stride: base.get_layer(layer).output for stride, layer in _TAPS.items()}
    if not include_top:
        return keras.Model(base.input, taps[32], name=name)
    joined = _joined(taps, channels)
    maps: dict[str, list[Any]] = {"boxes": [], "objectness": [], "scores": []}
    for stride in _STRIDES:
        place, kind = (_branch(joined[stride], channels, f"{role}{stride}") for role in ("place", "kind"))
        rare = keras.initializers.Constant(_RARE)
        maps["boxes"].append(keras.layers.Conv2D(4, 1, name=f"boxes{stride}")(place))
        maps["objectness"].append(keras.layers.Conv2D(1, 1, bias_initializer=rare, name=f"objectness{stride}")(place))
        maps["scores"].append(keras.layers.Conv2D(classes, 1, name=f"scores{stride}")(kind))
    ends = [
        rows(maps["boxes"], 4, "boxes"),
        activated(maps["objectness"], 1, classifier_activation, "sigmoid", "objectness"),
        activated(maps["scores"], classes, classifier_activation, "sigmoid", "scores"),
    ]
    return keras.Model(base.input, ends, name=name)


def _joined(taps: Mapping[int, Any], channels: int) -> dict[int, Any]:
    """The maps of each stride, every one with what the coarser ones know."""
    import keras

    from edgecv.layers.convolution import convolve

    joined: dict[int, Any] = {}
    for stride in reversed(_STRIDES):
        x = convolve(taps[stride], channels, name=f"lateral{stride}", activation="relu6")
        if stride != _STRIDES[-1]:
            above = keras.layers.UpSampling2D(2, name=f"enlarge{stride}")(joined[2 * stride])
            x = keras.layers.Add(name=f"join{stride}")([x, above])
        joined[stride] = x
    return joined


def _branch(x: Any, channels: int, name: str) -> Any:
    """Two separable convolutions."""
    import keras

    from edgecv.layers.convolution import convolve

    for number in (1, 2):
        part = f"{name}_{number}"
        x = keras.layers.DepthwiseConv2D(3, padding="same", use_bias=False, name=f"{part}_depthwise")(x)
        x = convolve(x, channels, name=part, activation="relu6")
    return x
