"""Evaluate a detector or a segmenter on labelled pictures, with the decoder it has on the device."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgecv_runtime.annotations import AnnotatedImages, read_annotated_images
from edgecv_runtime.errors import InputError, UnsupportedError
from edgecv_runtime.evaluate import readable
from edgecv_runtime.files import existing_folder
from edgecv_runtime.images import cv2, list_images
from edgecv_runtime.metrics.coco import AveragePrecision, DetectionAccuracy, Found
from edgecv_runtime.metrics.keypoints import keypoint_precision
from edgecv_runtime.metrics.miou import Confusion, SegmentationAccuracy
from edgecv_runtime.metrics.overlaps import COCO_DEVIATIONS
from edgecv_runtime.model import Model
from edgecv_runtime.results import Detections

# Average precision counts every detection, however unsure; a threshold for use would cut the curve short.
SCORE_THRESHOLD = 0.001

_MASK_FOLDERS = ("masks", "semantic_masks", "SegmentationClass", "labels")


def evaluate_detection(
    model: Model, data: str | Path | AnnotatedImages, *, score_threshold: float = SCORE_THRESHOLD
) -> DetectionAccuracy:
    """COCO's average precision and recall of a detector; of its masks and keypoints, too, where the data know them.

    Class indices of the model are led to those of the data by name where both have names, else by number.

    Parameters
    ----------
    model : Model
        Its decoder's score threshold is set for the evaluation, and set back after it.
    data : folder, file or AnnotatedImages
        See `read_annotated_images`.
    score_threshold : float

    Raises
    ------
    InputError, MissingFileError
        As in reading, or not one picture could be read, or not one class name agrees.
    UnsupportedError
        The model is no detector.
    """
    if model.task != "detection":
        raise UnsupportedError(f"average precision is of detectors; this is a {model.task} model")
    labelled = data if isinstance(data, AnnotatedImages) else read_annotated_images(data)
    classes = class_map(model.manifest.labels, labelled.names)
    boxes, masks = AveragePrecision(), AveragePrecision("masks")
    masked, pointed, truths, answers = True, True, [], []
    with model.configured(score_threshold=score_threshold):
        for item, image in readable([(item.path, item) for item in labelled.images], "evaluating"):
            result = model(image)
            masked = masked and result.masks is not None and item.outlines is not None
            truth, found = item.in_pixels(*image.shape[:2], masks=masked), translated(result, classes)
            boxes.add(truth, found)
            if masked:
                masks.add(truth, found)
            pointed = pointed and truth.keypoints is not None and found.keypoints is not None
            truths.append(replace(truth, masks=None))
            answers.append(replace(found, masks=None))
    skipped = len(labelled.images) - len(truths)
    points = keypoint_precision(truths, answers, skipped=skipped) if pointed and _are_coco_s(answers) else None
    return replace(boxes.accuracy(skipped), masks=masks.accuracy(skipped) if masked else None, keypoints=points)


def _are_coco_s(answers: Sequence[Found]) -> bool:
    """Whether keypoints are COCO's 17: how exactly a keypoint can be set is known of those alone."""
    return all(answer.keypoints is not None and answer.keypoints.shape[1] == len(COCO_DEVIATIONS) for answer in answers)


def class_map(labels: Sequence[str] | None, names: Mapping[int, str] | None) -> Mapping[int, int] | None:
    """From the model's class index to the data's; None where they are the same.

    Raises
    ------
    InputError
        Both have names, and none agrees.
    """
    if labels is None or names is None:
        return None
    there = {name.strip().lower(): index for index, name in names.items()}
    known = {place: there[name.strip().lower()] for place, name in enumerate(labels) if name.strip().lower() in there}
    if not known:
        raise InputError(
            f"not one of the model's labels ({', '.join(labels[:3])}, …) is a class of the data "
            f"({', '.join(list(names.values())[:3])}, …)"
        )
    return known


def translated(result: Detections, classes: Mapping[int, int] | None) -> Found:
    """Detections with the data's class indices, by a `class_map`."""
    indices = result.classes
    if classes is not None:
        indices = np.array([classes.get(index, -1) for index in indices.tolist()], np.int64)
    points = None if result.keypoints is None else result.keypoints.astype(np.float64)
    return Found(result.boxes.astype(np.float64), result.scores.astype(np.float64), indices, result.masks, points)


def evaluate_segmentation(model: Model, data: str | Path) -> SegmentationAccuracy:
    """Mean IoU of a segmenter.

    Parameters
    ----------
    model : Model
    data : folder
        ``images``, and of the same names PNG or BMP masks of class indices in ``masks`` (or ``semantic_masks``,
        ``SegmentationClass``, ``labels``); 255 counts neither way. Pictures without a mask are left out.

    Raises
    ------
    InputError, MissingFileError
        It is laid out otherwise, or not one picture could be read.
    UnsupportedError
        The model is no segmenter.
    """
    if model.task != "segmentation":
        raise UnsupportedError(f"mean IoU is of segmenters; this is a {model.task} model")
    pairs = read_mask_pairs(data)
    confusion = Confusion()
    done = 0
    for mask_path, image in readable(pairs, "evaluating"):
        confusion.add(read_mask(mask_path), model(image).mask)
        done += 1
    return confusion.accuracy(len(pairs) - done)


def read_mask_pairs(folder: str | Path) -> list[tuple[Path, Path]]:
    """(picture, mask) files of a folder with ``images`` and masks."""
    folder = existing_folder(folder)
    masks = next((folder / name for name in _MASK_FOLDERS if (folder / name).is_dir()), None)
    if masks is None or not (folder / "images").is_dir():
        raise InputError(f"{folder} holds no labelled pictures: DIR/images and DIR/masks are required")
    pairs = []
    for path in list_images(folder / "images"):
        stem = masks / path.relative_to(folder / "images")
        mask = next((stem.with_suffix(s) for s in (".png", ".bmp", ".tif") if stem.with_suffix(s).is_file()), None)
        if mask is not None:
            pairs.append((path, mask))
    if not pairs:
        raise InputError(f"{masks} holds no mask (.png, .bmp, .tif) of a picture in {folder / 'images'}")
    return pairs


def read_mask(path: Path) -> npt.NDArray[np.uint8]:
    """(H, W) class indices as they stand in the file.

    Raises
    ------
    InputError
        It is not a grey 8-bit picture.
    """
    opencv = cv2("reading a mask")
    encoded = np.fromfile(path, np.uint8)
    mask = opencv.imdecode(encoded, opencv.IMREAD_UNCHANGED) if encoded.size else None
    if mask is None or mask.ndim != 2 or mask.dtype != np.uint8:
        found = "nothing that can be decoded" if mask is None else f"{mask.dtype} {list(mask.shape)}"
        raise InputError(f"{path} must be a mask of 8-bit class indices, one channel; received {found}")
    indices: npt.NDArray[np.uint8] = mask
    return indices
