"""What the builders of two-stage detectors share: options, pixels and anchors. No Keras needed."""

from __future__ import annotations

import math

from edgecv.models.registry import Option, Preprocessing
from edgecv_runtime.manifest import Resize

SHAPE = (608, 1024, 3)
"""The papers' 600 by at most 1000 pixels, as multiples of every stride."""

CLASSES = 20
"""Of Pascal VOC, on which R-CNN, Fast and Faster R-CNN were published."""

PIXELS = Preprocessing(mean=(127.5,) * 3, std=(127.5,) * 3, resize=Resize(mode="letterbox", align="top-left"))

BACKBONE = Option("backbone", str, "vgg16", help="vgg16, resnet50, mobilenet_v2 or plain (small, stride 8)")
RESIDUAL = Option("backbone", str, "resnet50", help="vgg16, resnet50, mobilenet_v2 or plain (small, stride 8)")
ALPHA = Option("alpha", float, 1.0, 0.1, 4.0, "width multiplier α of the backbones mobilenet_v2 and plain")
DENSE_WIDTH = Option("dense_width", int, 4096, 8, 8192, "units of the two dense layers of each region")
DROPOUT = Option("dropout", float, 0.5, 0.0, 0.9, "share of units dropped after each dense layer in training")
ROI_SIZE = Option("roi_size", int, 7, 1, 32, "cells a side of a region's features")
PROPOSALS = Option("proposals", int, 300, 1, 10_000, "regions that the second stage looks at")
CANDIDATES = Option("candidates", int, 6000, 1, 50_000, "best anchors that enter the suppression")
ANCHOR_SCALE = Option(
    "anchor_scale", float, 128 / 608, 0.01, 1.0, "side of the smallest anchor over the picture's shorter side"
)

NO_WEIGHTS = "start it from a classifier's weights: edgecv.models.fcn.initialize_from"

_RATIOS = (0.5, 1.0, 2.0)  # height over width
_DOUBLINGS = 3


def anchor_shapes(scale: float, size: tuple[int, int]) -> tuple[tuple[float, float], ...]:
    """The nine (width, height) of section 3.1.1 of Ren et al. 2017: three areas, each in three aspect ratios.

    Parameters
    ----------
    scale : float
        Side of the smallest square over the shorter side of the input; 128 pixels of 608.
    size : (height, width)
        Of the input, pixels.

    Examples
    --------
    >>> [(round(w), round(h)) for w, h in anchor_shapes(0.25, (64, 96))][:3]
    [(23, 11), (16, 16), (11, 23)]
    """
    sides = [scale * min(size) * 2**step for step in range(_DOUBLINGS)]
    return tuple((side / math.sqrt(ratio), side * math.sqrt(ratio)) for side in sides for ratio in _RATIOS)
