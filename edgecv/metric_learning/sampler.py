"""Batches for metric learning: P people with K pictures each (Hermans et al. 2017, section 2), in numpy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecv_runtime.errors import InputError


def identity_batches(
    labels: npt.NDArray[Any] | Sequence[Any], people: int, pictures: int, seed: int = 0
) -> Iterator[npt.NDArray[np.int64]]:
    """Endless batches of picture numbers, in rounds in which nobody comes up twice.

    A round ends where there are no P people left for a batch.

    Parameters
    ----------
    labels : (N,)
        Who each picture is of; people with a single picture are left out.
    people : int
        P, at least 2.
    pictures : int
        K, at least 2; a person who has fewer gives some twice.
    seed : int

    Yields
    ------
    (P · K,) int64
        Grouped by person.

    Raises
    ------
    InputError
        P or K below 2, or too few people.
    """
    if people < 2 or pictures < 2:
        raise InputError(f"a batch needs at least 2 people with 2 pictures each; received {people} and {pictures}")
    names = np.asarray(labels)
    groups = [np.flatnonzero(names == name) for name in np.unique(names)]
    groups = [group for group in groups if len(group) > 1]
    if len(groups) < people:
        raise InputError(f"batches of {people} people need as many with two pictures; there are {len(groups)}")
    return _batches(groups, people, pictures, np.random.default_rng(seed))


def _batches(
    groups: list[npt.NDArray[np.int64]], people: int, pictures: int, generator: np.random.Generator
) -> Iterator[npt.NDArray[np.int64]]:
    while True:
        order = generator.permutation(len(groups)).tolist()
        for start in range(0, len(order) - people + 1, people):
            yield np.concatenate([_pictures_of(groups[i], pictures, generator) for i in order[start : start + people]])


def _pictures_of(group: npt.NDArray[np.int64], count: int, generator: np.random.Generator) -> npt.NDArray[np.int64]:
    """So many pictures of one person, each once where there are enough."""
    rounds = [generator.permutation(group) for _ in range(-(-count // len(group)))]
    return np.concatenate(rounds)[:count]
