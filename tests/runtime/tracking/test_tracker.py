from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edgecv_runtime import Tracker
from edgecv_runtime.errors import InputError
from edgecv_runtime.results import Detections


def seen(*boxes: tuple[float, float], score: float = 0.9, code: int = 0) -> Detections:
    """Boxes of 20×40 pixels at some left upper corners."""
    rows = np.float32([(x, y, x + 20, y + 40) for x, y in boxes]).reshape(-1, 4)
    return Detections(
        rows, np.full(len(rows), score, np.float32), np.full(len(rows), code, np.int64), ("person", "dog")
    )


def ids(found: Detections) -> list[int]:
    assert found.ids is not None
    return found.ids.tolist()


def test_two_people_who_cross_keep_their_numbers() -> None:
    tracker = Tracker()
    for frame in range(60):
        left, right = (3.0 * frame, 0.0), (180 - 3.0 * frame, 25.0)  # they overlap half way
        found = tracker.update(seen(left, right) if frame % 2 else seen(right, left))
        numbers = dict(zip(found.boxes[:, 1].tolist(), ids(found), strict=True))
        if frame == 0:
            first = numbers
        assert numbers == first
    assert sorted(first.values()) == [1, 2]


def test_someone_half_hidden_keeps_the_number() -> None:
    tracker = Tracker()
    for frame in range(20):
        found = tracker.update(seen((2.0 * frame, 0), score=0.9 if frame < 10 else 0.2))
        assert ids(found) == [1]
    assert ids(Tracker().update(seen((0, 0), score=0.2))) == []  # unsure boxes found nothing


def test_after_a_gap_the_number_comes_back_and_after_a_long_one_it_does_not() -> None:
    for gap, number in ((0.5, 1), (1.5, 2)):
        tracker = Tracker(keep_lost=1.0)
        for frame in range(10):
            tracker.update(seen((50, 0)), frame / 30)
        tracker.update(Detections.none(), 10 / 30)
        again = 10 / 30 + gap
        tracker.update(seen((50, 0)), again)
        assert ids(tracker.update(seen((50, 0)), again + 1 / 30)) == [number]


def test_dropped_frames_are_time_not_steps() -> None:
    """One step of ten frames leads as far as ten steps of one."""
    tracker = Tracker()
    for frame in range(20):
        tracker.update(seen((4.0 * frame, 0)), frame / 30)
    assert ids(tracker.update(seen((4.0 * 30, 0)), 30 / 30)) == [1]  # 40 pixels on: no overlap with the last box


def test_a_flicker_gets_no_number() -> None:
    tracker = Tracker()
    tracker.update(seen((0, 0)))
    assert ids(tracker.update(seen((0, 0), (200, 0)))) == [1]
    assert ids(tracker.update(seen((0, 0)))) == [1]
    tracker.update(seen((0, 0), (300, 0)))
    assert len(ids(tracker.update(seen((0, 0), (300, 0))))) == 2


def test_classes_are_apart() -> None:
    tracker = Tracker()
    tracker.update(seen((0, 0)))
    tracker.update(seen((0, 0), code=1))
    found = tracker.update(seen((0, 0), code=1))
    assert found.labels == ("dog",) and ids(found) == [2]


def test_reset_and_time() -> None:
    tracker = Tracker()
    assert ids(tracker.update(seen((0, 0)), 5.0)) == [1]
    with pytest.raises(InputError, match="received 4.000 s after 5.000 s"):
        tracker.update(seen((0, 0)), 4.0)
    tracker.reset()
    assert ids(tracker.update(seen((0, 0)), 4.0)) == [2]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"high": 0.1, "low": 0.5}, "0 <= low <= high <= 1; received low=0.5, high=0.1"),
        ({"keep_lost": -1}, "keep_lost must be 0 or more"),
        ({"min_hits": 0}, "min_hits 1 or more"),
    ],
)
def test_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Tracker(**options)


def test_results_carry_numbers() -> None:
    found = Tracker().update(seen((0, 0), (100, 0)))
    assert found.top(1).ids.tolist() == [1] and found.to_dict()["ids"] == [1, 2]
    with pytest.raises(InputError, match=r"ids must be \(1,\)"):
        Detections(np.zeros((1, 4)), np.zeros(1), np.zeros(1, int), ids=np.zeros(2, int))
