"""Two models on the same pictures: is the difference of their accuracies more than chance?

Only the pictures on which exactly one of the two is right say anything. With n pictures, of which the second model
gains `gained` (it is right, the first is wrong) and loses `lost` (the reverse), the accuracies differ by
(gained - lost) / n.
"""

from __future__ import annotations

import math

from edgecv_runtime.errors import InputError

_Z95 = 1.959963984540054  # the normal distribution's 97.5th percentile


def mcnemar_exact(gained: int, lost: int) -> float:
    """Two-sided p-value of "neither model is better", from the discordant pairs.

    If neither is better, each discordant pair falls to one or the other like a fair coin: with m = gained + lost,
    p = min(1, 2 · Σ_{i ≤ min(gained, lost)} C(m, i) / 2^m). McNemar 1947, "Note on the sampling error of the
    difference between correlated proportions", in its exact binomial form (Agresti, Categorical Data Analysis,
    2nd ed. 2002, §10.1).

    Raises
    ------
    InputError
        A count is negative.

    Examples
    --------
    >>> mcnemar_exact(1, 7)  # 2 · (1 + 8) / 256
    0.0703125
    """
    _check(gained, lost)
    pairs = gained + lost
    tail = sum(math.comb(pairs, count) for count in range(min(gained, lost) + 1))
    p: float = 2 * tail / 2**pairs  # whole numbers up to this division: exact
    return min(1.0, p)


def difference_interval(gained: int, lost: int, n: int) -> tuple[float, float]:
    """95 % confidence interval of the difference of two paired proportions.

    The Wald interval after adding one half to each of the four cells of the table of pairs (Agresti & Min 2005,
    "Simple improved confidence intervals for comparing matched proportions", Statistics in Medicine 24):
    with b = lost + ½, c = gained + ½ and N = n + 2, (c - b) / N ± z √(b + c - (c - b)² / N) / N. It is cut to [-1, 1].

    Parameters
    ----------
    gained, lost : int
        Discordant pairs.
    n : int
        All pairs.

    Raises
    ------
    InputError
        A count is negative, or there are more discordant pairs than pairs.
    """
    _check(gained, lost)
    if n < max(1, gained + lost):
        raise InputError(f"there must be at least as many pairs as discordant ones, and one; received n = {n}")
    total, losses, gains = n + 2, lost + 0.5, gained + 0.5
    middle = (gains - losses) / total
    half = _Z95 * math.sqrt(losses + gains - (gains - losses) ** 2 / total) / total
    return max(-1.0, middle - half), min(1.0, middle + half)


def _check(gained: int, lost: int) -> None:
    if gained < 0 or lost < 0:
        raise InputError(f"counts must be at least 0; received {gained} and {lost}")
