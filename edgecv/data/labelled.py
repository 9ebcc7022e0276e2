"""Labelled pictures to train on: ``DIR/<class>/*.jpg``, or ``DIR/labels.csv`` beside ``DIR/images``; and arrays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgecv.augment.sample import ArraySample, Sample
from edgecv.data.cache import CACHE_BYTES, StreamedSamples
from edgecv.models.registry import Preprocessing
from edgecv_runtime.errors import InputError
from edgecv_runtime.evaluate import LABELS_FILE, Labelled, read_labelled_images
from edgecv_runtime.files import existing_folder
from edgecv_runtime.images import Image
from edgecv_runtime.labelled_arrays import read_labelled_arrays
from edgecv_runtime.manifest import InputSpec, Layout
from edgecv_runtime.preprocess import Preprocessor

_ANY_CLASS = 1 << 31  # of a list, whose class indices tell how many classes there are


@dataclass(frozen=True)
class LabelledPictures:
    """Picture files, or signals or volumes in files, and their classes.

    Attributes
    ----------
    items : tuple of LabelledImage, or of LabelledArray
    names : tuple of str, or None
        Of the classes, in the order of the index; None where a list gives only numbers.
    classes : int
        How many there are: of a list, the largest index and one.
    """

    items: tuple[Labelled, ...]
    names: tuple[str, ...] | None
    classes: int

    @property
    def labels(self) -> npt.NDArray[np.int64]:
        """(N,) class indices."""
        return np.array([item.class_index for item in self.items], np.int64)


def read_labelled(
    source: str | Path,
    names: tuple[str, ...] | None = None,
    classes: int = 0,
    input_shape: Sequence[int] | None = None,
) -> LabelledPictures:
    """Find labelled pictures, or arrays; the folders' names, in order, are the classes.

    Parameters
    ----------
    source : str or Path
        A folder as above, or its ``labels.csv`` itself.
    names : tuple of str, optional
        The classes, for pictures that must have the same ones, such as those held out.
    classes : int
        With or instead of `names`: how many there are.
    input_shape : (length, channels) or (depth, height, width, channels), optional
        Of a network of signals or volumes: then ``.npy`` and ``.npz`` files are meant, each of which holds one of that
        shape, or a stack of them.

    Raises
    ------
    MissingFileError
        No such folder.
    InputError
        It is laid out otherwise; a class without pictures.
    """
    folder = Path(source)
    if folder.name == LABELS_FILE and folder.is_file():
        folder = folder.parent
    read: Callable[..., Sequence[Labelled]] = read_labelled_images
    if input_shape is not None and len(input_shape) != 3:
        read = partial(read_labelled_arrays, spec=array_spec(input_shape))
    if names is not None or classes:
        count = classes or len(names or ())
        return LabelledPictures(tuple(read(folder, names, count)), names, count)
    existing_folder(folder)
    if (folder / LABELS_FILE).is_file():
        items = read(folder, None, _ANY_CLASS)
        found, own = max(item.class_index for item in items) + 1, None
    else:
        own = tuple(_in_order([path.name for path in folder.iterdir() if path.is_dir() and path.name[0] != "."]))
        if not own:
            raise InputError(f"{folder} holds no labelled image: DIR/<class>/*.jpg or DIR/{LABELS_FILE} is required")
        items = read(folder, own, len(own))
        found = len(own)
    empty = sorted(set(range(found)) - {item.class_index for item in items})
    if empty:
        which = own[empty[0]] if own else f"index {empty[0]}"
        raise InputError(
            f"every class needs pictures; {folder} has none for {which}"
            + (f" and {len(empty) - 1} more" if len(empty) > 1 else "")
        )
    return LabelledPictures(tuple(items), own, found)


def _in_order(names: Sequence[str]) -> list[str]:
    """Sorted; folders that are all numbers by number."""
    if all(name.isdecimal() for name in names):
        return sorted(names, key=int)
    return sorted(names)


def input_spec(preprocessing: Preprocessing, input_shape: Sequence[int]) -> InputSpec:
    """What the device does to a picture before it normalises: resized to (height, width, channels), uint8."""
    height, width, channels = input_shape
    return InputSpec(
        name="image",
        shape=(1, height, width, channels),
        dtype="uint8",
        color=preprocessing.color,
        resize=preprocessing.resize_for((height, width)),
    )


def array_spec(input_shape: Sequence[int]) -> InputSpec:
    """A network's input of signals (length, channels), or of volumes (depth, height, width, channels)."""
    layout: Layout = "NWC" if len(input_shape) == 2 else "NDHWC"
    return InputSpec(name="input", shape=(1, *input_shape), dtype="float32", layout=layout)


def labelled_samples(
    pictures: LabelledPictures,
    preprocessing: Preprocessing,
    input_shape: Sequence[int],
    cache_bytes: int | None = CACHE_BYTES,
) -> StreamedSamples:
    """The pictures at a network's input size, resized as on the device; signals and volumes as they are.

    Parameters
    ----------
    pictures : LabelledPictures
    preprocessing : Preprocessing
        Of the network's record.
    input_shape : (height, width, channels)
        Or of signals and volumes, as of `array_spec`.
    cache_bytes : int or None
        As of `StreamedSamples`.

    Raises
    ------
    InputError, MissingFileError
        When a picture that cannot be read is asked for.
    """
    count, items = len(pictures.items), pictures.items
    if len(input_shape) != 3:
        return StreamedSamples(count, lambda number: ArraySample(items[number].read()), cache_bytes)
    return resized_samples(count, lambda number: items[number].read(), preprocessing, input_shape, cache_bytes)


def resized_samples(
    count: int,
    read: Callable[[int], Image],
    preprocessing: Preprocessing,
    input_shape: Sequence[int],
    cache_bytes: int | None,
) -> StreamedSamples:
    """So many pictures, each from `read` when it is asked for, resized as on the device."""
    preprocessor = Preprocessor(input_spec(preprocessing, input_shape))
    return StreamedSamples(count, lambda number: Sample(preprocessor(read(number))[0][0]), cache_bytes)


def hold_out(labels: npt.NDArray[np.int64], share: float, seed: int = 0) -> npt.NDArray[np.bool_]:
    """Which pictures to keep aside: the share of each class, at least one where it has two.

    Parameters
    ----------
    labels : (N,) int
    share : float in (0, 1)
    seed : int

    Returns
    -------
    (N,) bool

    Raises
    ------
    InputError
        The share is out of range, or nothing can be kept aside.
    """
    if not 0 < share < 1:
        raise InputError(f"the share held out must be between 0 and 1; received {share}")
    generator = np.random.default_rng(seed)
    aside = np.zeros(len(labels), np.bool_)
    for label in np.unique(labels).tolist():
        own = np.flatnonzero(labels == label)
        count = min(len(own) - 1, max(1, round(share * len(own))))
        aside[generator.permutation(own)[:count]] = True
    if not aside.any():
        raise InputError(f"to hold pictures out, a class must have two; the {len(labels)} pictures are of one each")
    return aside
