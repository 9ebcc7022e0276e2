"""YOLO, the first: one look at the picture, S×S cells of B boxes (Redmon et al. 2016, arXiv:1506.02640)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from edgecv.layers.shapes import check_classes, check_image_shape
from edgecv.models.registry import ModelRecord, Option, Paper, Preprocessing, register
from edgecv_runtime.errors import InputError

if TYPE_CHECKING:
    import keras

PAPER = Paper("Redmon, Divvala, Girshick, Farhadi", 2016, "You Only Look Once: Unified, Real-Time Object Detection",
              "1506.02640")  # fmt: skip

_SHAPE = (448, 448, 3)
_CLASSES = 20  # Pascal VOC
_GRID, _BOXES = 7, 2  # S and B
_POOL = "pool"

# Figure 3: (filters, kernel, stride) of 24 convolutions, and where 2×2 max pooling halves the map.
_BODY: tuple[Any, ...] = (
    (64, 7, 2), _POOL,
    (192, 3, 1), _POOL,
    (128, 1, 1), (256, 3, 1), (256, 1, 1), (512, 3, 1), _POOL,
    *((256, 1, 1), (512, 3, 1)) * 4, (512, 1, 1), (1024, 3, 1), _POOL,
    *((512, 1, 1), (1024, 3, 1)) * 2, (1024, 3, 1), (1024, 3, 2),
    (1024, 3, 1), (1024, 3, 1),
)  # fmt: skip
_HIDDEN = 4096
_STRIDE = 64

_TINY_FIRST, _TINY_MOST = 16, 512  # filters of the first stage; they double until the second
_PIXELS = Preprocessing(mean=(0.0,) * 3, std=(255.0,) * 3)

_GRID_OPTION = Option("grid", int, _GRID, 1, 64, "cells along a side, S")
_BOXES_OPTION = Option("boxes", int, _BOXES, 1, 10, "boxes of each cell, B")
_ALPHA_OPTION = Option("alpha", float, 1.0, 0.05, 2.0, "width multiplier α: channels of every layer")


def _decoder(shape: tuple[int, ...], classes: int, options: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    return "yolo-v1", {"grid": options["grid"], "boxes": options["boxes"], "root_size": True}


def _record(name: str, summary: str, parameters: int, macs: int) -> ModelRecord:
    return ModelRecord(
        name=name,
        task="detection",
        summary=summary,
        paper=PAPER,
        input_shape=_SHAPE,
        classes=_CLASSES,
        parameters=parameters,
        macs=macs,
        preprocessing=_PIXELS,
        options=(_GRID_OPTION, _BOXES_OPTION, _ALPHA_OPTION),
        weights_note="its authors publish weights for Darknet alone",
        minimum_size=_STRIDE if name == "yolo_v1" else 32,
        decoder=_decoder,
    )


@register(_record("yolo_v1", "24 convolutions and two dense layers: S×S cells of B boxes", 271_703_550, 20_285_153_280))
def yolo_v1(
    input_shape: tuple[int, int, int] | None = None,
    classes: int = _CLASSES,
    *,
    grid: int = _GRID,
    boxes: int = _BOXES,
    alpha: float = 1.0,
    include_top: bool = True,
    name: str = "yolo_v1",
) -> keras.Model:
    """Build YOLO with fresh weights.

    Parameters
    ----------
    input_shape : (height, width, channels), optional
        Default (448, 448, 3), at least 64 x 64. Pixels over 255.
    classes : int
        C.
    grid, boxes : int
        S and B.
    alpha : float
        Width multiplier of every layer; 1 is the published network.
    include_top : bool
        False ends with the (N, H/64, W/64, 1024 α) map.
    name : str

    Returns
    -------
    keras.Model
        From (N, H, W, C) to ``grid`` (N, S, S, 5 B + classes): B times x, y, √w, √h and confidence, then the classes'
        probabilities. The last layer is linear (section 2.2).

    Raises
    ------
    InputError
        A shape, class count or option that cannot be built.
    """
    import keras

    from edgecv.layers.convolution import max_pool
    from edgecv.layers.darknet import SLOPE, darknet_conv

    layers = keras.layers
    shape = check_image_shape(name, input_shape, _SHAPE, _STRIDE)
    check_classes(name, classes)
    image = x = layers.Input(shape, name="image")
    convolutions = pools = 0
    for part in _BODY:
        if part == _POOL:
            pools += 1
            x = max_pool(x, 2, 2, "same", f"pool{pools}")
            continue
        convolutions += 1
        filters, kernel, strides = part
        # The network of 2015 has no batch normalisation.
        x = darknet_conv(x, _width(filters, alpha), kernel, f"conv{convolutions}", strides=strides, normalise=False)
    if include_top:
        x = layers.Flatten(name="flatten")(x)
        x = layers.Dense(_width(_HIDDEN, alpha), name="hidden")(x)
        x = layers.LeakyReLU(SLOPE, name="hidden_leaky")(x)
        x = layers.Dropout(0.5, name="dropout")(x)
        x = layers.Dense(grid * grid * (5 * boxes + classes), name="predictions")(x)
        x = layers.Reshape((grid, grid, 5 * boxes + classes), name="grid")(x)
    return keras.Model(image, x, name=name)


@register(_record("yolo_v1_tiny", "YOLO for devices: a convolution a stage, no dense layers", 6_313_870, 1_474_722_816))
def yolo_v1_tiny(
    input_shape: tuple[int, int, int] | None = None,
    classes: int = _CLASSES,
    *,
    grid: int = _GRID,
    boxes: int = _BOXES,
    alpha: float = 1.0,
    include_top: bool = True,
    name: str = "yolo_v1_tiny",
) -> keras.Model:
    """Build a small YOLO with fresh weights.

    In the manner of the paper's Fast YOLO (section 3.2): one normalised 3×3 convolution and pooling a stage, until the
    map is the grid, two more convolutions there, and a 1×1 convolution instead of the dense layers, so that its size
    does not depend on the grid's.

    Parameters
    ----------
    input_shape : (height, width, channels), optional
        Default (448, 448, 3): square, `grid` times a power of two from 4 on. Pixels over 255.
    classes, grid, boxes, alpha, name
        As of `yolo_v1`.
    include_top : bool
        False ends with the (N, S, S, 512 α) map.

    Returns
    -------
    keras.Model
        As of `yolo_v1`.

    Raises
    ------
    InputError
        A shape, class count or option that cannot be built.
    """
    import keras

    from edgecv.layers.convolution import max_pool
    from edgecv.layers.darknet import darknet_conv

    shape = check_image_shape(name, input_shape, _SHAPE, 32)
    check_classes(name, classes)
    stages = (shape[0] // grid).bit_length() - 1
    if shape[0] != shape[1] or shape[0] != grid * 2**stages or stages < 2:
        raise InputError(
            f"{name}: the input must be square, with sides of grid x 4, 8, 16, ... pixels; "
            f"received {shape[0]}x{shape[1]} and grid={grid}"
        )
    image = x = keras.layers.Input(shape, name="image")
    widths = [_width(min(_TINY_FIRST * 2**stage, _TINY_MOST), alpha) for stage in range(stages + 1)]
    for stage, filters in enumerate(widths[:-1], start=1):
        x = max_pool(darknet_conv(x, filters, 3, f"conv{stage}"), 2, 2, "valid", f"pool{stage}")
    for number in (1, 2):
        x = darknet_conv(x, widths[-1], 3, f"conv{stages + number}")
    if include_top:
        x = keras.layers.Conv2D(5 * boxes + classes, 1, name="grid")(x)
    return keras.Model(image, x, name=name)


def _width(filters: int, alpha: float) -> int:
    return max(4, round(filters * alpha))
