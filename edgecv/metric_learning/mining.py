"""Which triplets of a batch are learned from: random, semi-hard or hard ones.

A triplet is an anchor, a positive (the same person) and a negative (another person). Of the many in a batch most are
solved soon and teach nothing.

References
----------
Schroff, Kalenichenko, Philbin 2015 (FaceNet), section 3.2; Hermans, Beyer, Leibe 2017 (In Defense of the Triplet
Loss), eq. 5.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from edgecv.metric_learning.distances import different_people, same_person
from edgecv_runtime.errors import InputError

STRATEGIES = ("random", "semi-hard", "hard")

_FAR = 1e9  # stands for infinity, whose product with zero would be no number


@dataclass(frozen=True, eq=False)
class Triplets:
    """Distances within the triplets that were chosen.

    Attributes
    ----------
    positive, negative : tensors of one shape
        Distance of the anchor to the positive and to the negative.
    valid : bool tensor of that shape
        Where there is a triplet; elsewhere the distances mean nothing.
    """

    positive: Any
    negative: Any
    valid: Any


def mine(distances: Any, labels: Any, strategy: str, seed: Any = None) -> Triplets:
    """Choose triplets of a batch.

    Parameters
    ----------
    distances : (N, N) tensor
        Of every two vectors; see `squared_distances`.
    labels : (N,) tensor
        Who each is of.
    strategy : {"random", "semi-hard", "hard"}
        ``"random"`` and ``"semi-hard"`` give every anchor with each of its positives one negative, (N, N) triplets:
        any, or the nearest of those farther away than the positive, and the farthest of all where none is.
        ``"hard"`` gives every anchor its farthest positive and its nearest negative, (N,) triplets.
    seed : int or keras.random.SeedGenerator, optional
        Required for ``"random"``.

    Raises
    ------
    InputError
        Another strategy, or no seed for random triplets.
    """
    if strategy not in STRATEGIES:
        raise InputError(f"mining must be one of {', '.join(STRATEGIES)}; received {strategy!r}")
    same, different = same_person(labels), different_people(labels)
    if strategy == "hard":
        return _hard(distances, same, different)
    if strategy == "semi-hard":
        return _semi_hard(distances, same, different)
    if seed is None:
        raise InputError("random mining needs a seed: an int or a keras.random.SeedGenerator")
    return _random(distances, same, different, seed)


def _hard(distances: Any, same: Any, different: Any) -> Triplets:
    """Hermans et al. 2017, eq. 5 ("batch hard")."""
    from keras import ops

    farthest = ops.max(ops.where(same, distances, -_FAR), axis=1)
    nearest = ops.min(ops.where(different, distances, _FAR), axis=1)
    return Triplets(farthest, nearest, ops.logical_and(ops.any(same, axis=1), ops.any(different, axis=1)))


def _semi_hard(distances: Any, same: Any, different: Any) -> Triplets:
    """Schroff et al. 2015, eq. 4: negatives that are farther than the positive, yet not by much."""
    from keras import ops

    # [anchor, positive, negative]
    beyond = ops.logical_and(different[:, None, :], distances[:, None, :] > distances[:, :, None])
    nearest = ops.min(ops.where(beyond, distances[:, None, :], _FAR), axis=2)
    farthest = ops.max(ops.where(different, distances, -_FAR), axis=1)[:, None]
    negative = ops.where(ops.any(beyond, axis=2), nearest, farthest)
    return Triplets(distances, negative, _pairs_with_negative(same, different))


def _random(distances: Any, same: Any, different: Any, seed: Any) -> Triplets:
    import keras
    from keras import ops

    count = ops.shape(distances)[0]
    draw = keras.random.uniform((count, count, count), seed=seed)
    chosen = ops.argmax(ops.where(different[:, None, :], draw, -1.0), axis=2)
    return Triplets(distances, ops.take_along_axis(distances, chosen, axis=1), _pairs_with_negative(same, different))


def _pairs_with_negative(same: Any, different: Any) -> Any:
    from keras import ops

    return ops.logical_and(same, ops.any(different, axis=1)[:, None])
