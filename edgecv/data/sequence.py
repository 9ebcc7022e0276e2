"""Samples that are made when they are asked for."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import overload

from edgecv.augment.sample import Sample


class LazySamples(Sequence[Sample]):
    """A sequence whose samples `_sample` makes, one at a time; a slice is a list of them."""

    @overload
    def __getitem__(self, number: int) -> Sample: ...
    @overload
    def __getitem__(self, number: slice) -> list[Sample]: ...
    def __getitem__(self, number: int | slice) -> Sample | list[Sample]:
        if isinstance(number, slice):
            return [self._sample(index) for index in range(*number.indices(len(self)))]
        if not 0 <= number < len(self):
            raise IndexError(f"there are {len(self)} samples; received number {number}")
        return self._sample(number)

    @abstractmethod
    def _sample(self, number: int) -> Sample:
        """Sample `number` of 0..len - 1."""
