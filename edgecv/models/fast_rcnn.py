"""Fast R-CNN: regions pooled from one feature map, classes and boxes in one step (Girshick 2015, arXiv:1504.08083)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgecv.layers.shapes import check_classes, check_image_shape
from edgecv.models.faster_rcnn import decoder, pool_and_classify
from edgecv.models.registry import ModelRecord, Option, Paper, register
from edgecv.two_stage.options import (
    ALPHA,
    ANCHOR_SCALE,
    BACKBONE,
    CLASSES,
    DENSE_WIDTH,
    DROPOUT,
    NO_WEIGHTS,
    PIXELS,
    ROI_SIZE,
    SHAPE,
    anchor_shapes,
)

if TYPE_CHECKING:
    import keras
    import numpy as np
    import numpy.typing as npt

_SPACING = 0.5  # windows of a size lie half their side apart


@register(
    ModelRecord(
        name="fast_rcnn",
        task="detection",
        summary="classes and boxes of given regions from one feature map",
        paper=Paper("Girshick", 2015, "Fast R-CNN", "1504.08083"),
        input_shape=SHAPE,
        classes=CLASSES,
        parameters=134_674_341,
        macs=252_558_303_232,
        preprocessing=PIXELS,
        options=(
            BACKBONE,
            ALPHA,
            DENSE_WIDTH,
            DROPOUT,
            ROI_SIZE,
            Option("regions", int, 0, 0, 10_000, "regions given beside the picture; 0: fixed windows in the graph"),
            ANCHOR_SCALE,
        ),
        weights_note=NO_WEIGHTS,
        minimum_size=32,
        decoder=decoder,
    )
)
def fast_rcnn(
    input_shape: tuple[int, int, int] | None = None,
    classes: int = CLASSES,
    *,
    backbone: str = "vgg16",
    alpha: float = 1.0,
    dense_width: int = 4096,
    dropout: float = 0.5,
    roi_size: int = 7,
    regions: int = 0,
    anchor_scale: float = 128 / 608,
    name: str = "fast_rcnn",
) -> keras.Model:
    """Build Fast R-CNN with fresh weights; train it with `edgecv.two_stage.train`.

    Parameters
    ----------
    input_shape, classes, backbone, alpha, dense_width, dropout, roi_size
        As of `faster_rcnn`.
    regions : int
        R regions come as a second input ``regions`` (N, R, 4), xyxy in pixels of the input, as selective search gives
        them; rows of zeros stand for nothing. 0: the regions are `sliding_windows` inside the graph, the dense boxes
        of section 5.4, and the picture is the only input: what a device without a proposal method runs.
    anchor_scale : float
        Side of the smallest window over the shorter side of the input.
    name : str

    Returns
    -------
    keras.Model
        To ``boxes`` (N, R, 4 · classes), xyxy in pixels of the input, and ``scores`` (N, R, 1 + classes),
        probabilities with the background first.

    Raises
    ------
    InputError
        A shape, class count or option that cannot be built.
    """
    import keras

    from edgecv.layers.roi_heads import BoxHead, FixedRegions
    from edgecv.two_stage.backbones import build_backbone

    shape = check_image_shape(name, input_shape, SHAPE, 32)
    check_classes(name, classes)
    base = build_backbone(backbone, shape, alpha)
    inputs = base.image
    if regions:
        boxes_in = keras.layers.Input((regions, 4), name="regions")
        inputs = [base.image, boxes_in]
    else:
        windows = sliding_windows(base.input_size, anchor_scale)
        boxes_in = FixedRegions(windows, name="windows")(base.features)
    outputs = pool_and_classify(base, boxes_in, BoxHead.create(classes, dense_width, dropout), roi_size)
    return keras.Model(inputs, outputs, name=name)


def sliding_windows(size: tuple[int, int], scale: float) -> npt.NDArray[np.float32]:
    """Windows of nine shapes over a picture, half their sides apart: (R, 4) xyxy pixels, inside the picture.

    Parameters
    ----------
    size : (height, width), pixels
    scale : float
        Side of the smallest over the shorter side; see `edgecv.two_stage.options.anchor_shapes`.

    Examples
    --------
    >>> sliding_windows((64, 64), 0.25).shape
    (312, 4)
    """
    import numpy as np

    height, width = size
    found = []
    for across, down in anchor_shapes(scale, size):
        w, h = min(across, width), min(down, height)
        columns = np.linspace(0, width - w, 1 + int(np.ceil((width - w) / (_SPACING * w) - 1e-9)))
        rows = np.linspace(0, height - h, 1 + int(np.ceil((height - h) / (_SPACING * h) - 1e-9)))
        x, y = (axis.ravel() for axis in np.meshgrid(columns, rows))
        found.append(np.stack([x, y, x + w, y + h], axis=1))
    return np.concatenate(found).astype(np.float32)
