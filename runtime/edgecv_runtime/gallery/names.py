"""Names of people: which are taken, and a table that keeps a hundred thousand of them in little memory."""

from __future__ import annotations

import unicodedata
import zlib
from collections.abc import Iterable, Sequence
from typing import Any, overload

import numpy as np

from edgecv_runtime.errors import InputError

MAX_LENGTH = 256  # characters

_FEW = 50  # names that are quicker found one by one

# Control characters (Cc), line and paragraph separators (Zl, Zp), half of a surrogate pair (Cs), and what is not
# assigned (Cn): none can be shown, and a line break would forge a second line in a log.
_REFUSED_CATEGORIES = frozenset({"Cc", "Zl", "Zp", "Cs", "Cn"})

# They turn the direction of what follows: "Ada" could be shown as another name (Unicode Technical Report 36, 2.5).
_REFUSED_CHARACTERS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def check_name(name: object) -> str:
    """A name in the form in which galleries keep it.

    Parameters
    ----------
    name : str
        1 to 256 characters of any script, with quotes, emoji or whatever else can be shown; no control characters or
        line breaks, no characters that turn the writing direction, no white space at either end.

    Returns
    -------
    str
        Unicode normal form C: an é typed as one character or as e with an accent is the same name.

    Raises
    ------
    InputError
    """
    if not isinstance(name, str):
        raise InputError(f"a name must be a string; received {type(name).__name__}")
    if not name or len(name) > MAX_LENGTH:
        raise InputError(f"a name must have 1 to {MAX_LENGTH} characters; received {len(name):,}")
    for character in name:
        if unicodedata.category(character) in _REFUSED_CATEGORIES or character in _REFUSED_CHARACTERS:
            raise InputError(
                f"a name must be one line of characters that can be shown; received U+{ord(character):04X} in {name!r}"
            )
    if name != name.strip():
        raise InputError(f"a name must not begin or end with white space; received {name!r}")
    name = unicodedata.normalize("NFC", name)
    if len(name) > MAX_LENGTH:  # a few characters have no composed form and grow
        raise InputError(f"a name must have 1 to {MAX_LENGTH} characters; received {len(name):,}")
    return name


class NameTable(Sequence[str]):
    """Names kept as one run of UTF-8: about 25 bytes a name, where a list of strings takes 70.

    Parameters
    ----------
    names : iterable of str or of bytes
        Bytes are UTF-8.
    """

    def __init__(self, names: Iterable[str] | Iterable[bytes] = ()) -> None:
        encoded = [name.encode() if isinstance(name, str) else name for name in names]
        self._text = bytearray().join(encoded)
        self._ends = np.cumsum(np.fromiter(map(len, encoded), np.int64, count=len(encoded)))
        self._hashes = np.fromiter(map(zlib.crc32, encoded), np.uint32, count=len(encoded))

    @classmethod
    def joined(cls, parts: Sequence[NameTable]) -> NameTable:
        """The names of several tables in one."""
        table = cls()
        table._text = bytearray().join(part._text for part in parts)
        offsets = np.cumsum([0, *(len(part._text) for part in parts)]).tolist()
        moved = [part._ends + offset for part, offset in zip(parts, offsets, strict=False)]
        table._ends = np.concatenate([table._ends, *moved])
        table._hashes = np.concatenate([table._hashes, *(part._hashes for part in parts)])
        return table

    def __len__(self) -> int:
        return len(self._ends)

    @overload
    def __getitem__(self, index: int) -> str: ...

    @overload
    def __getitem__(self, index: slice) -> list[str]: ...

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[position] for position in range(*index.indices(len(self)))]
        start, end = self._span(index)
        return self._text[start:end].decode()

    def extend(self, names: Iterable[str]) -> None:
        """Add names at the end; all at once, since each call copies a few bytes of every name."""
        longer = NameTable.joined([self, NameTable(names)])
        self._text, self._ends, self._hashes = longer._text, longer._ends, longer._hashes

    def set(self, index: int, name: str) -> None:
        """Put another name there; `""` takes it out, and its bytes are gone."""
        start, end = self._span(index)
        encoded = name.encode()
        self._text[start:end] = encoded
        self._ends[index:] += len(encoded) - (end - start)
        self._hashes[index] = zlib.crc32(encoded)

    def find(self, name: str) -> int:
        """Index of a name; −1 where it is not there."""
        for index in np.flatnonzero(self._hashes == zlib.crc32(name.encode())).tolist():
            if name and self[index] == name:
                return int(index)
        return -1

    def find_all(self, names: Sequence[str]) -> list[int]:
        """As `find` for each: many at once are looked up in a table that is made for it."""
        if len(names) < _FEW:
            return [self.find(name) for name in names]
        table = {name: index for index, name in enumerate(self) if name}
        return [table.get(name, -1) for name in names]

    @property
    def nbytes(self) -> int:
        return len(self._text) + self._ends.nbytes + self._hashes.nbytes

    def _span(self, index: int) -> tuple[int, int]:
        position = range(len(self))[index]
        return int(self._ends[position - 1]) if position else 0, int(self._ends[position])
