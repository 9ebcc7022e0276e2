from __future__ import annotations

import math

import pytest

from edgecv_runtime.errors import InputError
from edgecv_runtime.paired import difference_interval, mcnemar_exact


@pytest.mark.parametrize(
    ("gained", "lost", "p"),
    [
        (0, 0, 1.0),
        (1, 0, 1.0),  # 2 · 1/2
        (0, 6, 2 / 64),
        (6, 0, 2 / 64),
        (1, 7, 2 * (1 + 8) / 256),
        (2, 8, 2 * (1 + 10 + 45) / 1024),
        (5, 5, 1.0),  # the middle counts twice: cut at 1
    ],
)
def test_p_values_by_hand(gained: int, lost: int, p: float) -> None:
    assert mcnemar_exact(gained, lost) == p


def test_many_pairs() -> None:
    """A fair coin thrown 10,000 times: the normal approximation with continuity correction gives 0.6892 for 4980."""
    z = (5000 - 4980 - 0.5) / 50
    assert mcnemar_exact(4980, 5020) == pytest.approx(math.erfc(z / math.sqrt(2)), rel=1e-3)
    assert mcnemar_exact(0, 5000) == 0.0  # 2^-4999 is below the smallest float


def test_interval_of_a_published_table() -> None:
    """Agresti, Categorical Data Analysis, table 10.1: 1600 pairs, discordant 150 and 86; 0.04, (0.021, 0.059)."""
    low, high = difference_interval(150, 86, 1600)
    assert (round(low, 3), round(high, 3)) == (0.021, 0.059)


def test_interval_by_hand() -> None:
    """1 gained, 7 lost of 100: N = 102, (1.5 - 7.5) / 102 ± 1.96 √(9 - 36 / 102) / 102."""
    half = 1.959964 * math.sqrt(9 - 36 / 102) / 102
    assert difference_interval(1, 7, 100) == pytest.approx((-6 / 102 - half, -6 / 102 + half), rel=1e-6)


def test_interval_is_symmetric_and_stays_in_range() -> None:
    assert difference_interval(3, 9, 50) == tuple(-bound for bound in reversed(difference_interval(9, 3, 50)))
    low, high = difference_interval(0, 0, 10)
    assert low == -high and high > 0  # ten equal answers do not prove equality
    assert difference_interval(1, 0, 1)[1] == 1.0
    assert difference_interval(0, 1, 1)[0] == -1.0


def test_counts_that_make_no_sense() -> None:
    with pytest.raises(InputError, match="counts must be at least 0; received -1 and 2"):
        mcnemar_exact(-1, 2)
    for arguments in ((2, 2, 3), (0, 0, 0)):
        with pytest.raises(InputError, match="at least as many pairs"):
            difference_interval(*arguments)
