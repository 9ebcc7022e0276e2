"""Who answers for whom, on small tables."""

from __future__ import annotations

import numpy as np
import pytest

from edgecv.detection.matching import BACKGROUND, IGNORED, match
from edgecv_runtime.errors import InputError


def test_thresholds() -> None:
    table = [[0.7, 0.1], [0.5, 0.6], [0.45, 0.2], [0.3, 0.39], [0.0, 0.0]]
    # 0.5 is enough; 0.45 lies between; 0.39 is background.
    assert match(table, 0.5, 0.4, every_box=False).tolist() == [0, 1, IGNORED, BACKGROUND, BACKGROUND]
    assert match(table, 0.5, every_box=False).tolist() == [0, 1, BACKGROUND, BACKGROUND, BACKGROUND]


def test_every_box_gets_an_anchor_however_small_the_overlap() -> None:
    table = [[0.9, 0.2], [0.8, 0.1], [0.0, 0.05]]
    assert match(table, 0.5, every_box=False).tolist() == [0, 0, BACKGROUND]
    # The first anchor is the best of both, but it is the first box's: the second box has the next best free one.
    assert match(table, 0.5).tolist() == [0, 1, BACKGROUND]


def test_the_largest_overlap_chooses_first() -> None:
    table = [[0.6, 0.7], [0.55, 0.1]]
    assert match(table, 0.9).tolist() == [1, 0]


def test_more_boxes_than_anchors() -> None:
    assert match([[0.3, 0.6, 0.2]], 0.5).tolist() == [1]


def test_what_overlaps_nothing_stays_background() -> None:
    assert match(np.zeros((3, 2)), 0.5).tolist() == [BACKGROUND] * 3
    assert match(np.zeros((3, 0)), 0.5).tolist() == [BACKGROUND] * 3
    assert match(np.zeros((0, 2)), 0.5).tolist() == []


def test_each_box_is_held_on_random_tables() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        table = rng.uniform(0, 1, (rng.integers(5, 30), rng.integers(1, 5)))
        owners = match(table, 0.8, 0.6)
        assert set(range(table.shape[1])) <= set(owners.tolist())
        held = owners >= 0
        forced = table[held, owners[held]] < 0.8
        assert forced.sum() <= table.shape[1]  # below the threshold only a box's own anchor
        assert (table[owners == BACKGROUND].max(initial=0)) < 0.6


def test_refused() -> None:
    with pytest.raises(InputError, match=r"overlaps must be \(anchors, boxes\)"):
        match([0.5, 0.6])
    with pytest.raises(InputError, match="0 <= negative <= positive <= 1; received 0.6 and 0.5"):
        match([[0.5]], 0.5, 0.6)
