"""Rows read straight from the pages of a SQLite file, one page at a time, whatever became of the others.

SQLite itself stops at the first page that makes no sense. For `repair` every leaf page is read by itself, as the file
format documents it (https://www.sqlite.org/fileformat2.html, sections 1.6, 2.1 and 4); whether a row can be trusted is
for its checksum to say.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from edgecv_runtime.gallery.sqlite_schema import PAGE_SIZE

Value: TypeAlias = "int | float | bytes | str | None"

TABLE_LEAF, INDEX_LEAF, INDEX_INTERIOR = 0x0D, 0x0A, 0x02

_FIRST_HEADER = 100  # bytes before the first page's own header
_LOG_MAGIC = (0x377F0682, 0x377F0683)
_LOG_HEADER, _FRAME_HEADER = 32, 24
_INTEGER_BYTES = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8}  # serial type → length


@dataclass(frozen=True)
class Row:
    """One cell of a page: the kind of page, the row's id (0 in an index) and its values."""

    kind: int
    rowid: int
    values: tuple[Value, ...]


def read_rows(path: Path) -> Iterator[Row]:
    """Every row that can be decoded, from the file and from the committed part of its write-ahead log."""
    content = path.read_bytes()
    pages = _pages(content)
    log = Path(f"{path}-wal")
    if log.is_file():
        pages.update(_logged_pages(log.read_bytes()))
    for number in sorted(pages):
        yield from _rows_of(number, pages)


def _pages(content: bytes) -> dict[int, bytes]:
    return {
        start // PAGE_SIZE + 1: content[start : start + PAGE_SIZE].ljust(PAGE_SIZE, b"\0")
        for start in range(0, len(content), PAGE_SIZE)
    }


def _logged_pages(log: bytes) -> dict[int, bytes]:
    """Newest committed version of each page in a write-ahead log (section 4.1 and 4.2)."""
    if len(log) < _LOG_HEADER or struct.unpack_from(">I", log)[0] not in _LOG_MAGIC:
        return {}
    salts = log[16:24]
    committed: dict[int, bytes] = {}
    waiting: dict[int, bytes] = {}
    size = _FRAME_HEADER + PAGE_SIZE
    for start in range(_LOG_HEADER, len(log) - size + 1, size):
        number, pages_after_commit = struct.unpack_from(">II", log, start)
        if log[start + 8 : start + 16] != salts:  # left over from before the log was last begun anew
            break
        waiting[number] = log[start + _FRAME_HEADER : start + size]
        if pages_after_commit:
            committed.update(waiting)
            waiting = {}
    return committed


def _rows_of(number: int, pages: Mapping[int, bytes]) -> Iterator[Row]:
    page = pages[number]
    header = _FIRST_HEADER if number == 1 else 0
    kind = page[header]
    if kind not in (TABLE_LEAF, INDEX_LEAF, INDEX_INTERIOR):
        return
    (cells,) = struct.unpack_from(">H", page, header + 3)
    pointers = header + (12 if kind == INDEX_INTERIOR else 8)
    for cell in range(min(cells, (PAGE_SIZE - pointers) // 2)):
        (offset,) = struct.unpack_from(">H", page, pointers + 2 * cell)
        try:
            yield _cell(kind, page, offset + (4 if kind == INDEX_INTERIOR else 0), pages)
        except (IndexError, KeyError, ValueError, struct.error):  # this cell is damaged; the next may not be
            continue


def _cell(kind: int, page: bytes, offset: int, pages: Mapping[int, bytes]) -> Row:
    length, offset = _varint(page, offset)
    rowid = 0
    if kind == TABLE_LEAF:
        rowid, offset = _varint(page, offset)
    local = _local_bytes(length, kind)
    payload = page[offset : offset + local]
    if local < length:
        (following,) = struct.unpack_from(">I", page, offset + local)
        payload += _overflow(following, length - local, pages)
    if len(payload) != length:
        raise ValueError("the cell ends beyond its page")
    return Row(kind, rowid, _values(payload))


def _local_bytes(length: int, kind: int) -> int:
    """How much of a payload stands in the page itself (section 1.6); reserved space is 0."""
    most = PAGE_SIZE - 35 if kind == TABLE_LEAF else (PAGE_SIZE - 12) * 64 // 255 - 23
    if length <= most:
        return length
    least = (PAGE_SIZE - 12) * 32 // 255 - 23
    fitting = least + (length - least) % (PAGE_SIZE - 4)
    return fitting if fitting <= most else least


def _overflow(number: int, length: int, pages: Mapping[int, bytes]) -> bytes:
    parts = []
    while length > 0:
        page = pages[number]
        part = page[4 : 4 + min(length, PAGE_SIZE - 4)]
        parts.append(part)
        length -= len(part)
        (number,) = struct.unpack_from(">I", page)
    return b"".join(parts)


def _values(payload: bytes) -> tuple[Value, ...]:
    end, offset = _varint(payload, 0)
    types = []
    while offset < end:
        serial, offset = _varint(payload, offset)
        types.append(serial)
    values = []
    for serial in types:
        value, offset = _value(payload, serial, offset)
        values.append(value)
    if offset != len(payload):
        raise ValueError("the row's length does not fit its columns")
    return tuple(values)


def _value(payload: bytes, serial: int, offset: int) -> tuple[Value, int]:
    if serial == 0:
        return None, offset
    if serial in _INTEGER_BYTES:
        end = offset + _INTEGER_BYTES[serial]
        return int.from_bytes(payload[offset:end], "big", signed=True), end
    if serial == 7:
        return struct.unpack_from(">d", payload, offset)[0], offset + 8
    if serial in (8, 9):
        return serial - 8, offset
    if serial < 12:
        raise ValueError("a serial type that is reserved")
    end = offset + (serial - 12) // 2
    part = payload[offset:end]
    return (part.decode() if serial % 2 else part), end


def _varint(content: bytes, offset: int) -> tuple[int, int]:
    value = 0
    for step in range(9):
        byte = content[offset]
        offset += 1
        if step == 8:
            return value << 8 | byte, offset
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            break
    return value, offset
