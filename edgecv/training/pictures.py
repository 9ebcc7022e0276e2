"""What there is to learn from, read once from end to end before training begins."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecv.augment.sample import UNLABELLED, Sample
from edgecv.data.cache import CACHE_BYTES
from edgecv.data.keras_datasets import dataset_samples, load_dataset
from edgecv.data.labelled import LabelledPictures, hold_out, labelled_samples
from edgecv.data.masks import mask_samples
from edgecv.data.patches import tiles
from edgecv.data.sequence import LazySamples
from edgecv.models.registry import Preprocessing
from edgecv_runtime.errors import InputError, MissingFileError
from edgecv_runtime.progress import track


@dataclass(frozen=True, eq=False)
class Part:
    """Some of a sequence of samples: those learned, or those held out.

    Attributes
    ----------
    samples : sequence of Sample
    numbers : (N,) int64
        Which of them.
    labels : (N,) int64, or None
        Class indices; of segmenters, the samples hold maps.
    """

    samples: Sequence[Sample]
    numbers: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int64] | None

    def __len__(self) -> int:
        return len(self.numbers)

    def __iter__(self) -> Iterator[Sample]:
        return (self.samples[number] for number in self.numbers.tolist())

    def chosen(self) -> Sequence[Sample]:
        """The samples of this part alone."""
        return _Chosen(self.samples, self.numbers)

    def select(self, chosen: npt.NDArray[np.bool_]) -> Part:
        """Those for which (N,) `chosen` is true."""
        labels = None if self.labels is None else self.labels[chosen]
        return replace(self, numbers=self.numbers[chosen], labels=labels)


class _Chosen(LazySamples):
    """Some of a sequence's samples, still read only when they are asked for."""

    def __init__(self, samples: Sequence[Sample], numbers: npt.NDArray[np.int64]) -> None:
        self._samples, self._numbers = samples, numbers

    def __len__(self) -> int:
        return len(self._numbers)

    def _sample(self, number: int) -> Sample:
        return self._samples[int(self._numbers[number])]


class TileSamples(LazySamples):
    """Samples cut into tiles of one size, which is all that a network of that size can be asked about.

    Parameters
    ----------
    part : Part
    size : (height, width)
    """

    def __init__(self, part: Part, size: tuple[int, int]) -> None:
        self._samples, self._size = part.chosen(), size
        self._places = [
            (number, place) for number, sample in enumerate(part) for place in range(len(tiles(sample, size)))
        ]

    def __len__(self) -> int:
        return len(self._places)

    def _sample(self, number: int) -> Sample:
        picture, place = self._places[number]
        return tiles(self._samples[picture], self._size)[place]


@dataclass(frozen=True, eq=False)
class Pictures:
    """What is learned and what is held out.

    Attributes
    ----------
    learned, held_out : Part
    classes : int
    names : tuple of str, or None
    digest : str
        Of all file names and labels.
    skipped : int
        How many could not be read.
    """

    learned: Part
    held_out: Part
    classes: int
    names: tuple[str, ...] | None
    digest: str
    skipped: int = 0


def classified_pictures(
    learned: LabelledPictures,
    held_out: LabelledPictures | float,
    preprocessing: Preprocessing,
    input_shape: Sequence[int],
    seed: int = 0,
    cache_bytes: int | None = CACHE_BYTES,
) -> Pictures:
    """Labelled pictures (signals, volumes), and others or a share of each class of them held out.

    Raises
    ------
    InputError
        Fewer than two classes, or a class of which no picture can be read.

    Warns
    -----
    RuntimeWarning
        For each picture that cannot be read.
    """
    _check_classes(learned)
    parts = []
    skipped = 0
    for pictures in (learned, held_out):
        if isinstance(pictures, LabelledPictures):
            samples = labelled_samples(pictures, preprocessing, input_shape, cache_bytes)
            parts.append(examine(Part(samples, np.arange(len(samples)), pictures.labels)))
            skipped += len(samples) - len(parts[-1])
    readable = np.asarray(parts[0].labels)
    lost = sorted(set(learned.labels.tolist()) - set(readable.tolist()))
    if lost:
        name = learned.names[lost[0]] if learned.names else f"class {lost[0]}"
        raise InputError(f"every class needs pictures that can be read; {name} has none")
    if len(parts) == 1:
        aside = hold_out(readable, float(held_out), seed)  # type: ignore[arg-type]
        parts = [parts[0].select(~aside), parts[0].select(aside)]
    digest = _digest(
        (item.path, item.class_index)
        for pictures in (learned, held_out)
        if isinstance(pictures, LabelledPictures)
        for item in pictures.items
    )
    return Pictures(parts[0], parts[1], learned.classes, learned.names, digest, skipped)


def dataset_pictures(
    name: str,
    held_out: float | None,
    preprocessing: Preprocessing,
    input_shape: Sequence[int],
    seed: int = 0,
    cache_bytes: int | None = CACHE_BYTES,
) -> Pictures:
    """A data set of Keras's: its pictures to learn, and those to test with held out, or a share of the former.

    Raises
    ------
    InputError, MissingFileError
        As `load_dataset` and `hold_out`.
    """
    sets = load_dataset(name)
    learned, test = (
        Part(dataset_samples(part, preprocessing, input_shape, cache_bytes), np.arange(len(part)), part.labels)
        for part in sets
    )
    if held_out is not None:
        aside = hold_out(sets[0].labels, held_out, seed)
        learned, test = learned.select(~aside), learned.select(aside)
    return Pictures(learned, test, int(sets[0].labels.max()) + 1, sets[0].names, name)


def _check_classes(learned: LabelledPictures) -> None:
    present = np.unique(learned.labels)
    if len(learned.items) < learned.classes:
        raise InputError(
            f"training needs at least a picture of each of the {learned.classes} classes; "
            f"received {len(learned.items)} pictures"
        )
    if len(present) < 2:
        only = learned.names[0] if learned.names else f"class {present[0]}"
        raise InputError(f"training needs at least two classes; all {len(learned.items)} pictures are of {only}")


def masked_pictures(
    learned: Sequence[tuple[Path, Path]],
    held_out: Sequence[tuple[Path, Path]] | float,
    preprocessing: Preprocessing,
    input_shape: Sequence[int],
    *,
    classes: int | None = None,
    whole: bool = True,
    seed: int = 0,
    cache_bytes: int | None = CACHE_BYTES,
) -> Pictures:
    """Pictures with maps of classes, and others or a share of them held out.

    Parameters
    ----------
    classes : int, optional
        Default: as many as the maps hold, the largest index and one.
    whole : bool
        As of `mask_samples`.

    Raises
    ------
    InputError
        Fewer than two classes, an index beyond them, or a single picture to learn from and hold out.
    """
    parts = []
    skipped = 0
    for pairs in (learned, held_out):
        if not isinstance(pairs, float):
            samples = mask_samples(pairs, preprocessing, input_shape, whole=whole, cache_bytes=cache_bytes)
            parts.append(examine(Part(samples, np.arange(len(samples)), None)))
            skipped += len(samples) - len(parts[-1])
    present = sorted(
        {value for part in parts for sample in part for value in np.unique(np.asarray(sample.masks)).tolist()}
    )
    labelled = [value for value in present if value != UNLABELLED]
    if len(labelled) < 2:
        hint = " (255 means unlabelled: write class indices from 0 on)" if UNLABELLED in present else ""
        raise InputError(f"training needs masks of at least two classes; they hold {labelled or 'none'}{hint}")
    count = labelled[-1] + 1 if classes is None else classes
    if labelled[-1] >= count:
        raise InputError(f"masks must hold classes 0..{count - 1} and 255; received {labelled[-1]}")
    if len(parts) == 1:
        if len(parts[0]) < 2:
            raise InputError("to hold pictures out, there must be two with masks; there is one: give --eval DIR")
        aside = hold_out(np.zeros(len(parts[0]), np.int64), float(held_out), seed)  # type: ignore[arg-type]
        parts = [parts[0].select(~aside), parts[0].select(aside)]
    digest = _digest(pair for pairs in (learned, held_out) if not isinstance(pairs, float) for pair in pairs)
    return Pictures(parts[0], parts[1], count, None, digest, skipped)


def examine(part: Part) -> Part:
    """The samples that can be read; the others are told of, one warning each.

    Raises
    ------
    InputError
        Not one can be read.
    """
    good = np.ones(len(part), np.bool_)
    for place, number in enumerate(track(part.numbers.tolist(), len(part), "reading pictures", "images")):
        try:
            part.samples[number]
        except (InputError, MissingFileError) as error:
            warnings.warn(f"skipped: {error}", RuntimeWarning, stacklevel=2)
            good[place] = False
    if not good.any():
        raise InputError(f"none of the {len(part)} labelled pictures could be read")
    return part.select(good)


def _digest(entries: Any) -> str:
    digest = hashlib.sha256()
    for path, label in entries:
        digest.update(f"{Path(path).parent.name}/{Path(path).name}\0{getattr(label, 'name', label)}\n".encode())
    return digest.hexdigest()[:16]
