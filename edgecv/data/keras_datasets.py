"""MNIST, Fashion-MNIST, CIFAR-10 and CIFAR-100, through Keras's loaders."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecv.data.cache import CACHE_BYTES, StreamedSamples
from edgecv.data.labelled import resized_samples
from edgecv.models.registry import Preprocessing
from edgecv_runtime.errors import InputError, MissingFileError

_DIGITS = tuple("0123456789")
_CLOTHES = ("T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")
_CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

DATASETS: dict[str, tuple[str, tuple[str, ...] | None]] = {
    "mnist": ("mnist", _DIGITS),
    "fashion_mnist": ("fashion_mnist", _CLOTHES),
    "cifar10": ("cifar10", _CIFAR10),
    "cifar100": ("cifar100", None),
}
"""Name: Keras's module, and the names of the classes where there are few."""


@dataclass(frozen=True, eq=False)
class ArrayDataset:
    """Pictures in memory.

    Attributes
    ----------
    images : (N, H, W, C) uint8
        C is 1 for grey pictures.
    labels : (N,) int64
    names : tuple of str, or None
    """

    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]
    names: tuple[str, ...] | None

    def __len__(self) -> int:
        return len(self.images)


def load_dataset(name: str) -> tuple[ArrayDataset, ArrayDataset]:
    """The pictures to learn and those to test with. Keras fetches the file once, into its own cache folder.

    Parameters
    ----------
    name : {"mnist", "fashion_mnist", "cifar10", "cifar100"}

    Raises
    ------
    InputError
        No such data set.
    MissingFileError
        It cannot be fetched.
    """
    if name not in DATASETS:
        raise InputError(f"there is no data set {name!r}: there are {', '.join(DATASETS)}")
    module, names = DATASETS[name]
    try:
        parts = importlib.import_module(f"keras.datasets.{module}").load_data()
    except Exception as error:  # noqa: BLE001 - Keras raises a bare Exception when it cannot fetch
        raise MissingFileError(f"{name} cannot be fetched: {' '.join(str(error).split())[:200]}") from None
    learned, test = (_dataset(images, labels, names) for images, labels in parts)
    return learned, test


def _dataset(images: Any, labels: Any, names: tuple[str, ...] | None) -> ArrayDataset:
    pixels = np.asarray(images, np.uint8)
    return ArrayDataset(
        pixels if pixels.ndim == 4 else pixels[..., None], np.asarray(labels, np.int64).reshape(-1), names
    )


def dataset_samples(
    dataset: ArrayDataset,
    preprocessing: Preprocessing,
    input_shape: Sequence[int],
    cache_bytes: int | None = CACHE_BYTES,
) -> StreamedSamples:
    """The pictures at a network's input size and colours, made when they are asked for.

    Parameters
    ----------
    dataset : ArrayDataset
    preprocessing : Preprocessing
        Of the network's record.
    input_shape : (height, width, channels)
    cache_bytes : int or None
        As of `StreamedSamples`.
    """
    return resized_samples(len(dataset), lambda number: dataset.images[number], preprocessing, input_shape, cache_bytes)
