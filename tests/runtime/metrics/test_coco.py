"""Our average precision beside the reference implementation's, and figures worked out by hand."""

from __future__ import annotations

import contextlib
import io
from typing import Any

import numpy as np
import pytest

from edgecv_runtime.errors import InputError
from edgecv_runtime.metrics.coco import Found, Truth, average_precision
from edgecv_runtime.metrics.overlaps import box_overlaps
from edgecv_runtime.metrics.voc import voc_average_precision

FIGURES = (
    "map", "map50", "map75", "map_small", "map_medium", "map_large",
    "ar1", "ar10", "ar100", "ar_small", "ar_medium", "ar_large",
)  # fmt: skip


def random_set(seed: int, pictures: int = 12, classes: int = 4, crowds: bool = True) -> tuple[list[Truth], list[Found]]:
    """Objects of all sizes, answers near them, wrong ones, twice the same, ties in score, empty pictures."""
    generator = np.random.default_rng(seed)
    truths, answers = [], []
    for _ in range(pictures):
        count = int(generator.integers(0, 9))
        corner, side = generator.uniform(0, 400, (count, 2)), np.exp(generator.uniform(1.5, 5.5, (count, 2)))
        boxes = np.concatenate([corner, corner + side], axis=1)
        kinds = generator.integers(0, classes, count)
        areas = side.prod(axis=1) * generator.uniform(0.4, 1, count)
        crowd = generator.random(count) < (0.15 if crowds else 0)
        truths.append(Truth(boxes, kinds, areas, crowd))
        near = generator.integers(0, max(count, 1), 20 if count else 0)
        guess = boxes[near] + generator.normal(0, 0.12, (len(near), 4)) * np.tile(side[near], 2)
        guess = np.concatenate([np.minimum(guess[:, :2], guess[:, 2:]), np.maximum(guess[:, :2], guess[:, 2:])], axis=1)
        stray = generator.uniform(0, 400, (6, 2))
        guess = np.concatenate([guess, np.concatenate([stray, stray + generator.uniform(5, 100, (6, 2))], axis=1)])
        named = np.concatenate([kinds[near], generator.integers(0, classes, 6)])
        scores = np.round(generator.random(len(guess)), 2)
        answers.append(Found(guess, scores, named.astype(np.int64)))
    return truths, answers


def reference(truths: list[Truth], answers: list[Found]) -> tuple[list[float], Any]:
    """pycocotools' twelve figures."""
    library = pytest.importorskip("pycocotools.coco")
    evaluation = pytest.importorskip("pycocotools.cocoeval")

    def sides(boxes: np.ndarray) -> list[list[float]]:
        return np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1).tolist()

    kinds = sorted({int(k) for truth in truths for k in truth.classes})
    annotations, results = [], []
    for picture, (truth, answer) in enumerate(zip(truths, answers, strict=True)):
        for box, kind, area, crowd in zip(sides(truth.boxes), truth.classes, truth.areas, truth.crowd, strict=True):
            annotations.append({
                "id": len(annotations) + 1, "image_id": picture, "category_id": int(kind), "bbox": box,
                "area": float(area), "iscrowd": int(crowd),
            })  # fmt: skip
        for box, kind, score in zip(sides(answer.boxes), answer.classes, answer.scores, strict=True):
            results.append({"image_id": picture, "category_id": int(kind), "bbox": box, "score": float(score)})
    with contextlib.redirect_stdout(io.StringIO()):
        coco = library.COCO()
        coco.dataset = {
            "info": {},
            "images": [{"id": picture} for picture in range(len(truths))],
            "annotations": annotations,
            "categories": [{"id": kind} for kind in kinds],
        }
        coco.createIndex()
        run = evaluation.COCOeval(coco, coco.loadRes(results), "bbox")
        run.evaluate()
        run.accumulate()
        run.summarize()
    return run.stats.tolist(), run


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("seed", range(12))
def test_equal_to_pycocotools(seed: int) -> None:
    truths, answers = random_set(seed, crowds=seed % 3 > 0)
    figures, run = reference(truths, answers)
    ours = average_precision(truths, answers)
    for name, theirs in zip(FIGURES, figures, strict=True):
        value = getattr(ours, name)
        assert (np.isnan(value) and theirs == -1) or value == pytest.approx(theirs, abs=1e-9), name
    assert 0.1 < ours.map50 < 0.95
    precision = run.eval["precision"]  # (overlaps, recalls, classes, areas, most)
    for place, (_, whole, half) in enumerate(ours.by_class):
        there = precision[:, :, place, 0, 2]
        assert whole == pytest.approx(there[there > -1].mean(), abs=1e-9)
        assert half == pytest.approx(there[0].mean(), abs=1e-9)


def one(boxes: Any, classes: Any, scores: Any) -> Found:
    return Found(np.array(boxes, np.float64).reshape(-1, 4), np.array(scores, np.float64), np.array(classes, np.int64))


def test_by_hand() -> None:
    """Two objects; right, wrong, right: precision 1 up to recall 1/2, then 2/3."""
    truth = [Truth.of([[0, 0, 50, 50], [100, 100, 150, 150]], [1, 1])]
    answer = [one([[0, 0, 50, 50], [200, 200, 250, 250], [100, 100, 150, 150]], [1, 1, 1], [0.9, 0.8, 0.7])]
    found = average_precision(truth, answer)
    expected = (51 * 1 + 50 * 2 / 3) / 101
    assert found.map == pytest.approx(expected) and found.map50 == pytest.approx(expected)
    assert found.ar1 == pytest.approx(0.5) and found.ar100 == 1
    assert np.isnan(found.map_small) and found.map_medium == pytest.approx(expected)
    assert (found.n, found.objects, found.by_class[0][0]) == (1, 2, 1)


def test_overlap_decides_which_thresholds_count() -> None:
    """An overlap of 0.62 counts at 0.50, 0.55 and 0.60."""
    found = average_precision([Truth.of([[0, 0, 100, 100]], [0])], [one([[0, 0, 62, 100]], [0], [0.5])])
    assert (found.map50, found.map75) == (pytest.approx(1), 0)
    assert found.map == pytest.approx(0.3)


def test_nothing_found_and_nothing_to_find() -> None:
    empty = one(np.zeros((0, 4)), [], [])
    found = average_precision([Truth.of([[0, 0, 9, 9]], [0])], [empty])
    assert (found.map, found.ar100) == (0, 0)
    with pytest.raises(InputError, match="at least one labelled object"):
        average_precision([Truth.of(np.zeros((0, 4)), [])], [empty])
    with pytest.raises(InputError, match="one answer a picture; received 1 and 0"):
        average_precision([Truth.of([[0, 0, 9, 9]], [0])], [])
    with pytest.raises(InputError, match="must share their length"):
        Truth(np.zeros((2, 4)), np.zeros(1, np.int64), np.zeros(1), np.zeros(1, bool))


def test_json_is_plain() -> None:
    document = average_precision(*random_set(1)).to_dict()
    assert set(FIGURES) < set(document) and document["n"] == 12
    assert document["by_class"][0].keys() == {"class", "map", "map50"}


def test_overlap_with_a_crowd() -> None:
    overlaps = box_overlaps(
        np.array([[0, 0, 10, 10.0]]), np.array([[0, 0, 5, 10], [5, 0, 25, 10.0]]), np.array([False, True])
    )
    np.testing.assert_allclose(overlaps, [[0.5, 0.5]])


# -- Pascal VOC ----------------------------------------------------------------------------------------------------


def test_voc_by_hand() -> None:
    truth = [Truth.of([[0, 0, 50, 50], [100, 100, 150, 150]], [1, 1])]
    answer = [one([[0, 0, 50, 50], [200, 200, 250, 250], [100, 100, 150, 150]], [1, 1, 1], [0.9, 0.8, 0.7])]
    mean, by_class = voc_average_precision(truth, answer)
    assert mean == pytest.approx(0.5 + 0.5 * 2 / 3) and by_class == {1: pytest.approx(5 / 6)}
    mean, _ = voc_average_precision(truth, answer, eleven_points=True)
    assert mean == pytest.approx((6 + 5 * 2 / 3) / 11)


def test_voc_twice_the_same_object_and_difficult_ones() -> None:
    boxes = np.array([[0, 0, 10, 10], [50, 50, 60, 60.0]])
    truth = [Truth(boxes, np.array([0, 0]), np.full(2, 100.0), np.array([False, True]))]
    answer = [one([[50, 50, 60, 60], [0, 0, 10, 10], [0, 0, 10, 11]], [0, 0, 0], [0.9, 0.8, 0.7])]
    assert voc_average_precision(truth, answer)[0] == 1.0  # the difficult one is left out, the second comes after
    answer = [one([[0, 0, 10, 11], [0, 0, 10, 10]], [0, 0], [0.8, 0.9])]
    assert voc_average_precision([Truth.of(boxes[:1], [0])] * 2, [answer[0], one([], [], [])])[0] == pytest.approx(0.5)
