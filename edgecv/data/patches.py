"""Patches of labelled pictures, in which rare classes come up as often as common ones."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from edgecv.augment.crops import crop
from edgecv.augment.sample import Sample
from edgecv.augment.warp import Warp, translation, warp
from edgecv.data.masks import class_pixels
from edgecv.data.sequence import LazySamples
from edgecv_runtime.errors import InputError


class PatchSamples(LazySamples):
    """So many patches an epoch, around pixels whose class is drawn evenly.

    A class is drawn from those that occur, then a picture that has it (in proportion to its pixels of that class), then
    one of these pixels; the patch has it in its middle, or as near to it as the border lets. Full images, against which
    Long et al. 2015 (section 4.4) compare patches, are the samples themselves.

    Parameters
    ----------
    samples : sequence of Sample
        With maps of classes.
    size : (height, width)
    count : int
        Patches an epoch.
    balanced : bool
        False draws pixels evenly, whatever their class.
    seed, epoch : int
        Patch n of an epoch is always the same one; `at_epoch` gives the next epoch's.

    Raises
    ------
    InputError
        No pixel is labelled, or a size or count below 1.

    Examples
    --------
    >>> mask = np.zeros((32, 32), np.uint8)
    >>> mask[3, 4] = 1
    >>> patches = PatchSamples([Sample(np.zeros((32, 32, 1), np.uint8), masks=mask)], (8, 8), count=100)
    >>> shares = [patch.masks.any() for patch in patches]
    >>> 0.4 < np.mean(shares) < 0.7
    True
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        size: tuple[int, int],
        count: int,
        *,
        balanced: bool = True,
        seed: int = 0,
        epoch: int = 0,
        pixels: npt.NDArray[np.int64] | None = None,
    ) -> None:
        if min(size) < 1 or count < 1:
            raise InputError(f"patches need a size and a count of at least 1; received {size} and {count}")
        self._samples, self._size, self._count = samples, size, count
        self._balanced, self._seed, self._epoch = balanced, seed, epoch
        self._pixels = class_pixels(samples) if pixels is None else pixels
        self._present = np.flatnonzero(self._pixels.sum(axis=0))
        if not len(self._present):
            raise InputError("patches are drawn around labelled pixels; there is none")

    def at_epoch(self, epoch: int) -> PatchSamples:
        """The patches of another epoch."""
        return PatchSamples(
            self._samples,
            self._size,
            self._count,
            balanced=self._balanced,
            seed=self._seed,
            epoch=epoch,
            pixels=self._pixels,
        )

    def __len__(self) -> int:
        return self._count

    def _sample(self, number: int) -> Sample:
        rng = np.random.default_rng([self._seed, self._epoch, number])
        totals = self._pixels.sum(axis=0)[self._present]
        label = int(rng.choice(self._present, p=None if self._balanced else totals / totals.sum()))
        having = self._pixels[:, label]
        sample = self._samples[int(rng.choice(len(having), p=having / having.sum()))]
        assigned = np.flatnonzero(np.asarray(sample.masks).ravel() == label)
        row, column = divmod(int(assigned[rng.integers(len(assigned))]), sample.size[1])
        return patch(sample, row, column, self._size)


def patch(sample: Sample, row: int, column: int, size: tuple[int, int]) -> Sample:
    """The (height, width) part around a pixel, moved inside the picture; a smaller one is mirrored at its border."""
    top, left = row - size[0] // 2, column - size[1] // 2
    if sample.size[0] >= size[0] and sample.size[1] >= size[1]:
        top, left = min(max(top, 0), sample.size[0] - size[0]), min(max(left, 0), sample.size[1] - size[1])
        return crop(sample, top, left, *size)
    top = min(max(top, 0), sample.size[0] - size[0]) if sample.size[0] >= size[0] else (sample.size[0] - size[0]) // 2
    left = min(max(left, 0), sample.size[1] - size[1]) if sample.size[1] >= size[1] else (sample.size[1] - size[1]) // 2
    return warp(sample, Warp(translation(-left, -top), size), border="reflect")


def tiles(sample: Sample, size: tuple[int, int]) -> list[Sample]:
    """Parts of (height, width) that together cover the picture, from left to right and down; the last ones overlap."""
    rows, columns = (_starts(whole, part) for whole, part in zip(sample.size, size, strict=True))
    return [patch(sample, top + size[0] // 2, left + size[1] // 2, size) for top in rows for left in columns]


def _starts(whole: int, part: int) -> list[int]:
    count = max(1, -(-whole // part))
    return [min(index * part, max(0, whole - part)) for index in range(count)]
