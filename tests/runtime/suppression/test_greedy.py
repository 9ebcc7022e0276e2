"""Hard and DIoU suppression keep exactly what the definition keeps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from edgecv_runtime.suppression import greedy as module
from edgecv_runtime.suppression import nms
from edgecv_runtime.suppression.overlap import diou, iou


def test_thousands_of_small_cases(plain: Any) -> None:
    kept = count = 0
    for boxes, scores, classes, threshold in plain.cases(3000, 24):
        assert nms(boxes, scores, threshold).tolist() == plain.greedy(boxes, scores, threshold)
        found = nms(boxes, scores, threshold, classes=classes).tolist()
        assert found == plain.greedy(boxes, scores, threshold, classes)
        kept, count = kept + len(found), count + len(boxes)
    assert 0.2 < kept / count < 0.98  # the cases do decide something


def test_diou_on_small_cases(plain: Any) -> None:
    for boxes, scores, classes, threshold in plain.cases(800, 20, seed=1):
        wanted = plain.greedy(boxes, scores, threshold, measure=plain.distance_overlap)
        assert nms(boxes, scores, threshold, method="diou").tolist() == wanted
        wanted = plain.greedy(boxes, scores, threshold, classes, measure=plain.distance_overlap)
        assert nms(boxes, scores, threshold, classes=classes, method="diou").tolist() == wanted


def by_rows(
    boxes: np.ndarray, scores: np.ndarray, threshold: float, classes: np.ndarray | None = None, measure: Any = iou
) -> list[int]:
    """The definition again, a row of overlaps at a time: for cases too large for plain Python."""
    rows = boxes.astype(np.float64)
    order = np.argsort(-scores, kind="stable")
    gone = np.zeros(len(rows), bool)
    kept = []
    for index in order.tolist():
        if not gone[index]:
            kept.append(index)
            over = measure(rows[index], rows) > threshold
            gone |= over if classes is None else over & (classes == classes[index])
    return kept


def clustered(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    objects = max(1, count // 20)
    centres, sides = generator.uniform(0, 640, (objects, 2)), generator.uniform(10, 200, (objects, 2))
    of = generator.integers(0, objects, count)
    centre = centres[of] + generator.normal(0, 0.1, (count, 2)) * sides[of]
    side = sides[of] * np.exp(generator.normal(0, 0.15, (count, 2)))
    boxes = np.concatenate([centre - side / 2, centre + side / 2], axis=1).astype(np.float32)
    return boxes, generator.random(count).astype(np.float32), generator.integers(0, 80, count)


def regular(count: int) -> np.ndarray:
    index = np.arange(count)
    x, y = index % 60 * 4.0, index // 60 * 4.0
    return np.stack([x, y, x + 3, y + 3], axis=1).astype(np.float32)


def crossing(count: int) -> np.ndarray:
    """Thin bars across one another: all keep, whichever axis is swept."""
    index, zero, long = np.arange(count), np.zeros(count), np.full(count, 20_000.0)
    across = np.stack([zero, index * 4.0, long, index * 4.0 + 3], axis=1)
    down = np.stack([index * 4.0, zero, index * 4.0 + 3, long], axis=1)
    return np.where((index % 2 == 0)[:, None], across, down).astype(np.float32)


def stairs(count: int) -> np.ndarray:
    """Each overlaps its neighbours only: what is kept hangs on the whole chain."""
    index = np.arange(count)
    return np.stack([index, 0 * index, index + 3, 0 * index + 2], axis=1).astype(np.float32)


def sizes(count: int) -> np.ndarray:
    """Boxes of a hundred sizes about one point."""
    side = 1.05 ** (np.arange(count) % 100)
    return np.stack([-side, -side, side, side], axis=1).astype(np.float32)


LARGE: dict[str, Callable[[int], np.ndarray]] = {
    "apart": regular,
    "the same": lambda count: np.tile(np.float32([[1, 2, 30, 40]]), (count, 1)),
    "crossing": crossing,
    "stairs": stairs,
    "sizes": sizes,
    "a far corner": lambda count: clustered(count)[0] + np.float32(3e6),
}


@pytest.mark.parametrize("threshold", [0.0, 0.1, 0.3, 0.5, 0.9])
def test_large_clustered_cases(threshold: float) -> None:
    for seed in range(2):
        boxes, scores, classes = clustered(2500, seed)
        assert nms(boxes, scores, threshold).tolist() == by_rows(boxes, scores, threshold)
        found = nms(boxes, scores, threshold, classes=classes).tolist()
        assert found == by_rows(boxes, scores, threshold, classes)


@pytest.mark.parametrize("name", LARGE)
@pytest.mark.parametrize("threshold", [0.2, 0.5])
def test_large_adversarial_cases(name: str, threshold: float) -> None:
    boxes = LARGE[name](2000)
    generator = np.random.default_rng(4)
    for scores in (generator.random(len(boxes)).astype(np.float32), np.full(len(boxes), 0.5, np.float32)):
        assert nms(boxes, scores, threshold).tolist() == by_rows(boxes, scores, threshold)
        classes = generator.integers(0, 700, len(boxes))  # many small classes
        found = nms(boxes, scores, threshold, classes=classes).tolist()
        assert found == by_rows(boxes, scores, threshold, classes)


def test_diou_on_a_large_case() -> None:
    boxes, scores, classes = clustered(2500, 7)
    assert nms(boxes, scores, 0.4, method="diou").tolist() == by_rows(boxes, scores, 0.4, measure=diou)
    found = nms(boxes, scores, 0.4, classes=classes, method="diou").tolist()
    assert found == by_rows(boxes, scores, 0.4, classes, measure=diou)
    assert found != nms(boxes, scores, 0.4, classes=classes).tolist()


def test_double_precision_coordinates_stay_so(plain: Any) -> None:
    """Boxes whose overlap single precision could not see."""
    boxes = np.array([[1e9, 0, 1e9 + 1, 1], [1e9 + 0.4, 0, 1e9 + 1.4, 1], [1e9 + 3, 0, 1e9 + 4, 1]])
    scores = np.array([0.9, 0.8, 0.7])
    assert nms(boxes, scores, 0.42).tolist() == [0, 2]  # 0.6 / 1.4 = 0.4286
    assert nms(boxes, scores, 0.43).tolist() == [0, 1, 2]
    for boxes32, scores32, classes, threshold in plain.cases(300, 20, seed=5):
        boxes = boxes32.astype(np.float64) * 1.1
        assert nms(boxes, scores32, threshold, classes=classes).tolist() == plain.greedy(
            boxes, scores32, threshold, classes
        )


def test_an_overlap_equal_to_the_threshold_is_kept() -> None:
    """63 of 90 parts is 0.7, which 0.7 · 90 in floating point is not."""
    boxes = np.float32([[0, 0, 63, 1], [0, 0, 90, 1]])
    for order in ([0.9, 0.8], [0.8, 0.9]):
        assert len(nms(boxes, order, 0.7)) == 2
        assert len(nms(boxes, order, np.nextafter(0.7, 0))) == 1


def test_blocks_sweep_and_parts_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same answer from every way through the algorithm."""
    boxes, scores, classes = clustered(900, 3)
    wanted = by_rows(boxes, scores, 0.5), by_rows(boxes, scores, 0.5, classes)
    for first, last, group, cells, sweep, small in (
        (1, 1, 1, 8, 0, 1),
        (7, 300, 3, 64, 50, 10),
        (2000, 2000, 8, 9, 1, 99),
    ):
        for name, value in (
            ("_FIRST_BLOCK", first), ("_LAST_BLOCK", last), ("_GROUP", group), ("_CELLS", cells),
            ("_SWEEP_FROM", sweep), ("_SMALL_CLASSES", small),
        ):  # fmt: skip
            monkeypatch.setattr(module, name, value)
        assert nms(boxes, scores).tolist() == wanted[0]
        assert nms(boxes, scores, classes=classes).tolist() == wanted[1]


def test_equal_to_opencv_where_it_is_exact() -> None:
    """Whole-number boxes: OpenCV's own double arithmetic has nothing to round."""
    import cv2

    generator = np.random.default_rng(9)
    for _ in range(50):
        corners = generator.integers(0, 60, (60, 2))
        sides = generator.integers(1, 30, (60, 2))
        scores = (1 + generator.permutation(60)).astype(np.float32) / 64
        boxes = np.concatenate([corners, corners + sides], axis=1).astype(np.float32)
        theirs = cv2.dnn.NMSBoxes(np.concatenate([corners, sides], axis=1).tolist(), scores.tolist(), 0.0, 0.5)
        assert nms(boxes, scores).tolist() == list(theirs)


def test_threads_do_not_disturb_each_other() -> None:
    from concurrent.futures import ThreadPoolExecutor

    problems = [clustered(600, seed) for seed in range(8)]
    wanted = [by_rows(boxes, scores, 0.5) for boxes, scores, _ in problems]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(3):
            found = pool.map(lambda problem: nms(problem[0], problem[1]).tolist(), problems)
            assert list(found) == wanted
