"""Signals and volumes to calibrate on: from files, or from arrays."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecv_export.calibration import LIMIT, CalibrationImages, SkippedFiles, spaced
from edgecv_runtime.arrays import examples, list_array_files, read_array_file
from edgecv_runtime.errors import InputError
from edgecv_runtime.manifest import ARRAY_LAYOUTS, InputSpec


def load_arrays(source: Any, spec: InputSpec, limit: int = LIMIT) -> CalibrationImages:
    """Load signals or volumes.

    Parameters
    ----------
    source : folder, path of a ``.npy`` or ``.npz`` file, sequence of arrays and paths, or one array of all
        A file, or an array of a sequence, holds one example or a stack of them. From more than `limit` examples, evenly
        spaced ones are taken.
    spec : InputSpec
    limit : int

    Raises
    ------
    MissingFileError
        No such folder or file.
    InputError
        There is none, not one can be read, or an array has another shape.

    Warns
    -----
    RuntimeWarning
        For each file that cannot be read; it is skipped and counted.
    """
    kind = ARRAY_LAYOUTS[spec.layout]
    skipped = SkippedFiles(kind)
    found: list[npt.NDArray[np.float32]] = []
    for origin, item in _items(source):
        with skipped.allowed(item):
            arrays = read_array_file(item) if isinstance(item, str | Path) else [item]
            found += examples(arrays, spec, origin)
    if not found:
        raise InputError(f"calibration needs at least one {kind} of shape {spec.shape[1:]}; received none")
    return CalibrationImages(tuple(found[index] for index in spaced(len(found), limit)), skipped.count)


def _items(source: Any) -> Iterator[tuple[str, Any]]:
    """Files and arrays, with what to call each in a message."""
    if isinstance(source, str | Path):
        yield from ((str(path), path) for path in list_array_files(source))
    elif isinstance(source, np.ndarray):
        yield "calibration", source
    else:
        for number, item in enumerate(source):
            yield (str(item) if isinstance(item, str | Path) else f"calibration[{number}]"), item


def generated_arrays(count: int, spec: InputSpec, seed: int = 0) -> tuple[npt.NDArray[np.float32], ...]:
    """Arrays for a parity contract where no real ones are given: waves and noise, of about the normalised scale.

    They exercise every channel; they say nothing about accuracy.

    Parameters
    ----------
    count : int
    spec : InputSpec
    seed : int
    """
    generator = np.random.default_rng(seed)
    *lengths, channels = (size or 1 for size in spec.shape[1:])
    places = np.meshgrid(*(np.linspace(0, 1, length) for length in lengths), indexing="ij")
    mean, std = (0.0, 1.0) if spec.normalization is None else (spec.normalization.mean, spec.normalization.std)
    arrays = []
    for _ in range(count):
        turns = generator.uniform(-4, 4, (channels, len(lengths)))
        phases = generator.uniform(0, 2 * np.pi, channels)
        waves = [
            np.sin(2 * np.pi * sum(turn * place for turn, place in zip(row, places, strict=True)) + phase)
            for row, phase in zip(turns, phases, strict=True)
        ]
        values = np.stack(waves, axis=-1) + generator.normal(0, 0.3, (*lengths, channels))
        arrays.append((values * std + mean).astype(np.float32))
    return tuple(arrays)
