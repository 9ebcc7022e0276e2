"""R-CNN on whole pictures: propose, warp, classify, join (Girshick et al. 2014). Imports Keras when it is imported."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import keras
import numpy as np
import numpy.typing as npt

from edgecv.models.rcnn import context_of
from edgecv.two_stage.fit import Batch, Floats, TrainingNetwork, TrainingOptions, fit, normalise
from edgecv.two_stage.region_proposals import propose_regions
from edgecv.two_stage.sampling import Sample, region_targets
from edgecv_runtime.decoders import Decoder
from edgecv_runtime.errors import InputError
from edgecv_runtime.images import Image, as_rgb, cv2
from edgecv_runtime.preprocess import Geometry
from edgecv_runtime.results import Detections

_MEAN = (124, 117, 104)  # what lies outside the picture, near ImageNet's mean


def warp(image: Image, regions: npt.ArrayLike, size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """Regions, each stretched to one size with context around it (appendix A, "warp with context").

    Parameters
    ----------
    image : (H, W, 3) uint8
    regions : (R, 4) xyxy pixels
        With a width and a height.
    size : (height, width)
        Of the answer; the region fills it but for `edgecv.models.rcnn.context_of` on each side.

    Returns
    -------
    (R, height, width, 3) uint8

    Raises
    ------
    InputError
        A region without a width or a height.
    """
    opencv = cv2("warping regions")
    boxes = np.asarray(regions, np.float64).reshape(-1, 4)
    if not (boxes[:, 2:] > boxes[:, :2]).all():
        raise InputError("regions must have a width and a height above 0; received one that has not")
    warped = np.zeros((len(boxes), *size, 3), np.uint8)
    for row, (x, y, across, down) in enumerate(_placements(boxes, size).tolist()):
        # Middles of pixels lie at half coordinates here and at whole ones in OpenCV.
        matrix = np.array([[across, 0, x + 0.5 * across - 0.5], [0, down, y + 0.5 * down - 0.5]])
        flags = opencv.INTER_LINEAR | opencv.WARP_INVERSE_MAP
        warped[row] = opencv.warpAffine(
            image, matrix, size[::-1], flags=flags, borderMode=opencv.BORDER_CONSTANT, borderValue=_MEAN
        )
    return warped


def _placements(boxes: npt.NDArray[np.floating], size: tuple[int, int]) -> npt.NDArray[np.float64]:
    """(R, 4): where a warped picture begins (x, y) in the source, and source pixels a pixel of it (across, down)."""
    context = np.array(context_of(size)[::-1], np.float64)
    unit = (boxes[:, 2:] - boxes[:, :2]) / (np.array(size[::-1]) - 2 * context)
    return np.concatenate([boxes[:, :2] - context * unit, unit], axis=1)


def detect_objects(
    model: keras.Model, image: npt.ArrayLike, decoder: Decoder, regions: npt.ArrayLike | None = None, batch: int = 128
) -> Detections:
    """Find the objects of a picture.

    Parameters
    ----------
    model : keras.Model
        As `edgecv.models.rcnn` builds it.
    image : (H, W, 3) uint8 RGB
    decoder : Decoder
        The runtime's ``rcnn``, with its thresholds and labels.
    regions : (R, 4) xyxy pixels, optional
        Default: `propose_regions`.
    batch : int
        Regions that are classified at once.
    """
    picture = as_rgb(image)
    boxes = np.asarray(propose_regions(picture) if regions is None else regions, np.float32).reshape(-1, 4)
    boxes = boxes[((boxes[:, 2:] - boxes[:, :2]) > 0).all(axis=1)]
    if not len(boxes):
        return Detections.none(decoder.labels)
    size = (int(model.input_shape[1]), int(model.input_shape[2]))
    places = _placements(boxes, size)
    inside: list[Floats] = []
    scores: list[Floats] = []
    for start in range(0, len(boxes), batch):
        crops = normalise(warp(picture, boxes[start : start + batch], size))
        for kept, output in zip((inside, scores), model(crops, training=False), strict=True):
            kept.append(np.asarray(output)[:, 0])
    corners = np.concatenate(inside).reshape(len(boxes), -1, 2, 2)
    found = corners * places[:, None, None, 2:] + places[:, None, None, :2]
    outputs = [found.reshape(len(boxes), -1).astype(np.float32), np.concatenate(scores)]
    return decoder.decode(outputs, Geometry(picture.shape[:2], (1.0, 1.0), (0.0, 0.0)))


def train_rcnn(
    model: keras.Model,
    samples: Sequence[Sample],
    options: TrainingOptions | None = None,
    proposals: Sequence[npt.ArrayLike] | None = None,
    on_epoch: Callable[[int, float], None] | None = None,
) -> list[float]:
    """Train the network of R-CNN on warped regions, one object to three of background (section 2.3).

    Parameters
    ----------
    model : keras.Model
        As `edgecv.models.rcnn` builds it.
    samples : sequence of Sample
        Pictures of any size.
    options : TrainingOptions, optional
        ``regions`` of every picture of a batch are warped and learned.
    proposals : sequence of (P, 4) arrays, optional
        Regions of each picture, xyxy pixels. Default: `propose_regions`.
    on_epoch : callable, optional
        ``on_epoch(epoch, mean loss)``.

    Returns
    -------
    list of float
        Mean loss of each epoch.

    Raises
    ------
    InputError
        No picture, or not as many proposals as pictures.
    """
    options = options or TrainingOptions(regions=32)
    if not samples or (proposals is not None and len(proposals) != len(samples)):
        raise InputError(
            "training needs pictures, and proposals for each where they are given; "
            f"received {len(samples)} pictures and {'no' if proposals is None else len(proposals)} proposals"
        )
    keras.utils.set_random_seed(options.seed)
    known = list(proposals) if proposals is not None else [propose_regions(sample.image) for sample in samples]
    outputs = {name: model.get_layer(layer).output for name, layer in (("logits", "roi_class"), ("offsets", "roi_box"))}
    network = TrainingNetwork(model.input, outputs, name=f"{model.name}_training")

    def batch(rows: npt.NDArray[np.int64], generator: np.random.Generator) -> tuple[Floats, Batch]:
        return _batch(model, [(samples[row], known[row]) for row in rows], options, generator)

    return fit(network, options, len(samples), batch, on_epoch)


def _batch(
    model: keras.Model,
    pairs: Sequence[tuple[Sample, npt.ArrayLike]],
    options: TrainingOptions,
    generator: np.random.Generator,
) -> tuple[Floats, Batch]:
    """Warped regions (B · R, h, w, 3) with labels (B · R, 1) and offsets (B · R, 1, 4)."""
    size = (int(model.input_shape[1]), int(model.input_shape[2]))
    crops, labels, offsets = [], [], []
    for sample, proposals in pairs:
        found = region_targets(
            proposals, sample.boxes, sample.classes, generator, count=options.regions, share=options.share
        )
        # Rows that stand for nothing are warped from the whole picture, and count nothing.
        height, width = sample.image.shape[:2]
        empty = found.labels[:, None] < 0
        crops.append(warp(sample.image, np.where(empty, [0, 0, width, height], found.regions), size))
        labels.append(found.labels)
        offsets.append(found.offsets)
    truth: Batch = {
        "labels": np.concatenate(labels)[:, None],
        "offsets": np.concatenate(offsets)[:, None],
    }
    return normalise(np.concatenate(crops)), truth
