"""Average precision of masks and of keypoints beside the reference implementation's, and by hand."""

from __future__ import annotations

import contextlib
import io
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from edgecv_runtime.errors import InputError
from edgecv_runtime.metrics.coco import Found, Truth, average_precision
from edgecv_runtime.metrics.keypoints import keypoint_precision
from edgecv_runtime.metrics.overlaps import COCO_DEVIATIONS, keypoint_similarity, mask_overlaps

BOX_FIGURES = (
    "map", "map50", "map75", "map_small", "map_medium", "map_large",
    "ar1", "ar10", "ar100", "ar_small", "ar_medium", "ar_large",
)  # fmt: skip
POINT_FIGURES = (
    "map", "map50", "map75", "map_medium", "map_large", "ar", "ar50", "ar75", "ar_medium", "ar_large",
)  # fmt: skip
SIDE = 160

Set = tuple[list[Truth], list[Found]]


def reference(kind: str, truths: list[Truth], answers: list[Found]) -> list[float]:
    """pycocotools' figures for ``"segm"`` or ``"keypoints"``."""
    library = pytest.importorskip("pycocotools.coco")
    evaluation = pytest.importorskip("pycocotools.cocoeval")
    from pycocotools import mask as rle

    def described(item: Any, row: int) -> dict[str, Any]:
        if kind == "segm":
            return {"segmentation": rle.encode(np.asfortranarray(item.masks[row].astype(np.uint8)))}
        return {"keypoints": item.keypoints[row].astype(float).ravel().tolist()}

    annotations: list[dict[str, Any]] = []
    results: list[dict[str, Any]] = []
    for picture, (truth, answer) in enumerate(zip(truths, answers, strict=True)):
        for row, (x1, y1, x2, y2) in enumerate(truth.boxes.tolist()):
            annotations.append({
                "id": len(annotations) + 1, "image_id": picture, "category_id": int(truth.classes[row]),
                "bbox": [x1, y1, x2 - x1, y2 - y1], "area": float(truth.areas[row]),
                "iscrowd": int(truth.crowd[row]), **described(truth, row),
            })  # fmt: skip
            if kind == "keypoints":
                annotations[-1]["num_keypoints"] = int((truth.keypoints[row, :, 2] > 0).sum())  # type: ignore[index]
        for row, score in enumerate(answer.scores.tolist()):
            found = {"image_id": picture, "category_id": int(answer.classes[row]), "score": score}
            results.append(found | described(answer, row))
    with contextlib.redirect_stdout(io.StringIO()):
        coco = library.COCO()
        coco.dataset = {
            "info": {},
            "images": [{"id": picture, "height": SIDE, "width": SIDE} for picture in range(len(truths))],
            "annotations": annotations,
            "categories": [{"id": index} for index in sorted({a["category_id"] for a in annotations})],
        }
        coco.createIndex()
        run = evaluation.COCOeval(coco, coco.loadRes(results), kind)
        run.evaluate()
        run.accumulate()
        run.summarize()
    return run.stats.tolist()


def ellipses(generator: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    """(count, SIDE, SIDE) masks and (count, 4) centres and half axes."""
    y, x = np.mgrid[0:SIDE, 0:SIDE]
    places = np.column_stack([generator.uniform(20, 140, (count, 2)), np.exp(generator.uniform(1.2, 4.2, (count, 2)))])
    return drawn(places, x, y), places


def drawn(places: np.ndarray, x: Any = None, y: Any = None) -> np.ndarray:
    if x is None:
        y, x = np.mgrid[0:SIDE, 0:SIDE]
    masks = [((x - cx) / a) ** 2 + ((y - cy) / b) ** 2 < 1 for cx, cy, a, b in places]
    return np.array(masks, bool).reshape(len(places), SIDE, SIDE)


def random_masks(seed: int) -> Set:
    """Ellipses, answers near them, strays, ties in score, crowds, and pictures with nothing."""
    generator = np.random.default_rng(seed)
    truths, answers = [], []
    for _ in range(8):
        count = int(generator.integers(0, 6))
        masks, places = ellipses(generator, count)
        crowd = generator.random(count) < 0.15
        boxes = np.concatenate([places[:, :2] - places[:, 2:], places[:, :2] + places[:, 2:]], axis=1)
        areas = masks.sum(axis=(1, 2)) * generator.uniform(0.8, 1, count)
        kinds = generator.integers(0, 3, count)
        truths.append(Truth(boxes, kinds, areas, crowd, masks))
        near = generator.integers(0, max(count, 1), 10 if count else 0)
        guess = places[near] * np.exp(generator.normal(0, 0.07, (len(near), 4)))
        found = np.concatenate([drawn(guess), ellipses(generator, 3)[0]])
        named = np.concatenate([kinds[near], generator.integers(0, 3, 3)])
        scores = np.round(generator.random(len(found)), 1)
        answers.append(Found(np.zeros((len(found), 4)), scores, named, found))
    return truths, answers


def random_points(seed: int) -> Set:
    """People of 17 keypoints, some hidden, some with none labelled; answers near them, and strays."""
    generator = np.random.default_rng(seed)
    truths, answers = [], []
    for _ in range(10):
        count = int(generator.integers(0, 5))
        corner, side = generator.uniform(0, 300, (count, 2)), np.exp(generator.uniform(3, 5.5, (count, 2)))
        points = corner[:, None] + generator.random((count, 17, 2)) * side[:, None]
        flags = generator.integers(0, 3, (count, 17, 1)) * (generator.random((count, 1, 1)) < 0.8)
        boxes = np.concatenate([corner, corner + side], axis=1)
        areas = side.prod(axis=1) * generator.uniform(0.4, 0.8, count)
        crowd = generator.random(count) < 0.1
        truths.append(
            Truth(boxes, np.zeros(count, np.int64), areas, crowd, None, np.concatenate([points, flags], axis=2))
        )
        near = generator.integers(0, max(count, 1), 8 if count else 0)
        guess = points[near] + generator.normal(0, 0.05, (len(near), 17, 2)) * side[near][:, None]
        guess = np.concatenate([guess, generator.uniform(0, 400, (3, 17, 2))])
        found = np.concatenate([guess, np.ones((len(guess), 17, 1))], axis=2)
        scores = np.round(generator.random(len(found)), 1)
        answers.append(Found(np.zeros((len(found), 4)), scores, np.zeros(len(found), np.int64), None, found))
    return truths, answers


def agree(ours: Any, names: tuple[str, ...], theirs: list[float]) -> None:
    for name, figure in zip(names, theirs, strict=True):
        value = getattr(ours, name)
        assert (math.isnan(value) and figure == -1) or value == pytest.approx(figure, abs=1e-6), name


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("seed", range(4))
def test_masks_equal_pycocotools(seed: int) -> None:
    truths, answers = random_masks(seed)
    ours = average_precision(truths, answers, by="masks")
    agree(ours, BOX_FIGURES, reference("segm", truths, answers))
    assert 0.1 < ours.map50 < 0.95


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("seed", range(6))
def test_keypoints_equal_pycocotools(seed: int) -> None:
    truths, answers = random_points(seed)
    ours = keypoint_precision(truths, answers)
    agree(ours, POINT_FIGURES, reference("keypoints", truths, answers))
    assert 0.05 < ours.map50 < 0.99


def test_masks_by_hand() -> None:
    whole, half = np.zeros((1, 8, 8), bool), np.zeros((1, 8, 8), bool)
    whole[:, :, :4], half[:, :4, :4] = True, True
    assert mask_overlaps(half, whole, np.array([False])).tolist() == [[0.5]]
    assert mask_overlaps(half, whole, np.array([True])).tolist() == [[1.0]]  # a crowd: over the detection's own pixels
    truth = replace(Truth.of([[0, 0, 4, 8]], [2]), masks=whole)
    answer = Found(np.zeros((1, 4)), np.ones(1), np.array([2]), half)
    found = average_precision([truth], [answer], by="masks")
    assert found.map50 == pytest.approx(1) and found.map == pytest.approx(0.1)  # 0.5 counts at 0.50 only


def test_similarity_by_hand() -> None:
    """d² / (2 s² k²) with s² = 50 and k = 2 · 0.1: 2 / (2 · 50 · 0.04) = 1/2."""
    truth = np.array([[[10.0, 10, 2], [20, 20, 0]]])
    found = np.array([[[11.0, 11, 1], [0, 0, 1]]])
    table = keypoint_similarity(found, truth, np.array([[0.0, 0, 30, 30]]), np.array([50.0]), (0.1, 0.1))
    assert table[0, 0] == pytest.approx(math.exp(-0.5))
    nothing = truth * [1, 1, 0]
    near = keypoint_similarity(found, nothing, np.array([[0.0, 0, 30, 30]]), np.array([50.0]), (0.1, 0.1))
    assert near[0, 0] == 1  # within three times the box


def test_refused() -> None:
    truth = Truth.of([[0, 0, 4, 8]], [0])
    answer = Found(np.zeros((1, 4)), np.ones(1), np.array([0]))
    with pytest.raises(InputError, match="a mask of every object and of every detection is required"):
        average_precision([truth], [answer], by="masks")
    with pytest.raises(InputError, match="compared by boxes or masks; received 'points'"):
        average_precision([truth], [answer], by="points")
    masks = np.ones((1, 4, 4), bool)
    with pytest.raises(InputError, match=r"the picture's size \(4, 4\); received \(5, 5\)"):
        average_precision([replace(truth, masks=masks)], [replace(answer, masks=np.ones((1, 5, 5), bool))], by="masks")
    with pytest.raises(InputError, match="keypoints of every object and of every detection"):
        keypoint_precision([truth], [answer])
    with pytest.raises(InputError, match="there must be 17 keypoints, one a deviation; received 3"):
        keypoint_precision([replace(truth, keypoints=np.zeros((1, 3, 3)))], [answer], COCO_DEVIATIONS)
    with pytest.raises(InputError, match=r"masks must be \(1, H, W\)"):
        replace(truth, masks=np.ones((2, 4, 4), bool))
    with pytest.raises(InputError, match=r"keypoints must be \(1, K, 3\)"):
        replace(truth, keypoints=np.ones((1, 4, 2)))
