"""Faster R-CNN: a region proposal network and Fast R-CNN on one feature map (Ren et al. 2017, arXiv:1506.01497)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from edgecv.layers.shapes import check_classes, check_image_shape
from edgecv.models.registry import ModelRecord, Paper, register
from edgecv.two_stage.options import (
    ALPHA,
    ANCHOR_SCALE,
    BACKBONE,
    CANDIDATES,
    CLASSES,
    DENSE_WIDTH,
    DROPOUT,
    NO_WEIGHTS,
    PIXELS,
    PROPOSALS,
    ROI_SIZE,
    SHAPE,
    anchor_shapes,
)

if TYPE_CHECKING:
    import keras


def decoder(shape: tuple[int, ...], classes: int, options: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The runtime's decoder of boxes and scores of regions."""
    return "rcnn", {"outputs": {"boxes": "boxes", "scores": "scores"}}


@register(
    ModelRecord(
        name="faster_rcnn",
        task="detection",
        summary="region proposals and their classes from one feature map",
        paper=Paper(
            "Ren, He, Girshick, Sun",
            2017,
            "Faster R-CNN: Towards Real-Time Object Detection with Region Proposal Networks",
            "1506.01497",
        ),
        input_shape=SHAPE,
        classes=CLASSES,
        parameters=137_061_851,
        macs=232_213_954_560,
        preprocessing=PIXELS,
        options=(BACKBONE, ALPHA, DENSE_WIDTH, DROPOUT, ROI_SIZE, PROPOSALS, CANDIDATES, ANCHOR_SCALE),
        weights_note=NO_WEIGHTS,
        minimum_size=32,
        decoder=decoder,
    )
)
def faster_rcnn(
    input_shape: tuple[int, int, int] | None = None,
    classes: int = CLASSES,
    *,
    backbone: str = "vgg16",
    alpha: float = 1.0,
    dense_width: int = 4096,
    dropout: float = 0.5,
    roi_size: int = 7,
    proposals: int = 300,
    candidates: int = 6000,
    anchor_scale: float = 128 / 608,
    name: str = "faster_rcnn",
) -> keras.Model:
    """Build Faster R-CNN with fresh weights; train it with `edgecv.two_stage.train`.

    Parameters
    ----------
    input_shape : (height, width, channels), optional
        Default (608, 1024, 3); multiples of the backbone's stride. Pixels as ``x / 127.5 - 1``.
    classes : int
        Without the background.
    backbone : {"vgg16", "resnet50", "mobilenet_v2", "plain"}
        See `edgecv.two_stage.backbones`.
    alpha : float
        Width multiplier of ``mobilenet_v2`` and ``plain``.
    dense_width, dropout : int, float
        Units of the two dense layers, and the share of them that is dropped in training.
    roi_size : int
        Cells a side of the pooled features.
    proposals, candidates : int
        Regions given to the second stage, and anchors that enter the suppression before it (overlap 0.7).
    anchor_scale : float
        Side of the smallest of the three anchor sizes over the shorter side of the input.
    name : str

    Returns
    -------
    keras.Model
        To ``boxes`` (N, proposals, 4 · classes), xyxy in pixels of the input, and ``scores``
        (N, proposals, 1 + classes), probabilities with the background first.

    Raises
    ------
    InputError
        A shape, class count or option that cannot be built.
    """
    import keras

    from edgecv.layers.roi_heads import BoxHead
    from edgecv.two_stage.backbones import build_backbone

    shape = check_image_shape(name, input_shape, SHAPE, 32)
    check_classes(name, classes)
    base = build_backbone(backbone, shape, alpha)
    regions = propose(base, anchor_scale, proposals, candidates)
    outputs = pool_and_classify(base, regions, BoxHead.create(classes, dense_width, dropout), roi_size)
    return keras.Model(base.image, outputs, name=name)


def propose(base: Any, anchor_scale: float, proposals: int, candidates: int) -> Any:
    """The region proposal network on a backbone: regions (N, R, 4), xyxy pixels."""
    from edgecv.layers.proposals import Proposals
    from edgecv.layers.roi_heads import proposal_head

    shapes = anchor_shapes(anchor_scale, base.input_size)
    width = min(512, base.features.shape[-1])
    logits, offsets = proposal_head(base.features, len(shapes), width)
    layer = Proposals(base.grid, shapes, base.input_size, proposals, candidates, name="proposals")
    regions, _ = layer([logits, offsets])
    return regions


def pool_and_classify(base: Any, regions: Any, head: Any, roi_size: int) -> list[Any]:
    """The second stage on pooled regions (N, R, 4): the outputs ``boxes`` and ``scores``."""
    import keras

    from edgecv.layers.roi import RoIPooling

    pooled = RoIPooling(roi_size, 1 / base.stride, name="region_features")([base.features, regions])
    boxes, scores = classify(head, pooled, regions, base.input_size)
    return [keras.layers.Identity(name="boxes")(boxes), keras.layers.Identity(name="scores")(scores)]


def classify(head: Any, pooled: Any, regions: Any, input_size: tuple[int, int]) -> tuple[Any, Any]:
    """Boxes (N, R, 4 · classes) and scores (N, R, 1 + classes) of regions from their pooled features."""
    from edgecv.layers.proposals import DecodeRegions
    from edgecv.layers.roi_heads import RegionRows, RegionScores

    logits, offsets = head(RegionRows(regions.shape[1], flat=True, name="region_vectors")(pooled))
    boxes = DecodeRegions(input_size, name="region_boxes")([regions, offsets])
    return boxes, RegionScores(name="region_scores")([logits, regions])
