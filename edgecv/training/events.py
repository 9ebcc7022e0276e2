"""TensorBoard's event files, written without TensorBoard or TensorFlow.

A file is a chain of records: length, its checksum, the bytes, their checksum. The bytes are a protocol buffer
`Event` of which these fields are needed here: wall_time 1, step 2, file_version 3 and summary 5, in which value 1 holds
tag 1 and simple_value 2.
"""

from __future__ import annotations

import os
import socket
import struct
import time
from pathlib import Path

from edgecv_runtime.errors import OutputError

_POLYNOMIAL = 0x82F63B78  # CRC-32C (Castagnoli), its bits reversed
_MASK = 0xA282EAD8


def _table() -> tuple[int, ...]:
    rows = []
    for byte in range(256):
        value = byte
        for _ in range(8):
            value = (value >> 1) ^ (_POLYNOMIAL if value & 1 else 0)
        rows.append(value)
    return tuple(rows)


_TABLE = _table()


def crc32c(data: bytes) -> int:
    """The checksum of RFC 3720, appendix B.4."""
    value = 0xFFFFFFFF
    for byte in data:
        value = _TABLE[(value ^ byte) & 0xFF] ^ (value >> 8)
    return value ^ 0xFFFFFFFF


def record(content: bytes) -> bytes:
    """One record of the chain; its checksums are turned and shifted, so that one over another still tells something."""

    def checksum(data: bytes) -> bytes:
        value = crc32c(data)
        return struct.pack("<I", (((value >> 15) | (value << 17)) + _MASK) & 0xFFFFFFFF)

    length = struct.pack("<Q", len(content))
    return length + checksum(length) + content + checksum(content)


def _varint(value: int) -> bytes:
    parts = bytearray()
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*parts, value])


def _message(number: int, content: bytes) -> bytes:
    """A field that holds text or another message."""
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def event(wall_time: float, *, version: str | None = None, step: int = 0, tag: str = "", value: float = 0.0) -> bytes:
    """An `Event`: the one that says the version, or a number at a step."""
    head = _varint(1 << 3 | 1) + struct.pack("<d", wall_time)
    if version is not None:
        return head + _message(3, version.encode())
    number = _message(1, tag.encode()) + _varint(2 << 3 | 5) + struct.pack("<f", value)
    return head + _varint(2 << 3) + _varint(step) + _message(5, _message(1, number))


class EventFile:
    """A new event file in a folder; numbers go in at once.

    Parameters
    ----------
    folder : Path
        Is made if it is not there. Files of earlier runs stay: TensorBoard reads them one after the other.

    Raises
    ------
    OutputError
        It cannot be written to.
    """

    def __init__(self, folder: Path) -> None:
        name = f"events.out.tfevents.{time.time():.6f}.{socket.gethostname()}.{os.getpid()}"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._file = (folder / name).open("ab")
        except OSError as error:
            raise OutputError(f"cannot write to {folder}: {error.strerror or error}") from None
        self._write(event(time.time(), version="brain.Event:2"))

    def scalar(self, tag: str, value: float, step: int) -> None:
        """One number."""
        self._write(event(time.time(), step=step, tag=tag, value=value))

    def _write(self, content: bytes) -> None:
        self._file.write(record(content))
        self._file.flush()

    def close(self) -> None:
        """May be called more than once."""
        self._file.close()
