"""One sample as bytes: what a SQLite gallery keeps in a row, and what `repair` looks for in a damaged file.

A record holds everything about a sample but the name, and ends with a CRC-32 of the rest: a flipped bit in a vector, or
in the number of the person it belongs to, is found when it is read and never opens a door. Records of one gallery have
one length, so that a hundred thousand of them are read with one `numpy.frombuffer`.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

_HEADER = (("id", "<i8"), ("person", "<i4"), ("quality", "<f4"), ("added", "<f8"))

OVERHEAD = 28  # bytes of a record beside its vector: the header and the checksum

# CRC-32 of any bytes followed by their own CRC-32, lowest byte first, is this constant.
_RESIDUE = 0x2144DF1C


def record_type(dimension: int) -> np.dtype[np.void]:
    """The structure of a record with (dimension,) float32 vectors: little-endian, without gaps."""
    return np.dtype([*_HEADER, ("vector", "<f4", (dimension,)), ("checksum", "<u4")])


def pack(
    ids: Sequence[int] | npt.NDArray[Any],
    people: Sequence[int] | npt.NDArray[Any],
    quality: Sequence[float] | npt.NDArray[Any],
    added: Sequence[float] | npt.NDArray[Any],
    vectors: npt.NDArray[np.float32],
) -> list[bytes]:
    """Records of N samples; `vectors` is (N, D)."""
    table = np.zeros(len(ids), record_type(vectors.shape[1]))
    table["id"], table["person"], table["quality"], table["added"] = ids, people, quality, added
    table["vector"] = vectors
    bodies = [row.tobytes()[:-4] for row in table]
    return [body + zlib.crc32(body).to_bytes(4, "little") for body in bodies]


def is_intact(record: bytes) -> bool:
    """Whether the checksum fits."""
    return zlib.crc32(record) == _RESIDUE


def unpack(records: Sequence[bytes], dimension: int) -> npt.NDArray[np.void]:
    """(N,) structured array of `record_type`, read only; every record must be intact and of this dimension."""
    return np.frombuffer(b"".join(records), record_type(dimension))


def dimension_of(record: bytes) -> int | None:
    """Length of the vector in a record; None where no record has this length."""
    size = len(record) - OVERHEAD
    return size // 4 if size > 0 and size % 4 == 0 else None


def vector_bytes(record: bytes) -> bytes:
    """The part of a record that is the vector."""
    return record[OVERHEAD - 4 : -4]
