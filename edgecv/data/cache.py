"""Pictures that are read when they are asked for, and kept as far as memory was granted."""

from __future__ import annotations

import threading
from collections.abc import Callable

from edgecv.augment.sample import Sample
from edgecv.data.sequence import LazySamples
from edgecv_runtime.errors import InputError

CACHE_BYTES = 512 << 20


class StreamedSamples(LazySamples):
    """So many samples, each read when it is asked for.

    What fits the cache stays there. An epoch asks for every picture once, in an order of its own: a cache that threw
    out the least recently used would throw out each picture shortly before its turn.

    Parameters
    ----------
    count : int
    read : callable
        From a number in 0..count-1 to its sample.
    cache_bytes : int or None
        How much may be kept; None keeps everything, 0 nothing.

    Raises
    ------
    InputError
        A negative cache.

    Examples
    --------
    >>> import numpy as np
    >>> samples = StreamedSamples(3, lambda number: Sample(np.full((2, 2, 3), number, np.uint8)), cache_bytes=24)
    >>> int(samples[2].image[0, 0, 0]), int(samples[0].image[0, 0, 0]), int(samples[1].image[0, 0, 0])
    (2, 0, 1)
    >>> samples.cached_bytes
    24
    """

    def __init__(self, count: int, read: Callable[[int], Sample], cache_bytes: int | None = CACHE_BYTES) -> None:
        if cache_bytes is not None and cache_bytes < 0:
            raise InputError(f"cache_bytes must be at least 0, or None for no limit; received {cache_bytes}")
        self._count, self._read, self._limit = count, read, cache_bytes
        self._kept: dict[int, Sample] = {}
        self._lock = threading.Lock()
        self.cached_bytes = 0

    def __len__(self) -> int:
        return self._count

    def _sample(self, number: int) -> Sample:
        kept = self._kept.get(number)
        if kept is not None:
            return kept
        sample = self._read(number)
        size = _size(sample)
        with self._lock:
            if number not in self._kept and (self._limit is None or self.cached_bytes + size <= self._limit):
                self._kept[number] = sample
                self.cached_bytes += size
        return sample


def _size(sample: Sample) -> int:
    arrays = (sample.image, sample.boxes, sample.classes, sample.masks, sample.keypoints)
    return sum(array.nbytes for array in arrays if array is not None)
