"""Calibration images: from a folder, a list of files or arrays, through the runtime's own preprocessing."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecv_runtime.errors import InputError
from edgecv_runtime.images import Image, as_rgb, list_images, read_image
from edgecv_runtime.progress import track

# More images change ranges and means little, and cost time and memory.
LIMIT = 200


@dataclass(frozen=True, eq=False)
class CalibrationImages:
    """Pictures to calibrate on.

    Attributes
    ----------
    images : tuple of (H, W, 3) uint8 RGB
        Of a model that takes no pictures: float32 arrays of its input's shape.
    skipped : int
        Files that could not be read.
    """

    images: tuple[npt.NDArray[Any], ...]
    skipped: int = 0


def load_calibration(
    source: str | Path | Sequence[Any] | npt.NDArray[np.uint8], limit: int = LIMIT
) -> CalibrationImages:
    """Load calibration images.

    Parameters
    ----------
    source : folder, or sequence of arrays and paths, or (N, H, W, C) uint8 array
        Of a folder all images below it are meant; from more than `limit`, evenly spaced ones are taken.
    limit : int
        Most images taken.

    Raises
    ------
    MissingFileError
        No such folder.
    InputError
        It holds no image, or not one that can be read.

    Warns
    -----
    RuntimeWarning
        For each file that cannot be read; it is skipped and counted.
    """
    items: Any = list_images(source) if isinstance(source, str | Path) else source
    if isinstance(items, np.ndarray) and items.ndim != 4:
        raise InputError(f"a calibration array must be (N, H, W, C); received shape {items.shape}")
    if len(items) == 0:
        raise InputError("calibration needs at least one image; received none")
    chosen = spaced(len(items), limit)
    images: list[Image] = []
    skipped = SkippedFiles("image")
    for index in track(chosen, len(chosen), "reading calibration images", "images"):
        item = items[index]
        with skipped.allowed(item):
            images.append(read_image(item) if isinstance(item, str | Path) else as_rgb(item))
    if not images:
        raise InputError(f"not one of the {len(chosen)} calibration images could be read")
    return CalibrationImages(tuple(images), skipped.count)


def spaced(count: int, limit: int) -> list[int]:
    """Numbers of 0..count - 1, at most `limit` of them, evenly spaced from the first to the last."""
    chosen: list[int] = np.linspace(0, count - 1, min(limit, count)).round().astype(int).tolist()
    return chosen


class SkippedFiles:
    """Counts the files that cannot be read, with a warning for each; what is given as an array must be right.

    Parameters
    ----------
    kind : str
        What a file holds, for the warning.

    Attributes
    ----------
    count : int
    """

    def __init__(self, kind: str) -> None:
        self.kind, self.count = kind, 0

    @contextmanager
    def allowed(self, item: Any) -> Iterator[None]:
        """Around the reading of one item: a path, or an array."""
        try:
            yield
        except (InputError, FileNotFoundError) as error:
            if not isinstance(item, str | Path):
                raise
            self.count += 1
            warnings.warn(f"calibration {self.kind} skipped: {error}", RuntimeWarning, stacklevel=4)


def generated_images(count: int, size: tuple[int, int], seed: int = 0) -> tuple[Image, ...]:
    """Pictures for a parity contract where no real ones are given: smooth colour fields, edges and noise.

    They exercise every channel and the whole range of values; they say nothing about accuracy.

    Parameters
    ----------
    count : int
    size : (height, width)
    seed : int
    """
    generator = np.random.default_rng(seed)
    height, width = size
    y, x = np.mgrid[0 : 1 : complex(height), 0 : 1 : complex(width)]
    images = []
    for _ in range(count):
        waves = [
            np.sin(2 * np.pi * (fx * x + fy * y) + phase)
            for fx, fy, phase in generator.uniform((-3, -3, 0), (3, 3, 6.3), (3, 3))
        ]
        field = np.stack(waves, axis=-1) + generator.normal(0, 0.1, (height, width, 3))
        left, right = np.sort(generator.integers(0, width, 2))
        top, bottom = np.sort(generator.integers(0, height, 2))
        field[top:bottom, left:right] = generator.uniform(-1, 1, 3)
        images.append(np.clip(127.5 + 100 * field, 0, 255).astype(np.uint8))
    return tuple(images)


def contract_pictures(size: tuple[int, int], count: int = 16) -> tuple[Image, ...]:
    """Generated pictures for a model of that input size: larger and of another shape.

    A contract whose pictures had the input's own size could not see the resize: it would prove half the road.
    """
    height, width = size
    return generated_images(count, (height * 8 // 7, width * 10 // 7))
