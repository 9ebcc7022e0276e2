"""Mask R-CNN: Faster R-CNN with aligned features, masks and keypoints (He et al. 2017, arXiv:1703.06870)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from edgecv.layers.shapes import check_classes, check_image_shape
from edgecv.models.faster_rcnn import classify, propose
from edgecv.models.registry import ModelRecord, Option, Paper, register
from edgecv.two_stage.options import (
    ALPHA,
    ANCHOR_SCALE,
    CANDIDATES,
    DENSE_WIDTH,
    DROPOUT,
    NO_WEIGHTS,
    PIXELS,
    PROPOSALS,
    RESIDUAL,
    ROI_SIZE,
    SHAPE,
)

if TYPE_CHECKING:
    import keras

_CLASSES = 80  # of COCO
_DENSE_WIDTH = 1024  # figure 4, right
_OVERLAP = 0.5  # above which the worse of two detections of a class goes

_OPTIONS = (
    RESIDUAL,
    ALPHA,
    Option("dense_width", int, _DENSE_WIDTH, DENSE_WIDTH.minimum, DENSE_WIDTH.maximum, DENSE_WIDTH.help),
    DROPOUT,
    ROI_SIZE,
    PROPOSALS,
    CANDIDATES,
    ANCHOR_SCALE,
    Option("detections", int, 100, 1, 1000, "detections of a picture that get a mask"),
    Option("mask_width", int, 256, 1, 1024, "channels of the mask head; the keypoint head has twice as many"),
    Option("mask_depth", int, 4, 1, 16, "convolutions of the mask head; the keypoint head has twice as many"),
    Option("keypoints", int, 0, 0, 1000, "keypoints of every object; 0 leaves their head out"),
)


def _decoder(shape: tuple[int, ...], classes: int, options: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    names = ["boxes", "scores", "classes", "masks", *(["keypoints"] if options.get("keypoints") else [])]
    return "mask", {"outputs": {name: name for name in names}}


@register(
    ModelRecord(
        name="mask_rcnn",
        task="detection",
        summary="objects with masks, and with keypoints if wanted",
        paper=Paper("He, Gkioxari, Dollár, Girshick", 2017, "Mask R-CNN", "1703.06870"),
        input_shape=SHAPE,
        classes=_CLASSES,
        parameters=70_590_615,
        macs=153_822_277_632,
        preprocessing=PIXELS,
        options=_OPTIONS,
        weights_note=NO_WEIGHTS,
        minimum_size=32,
        decoder=_decoder,
    )
)
def mask_rcnn(
    input_shape: tuple[int, int, int] | None = None,
    classes: int = _CLASSES,
    *,
    backbone: str = "resnet50",
    alpha: float = 1.0,
    dense_width: int = _DENSE_WIDTH,
    dropout: float = 0.5,
    roi_size: int = 7,
    proposals: int = 300,
    candidates: int = 6000,
    anchor_scale: float = 128 / 608,
    detections: int = 100,
    mask_width: int = 256,
    mask_depth: int = 4,
    keypoints: int = 0,
    name: str = "mask_rcnn",
) -> keras.Model:
    """Build Mask R-CNN with fresh weights; train it with `edgecv.two_stage.train`.

    The feature map is one (the paper's C4), the heads are those of figure 4, right. Masks are drawn for what is left
    of the boxes after suppression (section 3.1, inference), so that they cost little.

    Parameters
    ----------
    input_shape, classes, backbone, alpha, dense_width, dropout, roi_size, proposals, candidates, anchor_scale
        As of `faster_rcnn`.
    detections : int
        Boxes that are left after suppression, all classes together.
    mask_width, mask_depth : int
        Channels and number of the mask head's convolutions.
    keypoints : int
        Keypoints of every object, of whatever class; 0 for none.
    name : str

    Returns
    -------
    keras.Model
        To ``boxes`` (N, D, 4) xyxy pixels of the input, ``scores`` (N, D), ``classes`` (N, D), ``masks``
        (N, D, 4 roi_size, 4 roi_size) probabilities within the box, and, where there are keypoints, ``keypoints``
        (N, D, 8 roi_size, 8 roi_size, K), the logits of each place of the box.

    Raises
    ------
    InputError
        A shape, class count or option that cannot be built.
    """
    import keras

    from edgecv.layers.proposals import SelectDetections
    from edgecv.layers.roi import RoIAlign
    from edgecv.layers.roi_heads import BoxHead, KeypointHead, MaskHead, MaskOfClass, RegionRows
    from edgecv.two_stage.backbones import build_backbone

    shape = check_image_shape(name, input_shape, SHAPE, 32)
    check_classes(name, classes)
    base = build_backbone(backbone, shape, alpha)
    # On small maps the products are the quicker way; see the layer.
    method = "matrices" if max(base.grid) <= 20 else "gather"
    regions = propose(base, anchor_scale, proposals, candidates)
    pooled = RoIAlign(roi_size, 1 / base.stride, method=method, name="region_features")([base.features, regions])
    found = classify(BoxHead.create(classes, dense_width, dropout), pooled, regions, base.input_size)
    boxes, scores, kinds = SelectDetections(detections, iou_threshold=_OVERLAP, name="select")(found)
    fine = RoIAlign(2 * roi_size, 1 / base.stride, method=method, name="mask_features")([base.features, boxes])
    rows = RegionRows(boxes.shape[1], name="mask_rows")
    masks = rows(MaskHead.create(classes, mask_width, mask_depth)(fine))
    identity = keras.layers.Identity
    outputs = [
        identity(name="boxes")(boxes),
        identity(name="scores")(scores),
        identity(name="classes")(kinds),
        MaskOfClass(name="masks")([masks, kinds]),
    ]
    if keypoints:
        points = KeypointHead.create(keypoints, 2 * mask_width, 2 * mask_depth)(fine)
        outputs.append(RegionRows(boxes.shape[1], name="keypoints")(points))
    return keras.Model(base.image, outputs, name=name)
