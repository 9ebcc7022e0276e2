from __future__ import annotations

import numpy as np
import pytest

from edgecv_runtime.errors import InputError
from edgecv_runtime.faces.voting import Verdict, Vote, Voting, count_votes, weight_of


def test_weights_decide_not_numbers() -> None:
    """One large sharp frame against three small blurred ones."""
    votes = [Vote("Ada", 0.7, 9), Vote("Bob", 0.5, 2), Vote("Bob", 0.6, 2), Vote("Bob", 0.4, 1)]
    assert count_votes(votes) == Verdict("Ada", pytest.approx(0.7), pytest.approx(9 / 14), 4)
    assert weight_of(100 * 100, 200) == pytest.approx(4 * weight_of(50 * 50, 200))
    assert weight_of(100 * 100, 200) == pytest.approx(2 * weight_of(100 * 100, 100))
    assert weight_of(-1, 5) == 0


def test_a_majority_of_the_weight_is_needed() -> None:
    three = [Vote(name, 0.5, 1) for name in ("Ada", "Bob", "Cyd")]
    assert count_votes(three).name is None
    half = [Vote("Ada", 0.5, 1), Vote(None, 0.2, 1)]
    assert count_votes(half) == Verdict(None, 0.2, 0.5, 2)
    unknown = [Vote("Ada", 0.5, 1), Vote(None, 0.1, 3), Vote(None, 0.3, 1)]
    assert count_votes(unknown) == Verdict(None, pytest.approx((0.1 * 3 + 0.3) / 4), pytest.approx(0.8), 3)
    similarity = count_votes([Vote("Ada", 0.6, 1), Vote("Ada", 0.9, 2)])
    assert similarity == Verdict("Ada", pytest.approx(0.8), 1.0, 2)


def test_without_weight_each_counts_the_same() -> None:
    assert count_votes([Vote("Ada", 0.5, 0), Vote("Ada", 0.7, 0), Vote("Bob", 0.9, 0)]).name == "Ada"
    assert count_votes([]) == Verdict(None, 0.0, 0.0, 0)


def _box(x: float, y: float = 0, side: float = 100) -> list[float]:
    return [x, y, x + side, y + side]


def _tracks(voting: Voting, *boxes: list[float]) -> list[int]:
    placed = np.array(boxes).reshape(-1, 4)
    return [track for track, _ in voting.update(placed, [None] * len(placed))]


def test_tracks_follow_boxes() -> None:
    voting = Voting(patience=1)
    assert _tracks(voting, _box(0), _box(300)) == [1, 2]
    assert _tracks(voting, _box(320), _box(20)) == [2, 1]  # whatever their order
    assert _tracks(voting, _box(40)) == [1]
    assert _tracks(voting, _box(330), _box(60)) == [2, 1]  # away for one frame
    assert _tracks(voting) == []
    assert _tracks(voting) == []
    assert _tracks(voting, _box(60)) == [3]  # forgotten: a number is never used twice


def test_the_greatest_overlap_wins() -> None:
    """Both boxes overlap the old one; the nearer has it, though it comes second."""
    voting = Voting()
    assert _tracks(voting, _box(0)) == [1]
    assert _tracks(voting, _box(30), _box(5)) == [2, 1]


def test_votes_are_forgotten_with_their_track() -> None:
    voting = Voting(patience=2)
    voting.update(np.array([_box(0)]), [Vote("Ada", 0.8, 1)])
    for _ in range(2):
        _tracks(voting)
    assert list(voting._votes) == [1]
    _tracks(voting)
    assert not voting._votes and not voting._missed
    assert _tracks(voting, _box(0)) == [2]


def test_two_who_stand_side_by_side_keep_their_votes() -> None:
    voting = Voting(window=3)
    left, right = Vote("Ada", 0.8, 1), Vote("Bob", 0.7, 1)
    for _ in range(3):
        answers = voting.update(np.array([_box(0), _box(150)]), [left, right])
    assert [(track, verdict.name, verdict.votes) for track, verdict in answers] == [(1, "Ada", 3), (2, "Bob", 3)]
    # A refused face casts no vote; what was known stands.
    answers = voting.update(np.array([_box(5), _box(150)]), [None, None])
    assert [verdict.name for _, verdict in answers] == ["Ada", "Bob"]
    # Old votes are forgotten after three new ones.
    stranger = Vote(None, 0.1, 1)
    names = [voting.update(np.array([_box(5)]), [stranger])[0][1].name for _ in range(3)]
    assert names == ["Ada", None, None]


def test_a_track_begins_without_votes() -> None:
    voting = Voting(patience=0)
    voting.update(np.array([_box(0)]), [Vote("Ada", 0.8, 1)])
    assert voting.update(np.array([_box(500)]), [None]) == [(2, Verdict(None, 0.0, 0.0, 0))]
    assert voting.update(np.array([_box(0)]), [None])[0] == (3, Verdict(None, 0.0, 0.0, 0))


def test_bad_settings() -> None:
    with pytest.raises(InputError, match="window must be at least 1 frame; received 0"):
        Voting(window=0)
    with pytest.raises(InputError, match="patience must be at least 0 frames; received -1"):
        Voting(patience=-1)
