"""Compound scaling against the paper's numbers, and the grid search against functions solved by hand."""

from __future__ import annotations

import pytest

from edgecv.models.compound_scaling import PUBLISHED, Coefficients, Scaling, compound_scaling, search_coefficients
from edgecv_runtime.errors import InputError


def cost(alpha: float, beta: float, gamma: float) -> float:
    return alpha * beta**2 * gamma**2


def test_published_coefficients_nearly_double_the_cost() -> None:
    # Section 3.3: α·β²·γ² ≈ 2.
    assert (PUBLISHED.alpha, PUBLISHED.beta, PUBLISHED.gamma) == (1.2, 1.1, 1.15)
    assert PUBLISHED.product == pytest.approx(1.2 * 1.21 * 1.3225, abs=1e-9)
    assert PUBLISHED.product == pytest.approx(1.9203, abs=1e-4)


@pytest.mark.parametrize(
    ("phi", "expected"),
    [
        (0, Scaling(1.0, 1.0, 224, 0.2)),
        (1, Scaling(width=1.1, depth=1.2, resolution=258, dropout=0.242857)),  # 224 · 1.15 = 257.6
        (2, Scaling(width=1.21, depth=1.44, resolution=296, dropout=0.285714)),  # 224 · 1.3225 = 296.24
        (7, Scaling(width=1.9487171, depth=3.5831808, resolution=596, dropout=0.5)),
        (9, Scaling(width=1.1**9, depth=1.2**9, resolution=788, dropout=0.5)),
    ],
)
def test_equation_3(phi: float, expected: Scaling) -> None:
    found = compound_scaling(phi)
    assert found.width == pytest.approx(expected.width)
    assert found.depth == pytest.approx(expected.depth)
    assert found.resolution == expected.resolution
    assert found.dropout == expected.dropout


def test_fractions_of_phi() -> None:
    half = compound_scaling(0.5)
    assert half.width == pytest.approx(1.1**0.5)
    assert half.resolution == 240


def test_other_coefficients() -> None:
    assert compound_scaling(2, Coefficients(2.0, 1.0, 1.0)) == Scaling(1.0, 4.0, 224, 0.285714)


@pytest.mark.parametrize("phi", [-0.1, float("nan"), float("inf"), True, "1"])
def test_bad_phi(phi: object) -> None:
    with pytest.raises(InputError, match="phi must be a number of at least 0"):
        compound_scaling(phi)  # type: ignore[arg-type]


def test_search_finds_the_published_point() -> None:
    # Its only optimum by construction: the distance to the published point.
    def accuracy(alpha: float, beta: float, gamma: float) -> float:
        return -((alpha - 1.2) ** 2 + (beta - 1.1) ** 2 + (gamma - 1.15) ** 2)

    assert search_coefficients(cost, accuracy).best == PUBLISHED


def test_search_against_lagrange() -> None:
    # Maximise ln α + 3 ln β + 2 ln γ under ln α + 2 ln β + 2 ln γ = ln 2. Per unit of the constraint β is worth
    # 3/2, α and γ are worth 1: all of it goes into β, so β = √2 and α = γ = 1; on a grid of 0.05 that is 1.4.
    import math

    def accuracy(alpha: float, beta: float, gamma: float) -> float:
        return math.log(alpha) + 3 * math.log(beta) + 2 * math.log(gamma)

    assert search_coefficients(cost, accuracy, tolerance=0.05).best == Coefficients(1.0, 1.4, 1.0)


def test_only_depth_matters() -> None:
    # With all of it in α the largest α on the grid within 2 ± 0.1 is 2.1.
    assert search_coefficients(cost, lambda a, b, g: a).best == Coefficients(2.1, 1.0, 1.0)
    assert search_coefficients(cost, lambda a, b, g: a, tolerance=0.0).best == Coefficients(2.0, 1.0, 1.0)


def test_of_equally_good_points_the_cheapest_wins() -> None:
    result = search_coefficients(cost, lambda a, b, g: 0.75, tolerance=0.1)
    costs = [trial.cost for trial in result.trials]
    assert costs == sorted(costs)
    assert result.best == result.trials[0].coefficients
    assert all(abs(trial.coefficients.product - 2) <= 0.1 + 1e-9 for trial in result.trials)


def test_budget_is_kept_and_the_expensive_measure_spared() -> None:
    asked: list[tuple[float, float, float]] = []

    def latency(alpha: float, beta: float, gamma: float) -> float:
        return 10 * alpha  # only depth costs time on this imaginary device

    def accuracy(alpha: float, beta: float, gamma: float) -> float:
        asked.append((alpha, beta, gamma))
        return alpha

    result = search_coefficients(latency, accuracy, budget=13.0)
    assert result.best.alpha == 1.3
    assert max(alpha for alpha, _, _ in asked) == 1.3
    assert len(asked) == len(result.trials)


def test_default_budget_is_twice_the_baseline() -> None:
    # A device on which resolution costs γ⁴: 2.1 times the baseline allows γ up to 2.1^(1/4) = 1.204.
    def latency(alpha: float, beta: float, gamma: float) -> float:
        return 5 * gamma**4

    assert search_coefficients(latency, lambda a, b, g: g).best.gamma == 1.2


def test_nothing_found_says_what_to_do() -> None:
    with pytest.raises(InputError, match="widen the tolerance or the budget, or take a finer step"):
        search_coefficients(cost, lambda a, b, g: 0.0, budget=1.0)


@pytest.mark.parametrize("setting", [{"step": 0}, {"tolerance": -1}, {"product": 0.5}])
def test_bad_settings(setting: dict) -> None:
    with pytest.raises(InputError, match="product must be at least 1, tolerance at least 0 and step above 0"):
        search_coefficients(cost, lambda a, b, g: 0.0, **setting)
