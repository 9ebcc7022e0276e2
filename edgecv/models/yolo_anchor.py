"""Tiny YOLO with anchors, of version 2 on one map and of version 3 on two.

Redmon and Farhadi 2017, "YOLO9000: Better, Faster, Stronger", arXiv:1612.08242; 2018, "YOLOv3: An Incremental
Improvement", arXiv:1804.02767. Layers and anchors are those of the tiny configurations that their authors published.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from edgecv.layers.shapes import check_classes, check_image_shape
from edgecv.models.registry import ModelRecord, Option, Paper, Preprocessing, register
from edgecv_runtime.errors import InputError

if TYPE_CHECKING:
    import keras

_SHAPE = (416, 416, 3)
_PIXELS = Preprocessing(mean=(0.0,) * 3, std=(255.0,) * 3)
_NO_WEIGHTS = "its authors publish weights for Darknet alone"
_STAGES = (16, 32, 64, 128, 256, 512)  # filters of the convolutions before each pooling
_DEEP = 1024

# Widths and heights in pixels at 416: of version 2 on Pascal VOC (there in cells of 32), and of version 3 on COCO,
# coarse map and fine map.
_VOC = "34.56x38.08 109.44x141.12 212.16x364.16 301.44x163.52 531.84x336.64"
_COCO = "81x82 135x169 344x319; 10x14 23x27 37x58"

_ALPHA_OPTION = Option("alpha", float, 1.0, 0.05, 2.0, "width multiplier α: channels of every layer")


def read_anchors(text: str, maps: int) -> list[list[list[float]]]:
    """Anchors of each map from ``"WxH WxH; WxH"``: maps end with a semicolon.

    Raises
    ------
    InputError
        Another number of maps, or what is no pair of positive numbers.
    """
    try:
        read = [[[float(side) for side in pair.split("x")] for pair in part.split()] for part in text.split(";")]
    except ValueError:
        read = []
    sound = all(part and all(len(pair) == 2 and min(pair) > 0 for pair in part) for part in read)
    if len(read) != maps or not sound:
        raise InputError(
            f"anchors must be widths and heights in pixels, as in '10x14 23x27'{', for 2 maps' * (maps > 1)}"
            f"{' with a semicolon between' * (maps > 1)}; received {text!r:.80}"
        )
    return read


def _anchors_option(default: str) -> Option:
    return Option(
        "anchors", str, default, help="widths and heights in pixels of the input: 'WxH WxH'; a ';' ends a map"
    )


def _decoder_v2(shape: tuple[int, ...], classes: int, options: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    return "yolo-anchor", {"anchors": read_anchors(options["anchors"], 1), "coding": "exp", "classes": "softmax"}


def _decoder_v3(shape: tuple[int, ...], classes: int, options: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    return "yolo-anchor", {"anchors": read_anchors(options["anchors"], 2), "coding": "exp", "classes": "sigmoid"}


@register(
    ModelRecord(
        name="yolo_v2_tiny",
        task="detection",
        summary="nine convolutions, anchors on one map",
        paper=Paper("Redmon, Farhadi", 2017, "YOLO9000: Better, Faster, Stronger", "1612.08242"),
        input_shape=_SHAPE,
        classes=20,
        parameters=15_867_885,
        macs=3_485_520_896,
        preprocessing=_PIXELS,
        options=(
            _ALPHA_OPTION,
            Option("stride", int, 32, 4, 32, "input pixels a cell: a power of two"),
            _anchors_option(_VOC),
        ),
        weights_note=_NO_WEIGHTS,
        decoder=_decoder_v2,
    )
)
def yolo_v2_tiny(
    input_shape: tuple[int, int, int] | None = None,
    classes: int = 20,
    *,
    alpha: float = 1.0,
    stride: int = 32,
    anchors: str = _VOC,
    include_top: bool = True,
    name: str = "yolo_v2_tiny",
) -> keras.Model:
    """Build tiny YOLO v2 with fresh weights.

    Parameters
    ----------
    input_shape : (height, width, channels), optional
        Default (416, 416, 3), multiples of the stride. Pixels over 255.
    classes : int
        C.
    alpha : float
        Width multiplier of every layer; 1 is the published network.
    stride : {4, 8, 16, 32}
        Input pixels a cell; 32 is the published network, which pools five times.
    anchors : str
        See `read_anchors`; one map of A.
    include_top : bool
        False ends with the map before the predictions.
    name : str

    Returns
    -------
    keras.Model
        From (N, H, W, C) to ``grid`` (N, H/stride, W/stride, A (5 + classes)), raw.

    Raises
    ------
    InputError
        A shape, class count or option that cannot be built.

    Examples
    --------
    A picture of 3×3 cells, two anchors and three classes:

    >>> yolo_v2_tiny((96, 96, 3), 3, anchors="24x24 48x48").output_shape
    (None, 3, 3, 16)
    """
    import keras

    from edgecv.layers.convolution import max_pool
    from edgecv.layers.darknet import darknet_conv

    if stride not in (4, 8, 16, 32):
        raise InputError(f"{name}: stride must be 4, 8, 16 or 32; received {stride}")
    shape = _checked(name, input_shape, classes, stride)
    count = len(read_anchors(anchors, 1)[0])
    pools = stride.bit_length() - 1
    image = x = keras.layers.Input(shape, name="image")
    for stage, filters in enumerate(_STAGES[: pools + 1], start=1):
        x = darknet_conv(x, _width(filters, alpha), 3, f"conv{stage}")
        # The last pooling of the published network keeps the size.
        x = max_pool(x, 2, *((2, "valid") if stage <= pools else (1, "same")), f"pool{stage}")
    deep = _width(2 * _STAGES[pools], alpha)
    for number in (1, 2):
        x = darknet_conv(x, deep, 3, f"conv{pools + 1 + number}")
    if include_top:
        x = keras.layers.Conv2D(count * (5 + classes), 1, name="grid")(x)
    return keras.Model(image, x, name=name)


@register(
    ModelRecord(
        name="yolo_v3_tiny",
        task="detection",
        summary="anchors on two maps, the finer fed by the coarser",
        paper=Paper("Redmon, Farhadi", 2018, "YOLOv3: An Incremental Improvement", "1804.02767"),
        input_shape=_SHAPE,
        classes=80,
        parameters=8_858_734,
        macs=2_782_480_896,
        preprocessing=_PIXELS,
        options=(_ALPHA_OPTION, _anchors_option(_COCO)),
        weights_note=_NO_WEIGHTS,
        decoder=_decoder_v3,
    )
)
def yolo_v3_tiny(
    input_shape: tuple[int, int, int] | None = None,
    classes: int = 80,
    *,
    alpha: float = 1.0,
    anchors: str = _COCO,
    include_top: bool = True,
    name: str = "yolo_v3_tiny",
) -> keras.Model:
    """Build tiny YOLO v3 with fresh weights.

    Parameters
    ----------
    input_shape : (height, width, channels), optional
        Default (416, 416, 3), multiples of 32. Pixels over 255.
    classes : int
        C.
    alpha : float
        Width multiplier of every layer; 1 is the published network.
    anchors : str
        See `read_anchors`; of the coarse map, then of the fine one.
    include_top : bool
        False ends with the (N, H/32, W/32, 256 α) map that both predictions start from.
    name : str

    Returns
    -------
    keras.Model
        From (N, H, W, C) to ``coarse`` (N, H/32, W/32, A (5 + classes)) and ``fine`` (N, H/16, W/16, A (5 + classes)),
        raw.

    Raises
    ------
    InputError
        A shape, class count or option that cannot be built.
    """
    import keras

    from edgecv.layers.convolution import max_pool
    from edgecv.layers.darknet import darknet_conv

    layers = keras.layers
    shape = _checked(name, input_shape, classes, 32)
    counts = [len(part) for part in read_anchors(anchors, 2)]
    image = x = layers.Input(shape, name="image")
    fine = x
    for stage, filters in enumerate(_STAGES, start=1):
        x = darknet_conv(x, _width(filters, alpha), 3, f"conv{stage}")
        if stage == 5:
            fine = x  # at stride 16
        x = max_pool(x, 2, *((2, "valid") if stage < 6 else (1, "same")), f"pool{stage}")
    x = darknet_conv(x, _width(_DEEP, alpha), 3, "conv7")
    x = darknet_conv(x, _width(256, alpha), 1, "conv8")
    if not include_top:
        return keras.Model(image, x, name=name)
    coarse = darknet_conv(x, _width(512, alpha), 3, "coarse_conv")
    coarse = layers.Conv2D(counts[0] * (5 + classes), 1, name="coarse")(coarse)
    x = darknet_conv(x, _width(128, alpha), 1, "fine_squeeze")
    x = layers.UpSampling2D(2, name="fine_enlarge")(x)
    x = layers.Concatenate(name="fine_join")([x, fine])
    x = darknet_conv(x, _width(256, alpha), 3, "fine_conv")
    fine = layers.Conv2D(counts[1] * (5 + classes), 1, name="fine")(x)
    return keras.Model(image, [coarse, fine], name=name)


def _checked(name: str, shape: tuple[int, int, int] | None, classes: int, stride: int) -> tuple[int, int, int]:
    height, width, channels = check_image_shape(name, shape, _SHAPE, 32)
    check_classes(name, classes)
    if height % stride or width % stride:
        raise InputError(f"{name}: height and width must be multiples of {stride} pixels; received {height}x{width}")
    return height, width, channels


def _width(filters: int, alpha: float) -> int:
    return max(4, round(filters * alpha))
