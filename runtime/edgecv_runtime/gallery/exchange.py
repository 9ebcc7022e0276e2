"""Taking a gallery elsewhere: everything in one ``.npz``, readable with numpy alone.

Members: ``vectors`` (N, D) float32; ``people`` (N,) int32, index into ``names``; ``names`` uint8, the names as a JSON
list in UTF-8; ``quality`` (N,) float32; ``added`` (N,) float64, seconds since 1970-01-01 UTC; ``settings`` uint8, a
JSON object in UTF-8 with ``format_version``, ``dimension``, ``distance``, ``fingerprint`` and, where there are any,
``weights`` and ``calibration``.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecv_runtime.bundle import write_atomically
from edgecv_runtime.errors import InputError, NewerFormatError, OutputError
from edgecv_runtime.files import existing_file
from edgecv_runtime.gallery.names import check_name
from edgecv_runtime.gallery.store import (
    CALIBRATION,
    DIMENSION,
    DISTANCE,
    FINGERPRINT,
    WEIGHTS,
    GalleryError,
    NewSample,
    Samples,
)
from edgecv_runtime.npz import UNREADABLE, reason

FORMAT_VERSION = 1
SUFFIX = ".npz"

_SETTINGS = (DIMENSION, DISTANCE, WEIGHTS, FINGERPRINT, CALIBRATION)


@dataclass(frozen=True)
class Exchange:
    """What an exported file holds.

    Attributes
    ----------
    samples : list of NewSample
    settings : Mapping of str to str
        `DIMENSION`, `DISTANCE`, `FINGERPRINT` and perhaps `CALIBRATION`, as a store keeps them.
    """

    samples: list[NewSample]
    settings: Mapping[str, str]


def write_exchange(path: str | Path, samples: Samples, settings: Mapping[str, str]) -> None:
    """Write an ``.npz`` in one step; an existing one is replaced.

    Raises
    ------
    InputError
        The name does not end in ``.npz``.
    OutputError
        It cannot be written; nothing was left behind.
    """
    path = Path(path)
    if path.suffix != SUFFIX:
        raise InputError(f"an exported gallery's name must end in {SUFFIX}; received {path.name!r}")
    if not path.parent.is_dir():
        raise OutputError(f"cannot write {path}: there is no folder {path.parent}")
    kept = {key: settings[key] for key in _SETTINGS if key in settings}
    buffer = io.BytesIO()
    np.savez(
        buffer,
        vectors=samples.vectors,
        people=samples.people,
        names=_text(list(samples.names)),
        quality=samples.quality,
        added=samples.added,
        settings=_text({"format_version": FORMAT_VERSION, **kept}),
    )
    write_atomically(path, buffer.getvalue())


def read_exchange(path: str | Path) -> Exchange:
    """Read and check what `write_exchange` wrote, here or elsewhere.

    Raises
    ------
    MissingFileError
    NewerFormatError
    GalleryError
        It is damaged or not an exported gallery.
    InputError
        A name in it may not be one, or a vector is not finite.
    """
    path = existing_file(path, "exported gallery")
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            members = {name: archive[name] for name in archive.files}
        settings = json.loads(members["settings"].tobytes())
        names = json.loads(members["names"].tobytes())
        columns = [members[name] for name in ("people", "vectors", "quality", "added")]
    except UNREADABLE as error:
        raise GalleryError(f"{path} is not an exported gallery, or is damaged ({reason(error)})") from None
    _check_settings(path, settings)
    people, vectors, quality, added = _check_columns(path, columns, len(names), int(settings[DIMENSION]))
    checked = [check_name(name) for name in names]
    samples = [
        NewSample(checked[person], vector, float(value), float(moment))
        for person, vector, value, moment in zip(people.tolist(), vectors, quality, added, strict=True)
    ]
    return Exchange(samples, {key: settings[key] for key in _SETTINGS if key in settings})


def _text(value: Any) -> npt.NDArray[np.uint8]:
    return np.frombuffer(json.dumps(value, ensure_ascii=False).encode(), np.uint8)


def _check_settings(path: Path, settings: Any) -> None:
    version = settings.get("format_version") if isinstance(settings, dict) else None
    if not isinstance(version, int):
        raise GalleryError(f"{path} is not an exported gallery: it has no format version")
    if version > FORMAT_VERSION:
        raise NewerFormatError(
            f"{path} has format version {version}; this edgecv reads up to {FORMAT_VERSION}: "
            "pip install --upgrade edgecv-runtime"
        )
    for key in _SETTINGS:
        if not isinstance(settings.get(key, ""), str):
            raise GalleryError(f"{path} is damaged: its setting {key!r} is not text")
    if not settings.get(DIMENSION, "").isdecimal():
        raise GalleryError(f"{path} is damaged: it does not say how long its vectors are")


def _check_columns(path: Path, columns: list[npt.NDArray[Any]], people: int, dimension: int) -> list[npt.NDArray[Any]]:
    owners, vectors, quality, added = columns
    count = len(owners) if owners.ndim == 1 else -1
    kinds = (owners.dtype.kind, *(str(column.dtype) for column in (vectors, quality, added)))
    shapes = (vectors.shape, quality.shape, added.shape)
    if kinds != ("i", "float32", "float32", "float64") or shapes != ((count, dimension), (count,), (count,)):
        raise GalleryError(f"{path} is damaged: its columns do not fit each other")
    if count and (owners.min() < 0 or owners.max() >= people):
        raise GalleryError(f"{path} is damaged: a sample belongs to nobody")
    if not (np.isfinite(vectors).all() and np.isfinite(added).all()):
        raise InputError(f"vectors must be finite; {path} has some that are not")
    return columns
