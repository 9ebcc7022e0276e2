"""Batches of P people with K pictures."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest

from edgecv.metric_learning.sampler import identity_batches
from edgecv_runtime.errors import InputError

LABELS = np.repeat(["ann", "bob", "eve", "joe", "kim"], 4)


def test_every_batch_is_p_times_k() -> None:
    for batch in islice(identity_batches(LABELS, people=2, pictures=3), 20):
        names = LABELS[batch].reshape(2, 3)
        assert (names == names[:, :1]).all() and names[0, 0] != names[1, 0]
        assert len(set(batch.tolist())) == 6  # nobody's picture twice


def test_nobody_twice_in_a_round_and_everybody_in_time() -> None:
    batches = list(islice(identity_batches(LABELS, people=2, pictures=2), 40))
    for first, second in zip(batches[::2], batches[1::2], strict=True):
        assert len(set(LABELS[first]) | set(LABELS[second])) == 4
    assert set(np.concatenate(batches).tolist()) == set(range(20))


def test_few_pictures_are_given_twice_and_single_ones_left_out() -> None:
    labels = [0, 0, 1, 1, 1, 2]
    for batch in islice(identity_batches(labels, people=2, pictures=4), 5):
        assert sorted(np.bincount(np.asarray(labels)[batch], minlength=3).tolist()) == [0, 4, 4]
        assert np.bincount(batch, minlength=6)[:2].tolist() == [2, 2]


def test_seeds() -> None:
    def first(seed: int) -> list[list[int]]:
        return [batch.tolist() for batch in islice(identity_batches(LABELS, 2, 2, seed), 5)]

    assert first(1) == first(1) != first(2)


def test_refused() -> None:
    with pytest.raises(InputError, match="at least 2 people with 2 pictures each; received 1 and 4"):
        identity_batches(LABELS, 1, 4)
    with pytest.raises(InputError, match="batches of 3 people need as many with two pictures; there are 2"):
        identity_batches([0, 0, 1, 1, 2], 3, 2)
