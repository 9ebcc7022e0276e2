"""SSDLite on MobileNet v1 and v2: SSD of separable convolutions, for devices (Sandler et al. 2018, section 6.2)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edgecv.layers.detection_heads import activated, halved, rows
from edgecv.layers.shapes import check_classes, check_image_shape, make_divisible
from edgecv.models.mobilenet_v1 import mobilenet_v1
from edgecv.models.mobilenet_v2 import mobilenet_v2
from edgecv.models.registry import Builder, ModelRecord, Option, Paper, Preprocessing, register
from edgecv_runtime.errors import InputError

PAPER = Paper(
    "Sandler, Howard, Zhu, Zhmoginov, Chen",
    2018,
    "MobileNetV2: Inverted Residuals and Linear Bottlenecks",
    "1801.04381",
)

_SHAPE = (320, 320, 3)
_CLASSES = 80  # COCO, without a background
_MAPS = 6
_EXTRAS = (512, 256, 256, 128)  # channels of the maps behind the backbone; half as many before the 3×3
_SMALLEST, _LARGEST = 0.2, 0.95  # scales of the default boxes, as the authors' reference has them
_RATIOS = (2, 3)

# The first map has three boxes a cell alone, of the authors' reference: (scale, ratio).
_FIRST = ((0.5, 1.0), (1.0, 2.0), (1.0, 0.5))


@dataclass(frozen=True)
class _Backbone:
    """A classifier's body, and the layers by which stride maps leave it."""

    name: str
    build: Callable[..., Any]
    taps: Mapping[int, str]
    rounds_up: bool  # whether an odd map halves to the larger half behind the first convolution
    parameters: int
    macs: int


_BACKBONES = (
    _Backbone(
        "mobilenet_v1",
        mobilenet_v1,
        {8: "conv_pw_5_relu", 16: "conv_pw_11_relu", 32: "conv_pw_13_relu"},
        rounds_up=False,
        parameters=5_137_909,
        macs=1_309_162_944,
    ),
    # The first map leaves from the expansion of layer 15, at stride 16 (section 6.2).
    _Backbone(
        "mobilenet_v2",
        mobilenet_v2,
        {8: "block_6_expand_relu", 16: "block_13_expand_relu", 32: "out_relu"},
        rounds_up=True,
        parameters=4_387_765,
        macs=788_830_144,
    ),
)

_OPTIONS = (
    Option("alpha", float, 1.0, 0.1, 4.0, "width multiplier α: channels of every layer but the predictions"),
    Option("first_stride", int, 16, 8, 16, "stride of the first map, 8 or 16 pixels: 8 finds smaller objects"),
    Option("smallest", float, _SMALLEST, 0.02, 0.9, "scale of the first map's default boxes, of the picture"),
    Option("largest", float, _LARGEST, 0.05, 1.5, "scale of the last map's default boxes, of the picture"),
)


def grids(size: tuple[int, int], first_stride: int, rounds_up: bool) -> list[tuple[int, int]]:
    """Rows and columns of the six maps: 20, 10, 5, 3, 2 and 1 of 320 pixels at a first stride of 16."""
    found = [halved(size, 1)]
    for _ in range(4):
        height, width = found[-1]
        found.append(halved((height, width), 1) if rounds_up else (height // 2, width // 2))
    found = found[{8: 2, 16: 3}[first_stride] :]
    while len(found) < _MAPS:
        found.append(halved(found[-1], 1))
    return found


def default_boxes(maps: Sequence[tuple[int, int]], smallest: float, largest: float) -> Any:
    """(A, 4) default boxes: three a cell of the first map, six of the others, with scales of SSD's eq. 4."""
    import numpy as np

    from edgecv.detection.anchors import grid_anchors, ssd_anchors, ssd_scales

    scales = (*ssd_scales(len(maps), smallest, largest), 1.0)
    first = [(smallest * part * ratio**0.5, smallest * part / ratio**0.5) for part, ratio in _FIRST]
    others = ssd_anchors(maps[1:], scales[1:], [_RATIOS] * (len(maps) - 1))
    return np.concatenate([grid_anchors(maps[0], first), others])


def _named(backbone: _Backbone) -> Builder:
    name = f"ssdlite_{backbone.name}"

    def decoder(shape: tuple[int, ...], classes: int, options: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
        from edgecv.detection.anchors import plain_numbers

        _check(name, options["first_stride"], options["smallest"], options["largest"])
        maps = grids((shape[0], shape[1]), options["first_stride"], backbone.rounds_up)
        return "ssd", {
            "anchors": plain_numbers(default_boxes(maps, options["smallest"], options["largest"])),
            "variances": [0.1, 0.1, 0.2, 0.2],
            "outputs": {"boxes": "boxes", "scores": "scores"},
        }

    record = ModelRecord(
        name=name,
        task="detection",
        summary=f"SSD of separable convolutions on MobileNet {backbone.name[-2:]}, for devices",
        paper=PAPER,
        input_shape=_SHAPE,
        classes=_CLASSES,
        parameters=backbone.parameters,
        macs=backbone.macs,
        preprocessing=Preprocessing(mean=(127.5,) * 3, std=(127.5,) * 3),
        options=_OPTIONS,
        weights_note=f"start it from {backbone.name}: edgecv.models.fcn.initialize_from",
        minimum_size=64,
        decoder=decoder,
    )

    def builder(
        input_shape: tuple[int, int, int] | None = None,
        classes: int = _CLASSES,
        *,
        alpha: float = 1.0,
        first_stride: int = 16,
        smallest: float = _SMALLEST,
        largest: float = _LARGEST,
        include_top: bool = True,
        classifier_activation: str | None = "softmax",
        name: str = name,
    ) -> Any:
        import keras

        shape = check_image_shape(name, input_shape, _SHAPE, record.minimum_size)
        check_classes(name, classes)
        _check(name, first_stride, smallest, largest)
        base = backbone.build(shape, alpha=alpha, include_top=False)
        if not include_top:
            return keras.Model(base.input, base.output, name=name)
        maps = [base.get_layer(layer).output for stride, layer in backbone.taps.items() if stride >= first_stride]
        for number, channels in enumerate(_EXTRAS[: _MAPS - len(maps)], start=1):
            maps.append(_shrink(maps[-1], make_divisible(channels * min(1.0, alpha)), f"extra{number}"))
        counts = [len(_FIRST), *[2 + 2 * len(_RATIOS)] * (_MAPS - 1)]

        def predict(columns: int, role: str) -> list[Any]:
            return [
                _predict(part, count * columns, f"{role}_map{index}")
                for index, (part, count) in enumerate(zip(maps, counts, strict=True), start=1)
            ]

        boxes = rows(predict(4, "boxes"), 4, "boxes")
        scores = activated(predict(classes + 1, "scores"), classes + 1, classifier_activation, "softmax", "scores")
        return keras.Model(base.input, [boxes, scores], name=name)

    builder.__name__ = builder.__qualname__ = name
    builder.__doc__ = _DOC.format(backbone=backbone.name)
    return register(record)(builder)


_DOC = """Build SSDLite on {backbone} with fresh weights.

    Parameters
    ----------
    input_shape : (height, width, channels), optional
        Default (320, 320, 3), at least 64 x 64. Pixels as ``x / 127.5 - 1``.
    classes : int
        Without the background.
    alpha : float
        Width multiplier of the backbone and, below 1, of the maps behind it.
    first_stride : {{8, 16}}
        Of the first of the six maps; 16 is the published network.
    smallest, largest : float
        Scales of the first and last map's default boxes. Only the decoder's boxes depend on them.
    include_top : bool
        False ends with the backbone's last map.
    classifier_activation : {{"softmax", None}}
        None ends with the logits of the scores.
    name : str

    Returns
    -------
    keras.Model
        From (N, H, W, C) to ``boxes`` (N, A, 4), offsets from the default boxes, and ``scores`` (N, A, 1 + classes),
        the background first; A is 2034 at 320 x 320.

    Raises
    ------
    InputError
        A shape, class count or option that cannot be built.

    Notes
    -----
    Layers of the backbone are named as in `{backbone}`, whose weights can be taken over:
    `edgecv.models.fcn.initialize_from`.
    """


def _check(model: str, first_stride: int, smallest: float, largest: float) -> None:
    if first_stride not in (8, 16):
        raise InputError(f"{model}: first_stride must be 8 or 16; received {first_stride}")
    if not smallest < largest:
        raise InputError(f"{model}: smallest must be below largest; received {smallest} and {largest}")


def _normalised(x: Any, name: str) -> Any:
    import keras

    return keras.layers.ReLU(6.0, name=f"{name}_relu")(keras.layers.BatchNormalization(name=f"{name}_bn")(x))


def _separable(x: Any, channels: int, strides: int, name: str) -> Any:
    import keras

    layers = keras.layers
    x = layers.DepthwiseConv2D(3, strides=strides, padding="same", use_bias=False, name=f"{name}_depthwise")(x)
    x = _normalised(x, f"{name}_depthwise")
    x = layers.Conv2D(channels, 1, use_bias=False, name=f"{name}_project")(x)
    return _normalised(x, f"{name}_project")


def _shrink(x: Any, channels: int, name: str) -> Any:
    """The next, smaller map: half the channels, and a separable convolution with stride 2."""
    import keras

    x = keras.layers.Conv2D(channels // 2, 1, use_bias=False, name=f"{name}_squeeze")(x)
    return _separable(_normalised(x, f"{name}_squeeze"), channels, 2, name)


def _predict(x: Any, channels: int, name: str) -> Any:
    """Predictions of one map: depthwise 3×3, then 1×1 with bias."""
    import keras

    layers = keras.layers
    x = layers.DepthwiseConv2D(3, padding="same", use_bias=False, name=f"{name}_depthwise")(x)
    return layers.Conv2D(channels, 1, name=f"{name}_project")(_normalised(x, f"{name}_depthwise"))


ssdlite_mobilenet_v1, ssdlite_mobilenet_v2 = (_named(backbone) for backbone in _BACKBONES)
