from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from edgecv_runtime.tracking.assignment import assign


def test_the_cheapest_in_all_not_the_cheapest_first() -> None:
    # Taking 0.1 first would leave 0.9: 1.0 in all, where 0.2 + 0.3 are 0.5.
    assert assign(np.array([[0.1, 0.2], [0.3, 0.9]]), 1.0) == [(0, 1), (1, 0)]


def test_what_costs_too_much_is_not_paired() -> None:
    assert assign(np.array([[0.1, 0.2], [0.3, 0.9]]), 0.15) == [(0, 0)]
    assert assign(np.array([[0.9]]), 0.8) == []
    assert assign(np.zeros((0, 3)), 1.0) == [] and assign(np.zeros((3, 0)), 1.0) == []


@pytest.mark.parametrize("shape", [(3, 3), (2, 5), (5, 3), (6, 6), (1, 4)])
def test_no_permutation_is_cheaper(shape: tuple[int, int]) -> None:
    generator = np.random.default_rng(sum(shape))
    for _ in range(20):
        cost = generator.random(shape).round(1)  # with ties
        small, large = sorted(shape)
        table = cost if shape[0] <= shape[1] else cost.T
        least = min(sum(table[row, order[row]] for row in range(small)) for order in permutations(range(large), small))
        pairs = assign(cost, 1.0)
        assert len({row for row, _ in pairs}) == len({column for _, column in pairs}) == small
        assert sum(cost[pair] for pair in pairs) == pytest.approx(least)


def test_pairs_are_as_many_as_can_be() -> None:
    # Row 0 could take either column; row 1 only the first.
    assert assign(np.array([[0.1, 0.6], [0.5, 2.0]]), 0.7) == [(0, 1), (1, 0)]
