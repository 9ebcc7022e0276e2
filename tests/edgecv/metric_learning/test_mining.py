"""Triplets chosen in a batch, against loops over all of them."""

from __future__ import annotations

import numpy as np
import pytest

from edgecv.metric_learning.distances import different_people, same_person, squared_distances, unit_vectors
from edgecv.metric_learning.mining import mine
from edgecv_runtime.errors import InputError

# Two of ann (0, 1), two of bob (2, 3), one of eve (4): who is alone is never an anchor.
LABELS = np.array([0, 0, 1, 1, 2])
# fmt: off
DISTANCES = np.array([
    [0.0, 0.5, 0.4, 0.9, 0.7],
    [0.5, 0.0, 0.2, 0.3, 0.1],
    [0.4, 0.2, 0.0, 0.6, 1.5],
    [0.9, 0.3, 0.6, 0.0, 0.8],
    [0.7, 0.1, 1.5, 0.8, 0.0],
], np.float32)
# fmt: on


def test_distances_against_numpy() -> None:
    vectors = np.random.default_rng(0).normal(size=(7, 5)).astype(np.float32)
    expected = ((vectors[:, None] - vectors[None]) ** 2).sum(-1)
    found = np.asarray(squared_distances(vectors))
    assert found == pytest.approx(expected, abs=1e-5)
    assert (np.diag(found) == 0).all() and (found >= 0).all()
    unit = np.asarray(unit_vectors(vectors))
    assert np.linalg.norm(unit, axis=1) == pytest.approx(np.ones(7), abs=1e-6)
    assert np.asarray(unit_vectors(np.zeros((1, 3), np.float32))).tolist() == [[0, 0, 0]]


def test_who_is_who() -> None:
    same, different = np.asarray(same_person(LABELS)), np.asarray(different_people(LABELS[:, None]))
    assert np.argwhere(same).tolist() == [[0, 1], [1, 0], [2, 3], [3, 2]]
    assert (same | different | np.eye(5, dtype=bool)).all() and not (same & different).any()


def test_hard_by_hand() -> None:
    found = mine(DISTANCES, LABELS, "hard")
    assert np.asarray(found.valid).tolist() == [True, True, True, True, False]
    assert np.asarray(found.positive)[:4] == pytest.approx([0.5, 0.5, 0.6, 0.6])
    assert np.asarray(found.negative)[:4] == pytest.approx([0.4, 0.1, 0.2, 0.3])


def test_semi_hard_by_hand() -> None:
    found = mine(DISTANCES, LABELS, "semi-hard")
    pairs = np.argwhere(np.asarray(found.valid)).tolist()
    assert pairs == [[0, 1], [1, 0], [2, 3], [3, 2]]
    positive, negative = (np.asarray(a)[np.asarray(found.valid)] for a in (found.positive, found.negative))
    assert positive == pytest.approx([0.5, 0.5, 0.6, 0.6])
    # 0: nearest beyond 0.5 is 0.7. 1: none is beyond 0.5, so the farthest, 0.3. 2: 1.5. 3: 0.8 before 0.9.
    assert negative == pytest.approx([0.7, 0.3, 1.5, 0.8])


@pytest.mark.parametrize("strategy", ["hard", "semi-hard", "random"])
def test_against_loops(strategy: str) -> None:
    generator = np.random.default_rng(5)
    labels = generator.integers(0, 5, 16)
    vectors = generator.normal(size=(16, 4)).astype(np.float32)
    distances = np.asarray(squared_distances(vectors))
    found = mine(distances, labels, strategy, 3)
    positive, negative, valid = (np.asarray(a) for a in (found.positive, found.negative, found.valid))
    for a in range(16):
        friends = [p for p in range(16) if labels[p] == labels[a] and p != a]
        others = distances[a, labels != labels[a]]
        if strategy == "hard":
            assert valid[a] == bool(friends)
            if friends:
                assert positive[a] == max(distances[a, p] for p in friends) and negative[a] == others.min()
            continue
        assert np.flatnonzero(valid[a]).tolist() == friends
        for p in friends:
            assert positive[a, p] == distances[a, p]
            if strategy == "random":
                assert negative[a, p] in others
            else:
                beyond = others[others > distances[a, p]]
                assert negative[a, p] == (beyond.min() if len(beyond) else others.max())


def test_random_triplets_follow_their_seed_and_reach_everyone() -> None:
    def negatives(seed: int) -> list[float]:
        found = mine(DISTANCES, LABELS, "random", seed)
        return np.asarray(found.negative)[np.asarray(found.valid)].tolist()

    assert negatives(1) == negatives(1)
    seen = {round(negatives(seed)[0], 3) for seed in range(40)}
    assert seen == {0.4, 0.9, 0.7}  # every other person of anchor 0


def test_nobody_else() -> None:
    for strategy in ("hard", "semi-hard", "random"):
        assert not np.asarray(mine(DISTANCES[:2, :2], LABELS[:2], strategy, 0).valid).any()


def test_refused() -> None:
    with pytest.raises(InputError, match="mining must be one of random, semi-hard, hard; received 'easy'"):
        mine(DISTANCES, LABELS, "easy")
    with pytest.raises(InputError, match="random mining needs a seed"):
        mine(DISTANCES, LABELS, "random")
