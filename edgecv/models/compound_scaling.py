"""Compound scaling: depth, width and resolution from one number (Tan & Le 2019, section 3). No Keras needed."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from edgecv_runtime.errors import InputError

BASE_RESOLUTION = 224


@dataclass(frozen=True)
class Coefficients:
    """How much depth (α), width (β) and resolution (γ) grow per unit of φ."""

    alpha: float
    beta: float
    gamma: float

    @property
    def product(self) -> float:
        """``α β² γ²``: the factor by which MACs grow per unit of φ (section 3.3)."""
        return self.alpha * self.beta**2 * self.gamma**2


# Section 3.3, step 1: found by the grid search at φ = 1 for EfficientNet-B0.
PUBLISHED = Coefficients(alpha=1.2, beta=1.1, gamma=1.15)


@dataclass(frozen=True)
class Scaling:
    """What a network is built from.

    Attributes
    ----------
    width : float
        Multiplies channels.
    depth : float
        Multiplies the layers of a stage.
    resolution : int
        Input side, pixels.
    dropout : float in [0, 1)
        Before the classifier.
    """

    width: float
    depth: float
    resolution: int
    dropout: float


def compound_scaling(phi: float, coefficients: Coefficients = PUBLISHED) -> Scaling:
    """Scale EfficientNet-B0 by φ (equation 3).

    ``depth = α^φ``, ``width = β^φ``, ``resolution = 224 γ^φ`` rounded to a whole pixel. The dropout rate
    goes linearly from 0.2 at φ = 0 to 0.5 at φ = 7 and stays there (section 5.2).

    Parameters
    ----------
    phi : float
        At least 0. Each unit doubles the MACs, about.
    coefficients : Coefficients

    Raises
    ------
    InputError
        φ is negative or not a finite number.

    Examples
    --------
    >>> compound_scaling(1.0)
    Scaling(width=1.1, depth=1.2, resolution=258, dropout=0.242857)
    """
    if isinstance(phi, bool) or not isinstance(phi, int | float) or not math.isfinite(phi) or phi < 0:
        raise InputError(f"phi must be a number of at least 0; received {phi!r}")
    return Scaling(
        width=coefficients.beta**phi,
        depth=coefficients.alpha**phi,
        resolution=round(BASE_RESOLUTION * coefficients.gamma**phi),
        dropout=round(0.2 + 0.3 * min(phi, 7.0) / 7.0, 6),
    )


@dataclass(frozen=True)
class Trial:
    """One point of the grid."""

    coefficients: Coefficients
    accuracy: float
    cost: float


@dataclass(frozen=True)
class SearchResult:
    """The outcome of `search_coefficients`.

    Attributes
    ----------
    best : Coefficients
    trials : tuple of Trial
        Every point that kept to the constraint and the budget, best first.
    """

    best: Coefficients
    trials: tuple[Trial, ...]


Measure = Callable[[float, float, float], float]


def search_coefficients(
    cost: Measure,
    accuracy: Measure,
    *,
    product: float = 2.0,
    tolerance: float = 0.1,
    step: float = 0.05,
    budget: float | None = None,
) -> SearchResult:
    """Redo the small grid search for α, β, γ (section 3.3, step 1, with equations 2 and 3 at φ = 1).

    Maximises ``accuracy(α, β, γ)`` over the grid of α, β, γ ≥ 1 with ``|α β² γ² - product| ≤ tolerance`` and
    ``cost(α, β, γ) ≤ budget``. Of two equally accurate points the cheaper one wins.

    Parameters
    ----------
    cost : callable (alpha, beta, gamma) -> float
        What the scaled network costs, in any unit: MACs, milliseconds, bytes. Called only on points that keep
        to the constraint, and once at (1, 1, 1) where no budget is given.
    accuracy : callable (alpha, beta, gamma) -> float
        How good it is; called only on points within the budget, as this is the expensive one (a training).
    product : float
        The growth per unit of φ; the paper takes 2.
    tolerance : float
        The published answer, 1.2 · 1.1² · 1.15² = 1.92, needs 0.08.
    step : float
        Of the grid.
    budget : float, optional
        In the unit of `cost`. Default: ``(product + tolerance) * cost(1, 1, 1)``, "twice more resources".

    Raises
    ------
    InputError
        A setting that leaves no grid, or no point keeps to constraint and budget.

    Examples
    --------
    >>> found = search_coefficients(lambda a, b, c: a * b**2 * c**2, lambda a, b, c: min(a, b, c))
    >>> found.best
    Coefficients(alpha=1.15, beta=1.15, gamma=1.15)
    """
    if product < 1 or tolerance < 0 or step <= 0:
        raise InputError(
            "product must be at least 1, tolerance at least 0 and step above 0; "
            f"received {product}, {tolerance} and {step}"
        )
    limit = (product + tolerance) * cost(1.0, 1.0, 1.0) if budget is None else budget
    trials = []
    for point in _grid(product, tolerance, step):
        triple = (point.alpha, point.beta, point.gamma)
        price = cost(*triple)
        if price <= limit:
            trials.append(Trial(point, accuracy(*triple), price))
    if not trials:
        raise InputError(
            f"no α, β, γ on a grid of {step:g} has α·β²·γ² within {tolerance:g} of {product:g} "
            f"and a cost of at most {limit:g}: widen the tolerance or the budget, or take a finer step"
        )
    trials.sort(key=lambda trial: (-trial.accuracy, trial.cost))
    return SearchResult(trials[0].coefficients, tuple(trials))


def _grid(product: float, tolerance: float, step: float) -> Iterator[Coefficients]:
    """Points of the grid that keep to the constraint; 1e-9 forgives the sums of decimal steps."""
    highest = product + tolerance + 1e-9

    def axis(limit: float) -> list[float]:
        return [round(1 + index * step, 10) for index in range(int((limit - 1) / step + 1e-9) + 1)]

    for alpha in axis(highest):
        for beta in axis(math.sqrt(highest / alpha)):
            for gamma in axis(math.sqrt(highest / (alpha * beta**2))):
                point = Coefficients(alpha, beta, gamma)
                if abs(point.product - product) <= tolerance + 1e-9:
                    yield point
