"""Several steps after each other, drawn from (seed, epoch, number of the picture)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from edgecv.augment.sample import Sample

Step = Callable[[Sample, np.random.Generator], Sample]


@dataclass(frozen=True, eq=False)
class Pipeline:
    """Steps in their order.

    Attributes
    ----------
    steps : sequence of callables
        From a sample and a generator to a sample; a pipeline is one, too.

    Examples
    --------
    >>> from edgecv.augment import Affine, Brightness, Mirror
    >>> pipeline = Pipeline([Mirror(), Affine(rotation=10), Brightness(0.1)])
    >>> sample = Sample(np.zeros((20, 30, 3), np.uint8), boxes=[[2, 3, 12, 13]], classes=[1])
    >>> pipeline.draw(sample, seed=0, epoch=3, number=7).image.shape
    (20, 30, 3)
    """

    steps: Sequence[Step] = ()

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        for step in self.steps:
            sample = step(sample, rng)
        return sample

    def draw(self, sample: Sample, seed: int, epoch: int, number: int) -> Sample:
        """What becomes of picture `number` in an epoch, in whatever order, process or run it is asked for."""
        return self(sample, np.random.default_rng([seed, epoch, number]))
