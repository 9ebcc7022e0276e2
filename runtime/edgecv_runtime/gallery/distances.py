"""How far two embeddings are apart.

====================  ==============================  =================================================
name                  d(f, g)                         defined for
====================  ==============================  =================================================
cosine                1 - f·g / (‖f‖ ‖g‖)             vectors that are not zero
euclidean             ‖f - g‖                         all
chi-squared           Σᵢ wᵢ (fᵢ - gᵢ)² / (fᵢ + gᵢ)    values from 0 on, as a ReLU gives them
weighted-l1           Σᵢ wᵢ |fᵢ - gᵢ|                 all
====================  ==============================  =================================================

The last two are those of Taigman, Yang, Ranzato and Wolf 2014, "DeepFace: Closing the Gap to Human-Level Performance
in Face Verification": section 4.1, the weighted χ² distance, and 4.2, d(f₁, f₂) = Σᵢ αᵢ |f₁[i] - f₂[i]| of the siamese
network. Their weights are learned; without any, each is 1. A pair of zeros adds nothing to χ².

A gallery speaks of scores: similarities, higher is nearer. The cosine's is f·g, every other distance's is -d.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from edgecv_runtime.errors import InputError

Floats = npt.NDArray[np.float32]
Values = npt.NDArray[np.floating]
Weights = Floats | None


@dataclass(frozen=True, eq=False)
class Distance:
    """A distance between a query and rows.

    Attributes
    ----------
    name : str
    default_threshold : float
        Least score at which two vectors are taken for one person's where nobody calibrated: a guess. For the cosine it
        fits common face embedders; for the others everything depends on the network, and theirs is strict.
    unit : bool
        Only the direction of a vector counts: it is brought to length 1 before it is kept or compared.
    weighted : bool
        Takes weights.
    non_negative : bool
        Defined for values from 0 on only.
    weights : (D,) float32 or None
        None: each is 1.
    """

    name: str
    default_threshold: float
    unit: bool
    weighted: bool
    non_negative: bool
    _function: Callable[[Floats, Floats, Weights], Values]
    weights: Weights = None

    def __call__(self, query: npt.ArrayLike, vectors: npt.ArrayLike) -> Floats:
        """Distances of a query to each row.

        Parameters
        ----------
        query : (D,)
        vectors : (N, D)

        Returns
        -------
        (N,) float32, 0 or more

        Raises
        ------
        InputError
            Shapes that do not fit, or values that the distance is not defined for.

        Examples
        --------
        >>> get_distance("weighted-l1").with_weights([1, 0.5])([1, 2], [[1, 2], [3, 5]]).tolist()
        [0.0, 3.5]
        """
        one, rows = self.prepare(query), self.prepare(vectors)
        if one.ndim != 1 or rows.ndim != 2 or rows.shape[1] != len(one):
            raise InputError(f"a distance needs a (D,) query and (N, D) rows; received {one.shape} and {rows.shape}")
        return np.asarray(self._function(one, rows, self.weights), np.float32)

    def with_weights(self, weights: npt.ArrayLike | None) -> Distance:
        """The same distance with weights: finite, 0 or more, not all 0. None takes them away.

        Raises
        ------
        InputError
            They are not that, or the distance takes none.
        """
        if weights is None:
            return replace(self, weights=None)
        if not self.weighted:
            raise InputError(f"the {self.name} distance takes no weights; leave them out or choose weighted-l1")
        chosen = np.asarray(weights, np.float32)
        if chosen.ndim != 1 or not np.isfinite(chosen).all() or (chosen < 0).any() or not chosen.any():
            raise InputError(f"weights must be (D,), finite, 0 or more, not all 0; received shape {chosen.shape}")
        return replace(self, weights=chosen)

    def prepare(self, vectors: npt.ArrayLike) -> Floats:
        """Vectors as a gallery keeps them: float32, of length 1 where only the direction counts.

        Parameters
        ----------
        vectors : (D,) or (N, D)

        Raises
        ------
        InputError
            NaN, infinity or beyond float32; a zero vector where a direction is needed; a value below 0 where there
            must be none; as many values as there are not weights.
        """
        if self.unit:
            return to_unit(vectors)
        with np.errstate(over="ignore"):
            values = np.asarray(vectors, np.float32)
        if not np.isfinite(values).all():
            raise InputError("an embedding must be finite, in float32; received NaN, infinity or larger numbers")
        if self.non_negative and values.size and values.min() < 0:
            raise InputError(
                f"the {self.name} distance needs values of 0 or more, as after a ReLU; received {values.min():.3g}"
            )
        if self.weights is not None and values.shape[-1:] != self.weights.shape:
            raise InputError(f"the weights are for {len(self.weights)} values; received vectors {values.shape}")
        return values

    def similarity(self, query: Floats, vectors: Floats) -> Floats:
        """(N,) scores of prepared vectors, higher is nearer; nothing is checked again."""
        if self.score is None:
            return np.asarray(vectors @ query, np.float32)
        return np.asarray(self.score(query, vectors), np.float32)

    @property
    def score(self) -> Callable[[Floats, Floats], Values] | None:
        """What a search index ranks by (`make_index`): None for the inner product."""
        if self.name == "cosine":
            return None
        return lambda query, rows: -self._function(query, rows, self.weights)

    def to_distance(self, score: float) -> float:
        """The distance of a score; never below 0, although rounding may leave a cosine of 1.0000001."""
        return max(0.0, 1 - score if self.name == "cosine" else -score)

    def to_score(self, distance: float) -> float:
        """The score of a distance."""
        return 1 - distance if self.name == "cosine" else -distance


def get_distance(name: str) -> Distance:
    """The distance of this name.

    Raises
    ------
    InputError
        There is none.
    """
    if name not in DISTANCES:
        raise InputError(f"a distance must be one of {', '.join(DISTANCES)}; received {name!r}")
    return DISTANCES[name]


def to_unit(vectors: npt.ArrayLike) -> Floats:
    """Rows, or one vector, at length 1.

    Raises
    ------
    InputError
        NaN, infinity or a zero vector: it has no direction.
    """
    wide = np.asarray(vectors, np.float64)  # a float32 square would overflow from 2e19 on, and vanish below 1e-23
    if not np.isfinite(wide).all():
        raise InputError("an embedding must be finite; received NaN or infinity")
    largest = np.abs(wide).max(axis=-1, keepdims=True, initial=0.0)
    if wide.size and not largest.all():
        raise InputError("an embedding must have a direction; received zeros only")
    scaled = wide / largest
    return np.asarray(scaled / np.linalg.norm(scaled, axis=-1, keepdims=True), np.float32)


def _cosine(query: Floats, rows: Floats, weights: Weights) -> Values:
    # 1 - cos loses every digit where two vectors are nearly the same; half the squared chord does not.
    chords = rows - query
    return np.asarray(np.einsum("nd,nd->n", chords, chords) / 2)


def _euclidean(query: Floats, rows: Floats, weights: Weights) -> Values:
    apart = rows - query
    return np.asarray(np.sqrt(np.einsum("nd,nd->n", apart, apart)))


def _chi_squared(query: Floats, rows: Floats, weights: Weights) -> Values:
    apart, together = rows - query, rows + query
    np.square(apart, out=apart)
    np.divide(apart, together, out=apart, where=together > 0)  # 0 / 0 stays the 0 that it is
    return np.asarray(apart.sum(axis=1) if weights is None else apart @ weights)


def _weighted_l1(query: Floats, rows: Floats, weights: Weights) -> Values:
    apart = rows - query
    np.abs(apart, out=apart)
    return np.asarray(apart.sum(axis=1) if weights is None else apart @ weights)


DISTANCES: dict[str, Distance] = {
    "cosine": Distance("cosine", 0.4, True, False, False, _cosine),
    "euclidean": Distance("euclidean", -0.5, False, False, False, _euclidean),
    "weighted-l1": Distance("weighted-l1", -1.0, False, True, False, _weighted_l1),
    "chi-squared": Distance("chi-squared", -0.1, False, True, True, _chi_squared),
}
