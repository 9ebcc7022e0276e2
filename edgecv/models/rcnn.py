"""R-CNN: the classifier of warped regions (Girshick et al. 2014, arXiv:1311.2524).

The network sees one region at a time, warped to its input with some of what lies around it.
`edgecv.two_stage.rcnn` proposes the regions of a picture, warps them, and joins the answers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from edgecv.layers.shapes import check_classes, check_image_shape
from edgecv.models.registry import ModelRecord, Option, Paper, register
from edgecv.two_stage.options import ALPHA, CLASSES, DENSE_WIDTH, DROPOUT, NO_WEIGHTS, PIXELS

if TYPE_CHECKING:
    import keras

_SHAPE = (227, 227, 3)
_CONTEXT = 16 / 227  # of the input's side, around the region (appendix A)


def context_of(shape: tuple[int, ...]) -> tuple[int, int]:
    """Pixels of context above and below, and left and right, of the region in an input of (height, width, ...)."""
    return round(shape[0] * _CONTEXT), round(shape[1] * _CONTEXT)


def _decoder(shape: tuple[int, ...], classes: int, options: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    return "rcnn", {"outputs": {"boxes": "boxes", "scores": "scores"}}


@register(
    ModelRecord(
        name="rcnn",
        task="detection",
        summary="class and box of one warped region",
        paper=Paper(
            "Girshick, Donahue, Darrell, Malik",
            2014,
            "Rich Feature Hierarchies for Accurate Object Detection and Semantic Segmentation",
            "1311.2524",
        ),
        input_shape=_SHAPE,
        classes=CLASSES,
        parameters=58_695_141,
        macs=1_131_573_792,
        preprocessing=PIXELS,
        options=(
            Option("backbone", str, "alexnet", help="alexnet, vgg16, resnet50, mobilenet_v2 or plain (small)"),
            ALPHA,
            DENSE_WIDTH,
            DROPOUT,
        ),
        weights_note=NO_WEIGHTS,
        minimum_size=32,
        decoder=_decoder,
    )
)
def rcnn(
    input_shape: tuple[int, int, int] | None = None,
    classes: int = CLASSES,
    *,
    backbone: str = "alexnet",
    alpha: float = 1.0,
    dense_width: int = 4096,
    dropout: float = 0.5,
    name: str = "rcnn",
) -> keras.Model:
    """Build the network of R-CNN with fresh weights; train it with `edgecv.two_stage.rcnn.train_rcnn`.

    Where the paper puts support vector machines and a separate regression on the features, this has the softmax and the
    offsets of Fast R-CNN, learned in one step: what its author measured to be as good (Girshick 2015, section 5.4).

    Parameters
    ----------
    input_shape : (height, width, channels), optional
        Of a warped region with its context, default (227, 227, 3). Pixels as ``x / 127.5 - 1``.
    classes : int
        Without the background.
    backbone : {"alexnet", "vgg16", "resnet50", "mobilenet_v2", "plain"}
    alpha : float
        Width multiplier of ``mobilenet_v2`` and ``plain``.
    dense_width, dropout : int, float
        Units of the two dense layers, and the share of them that is dropped in training.
    name : str

    Returns
    -------
    keras.Model
        To ``boxes`` (N, 1, 4 · classes), xyxy in pixels of the input, and ``scores`` (N, 1, 1 + classes),
        probabilities with the background first.

    Raises
    ------
    InputError
        A shape, class count or option that cannot be built.
    """
    import keras

    from edgecv.layers.proposals import DecodeRegions
    from edgecv.layers.roi_heads import BoxHead, FixedRegions, RegionRows, RegionScores

    shape = check_image_shape(name, input_shape, _SHAPE, 32)
    check_classes(name, classes)
    image, features = _features(name, backbone, shape, alpha)
    down, across = context_of(shape)
    region = [[across, down, shape[1] - across, shape[0] - down]]
    regions = FixedRegions(region, name="region")(features)
    logits, offsets = BoxHead.create(classes, dense_width, dropout)(
        RegionRows(1, flat=True, name="region_vectors")(features)
    )
    outputs = [
        DecodeRegions(shape[:2], name="boxes")([regions, offsets]),
        RegionScores(name="scores")([logits, regions]),
    ]
    return keras.Model(image, outputs, name=name)


def _features(name: str, backbone: str, shape: tuple[int, int, int], alpha: float) -> tuple[Any, Any]:
    import keras

    from edgecv.layers.shapes import check_image_shape
    from edgecv.models.alexnet import body
    from edgecv.two_stage.backbones import build_backbone, caffe_pixels

    if backbone != "alexnet":
        base = build_backbone(backbone, shape, alpha)
        return base.image, base.features
    check_image_shape(name, shape, _SHAPE, 67)  # below it nothing is left of the map
    image = keras.layers.Input(shape, name="image")
    return image, body(caffe_pixels(image))
