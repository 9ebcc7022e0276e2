"""What goes wrong with ``.npy`` and ``.npz`` files of unknown origin."""

from __future__ import annotations

import tokenize
import zipfile
import zlib

# What numpy, zipfile, zlib and json raise between them on content that is none of theirs, or claims what is not there.
UNREADABLE = (
    ValueError, TypeError, KeyError, AttributeError, OSError, EOFError, MemoryError, OverflowError, RuntimeError,
    SyntaxError, tokenize.TokenError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip

_LONGEST = 200  # characters


def reason(error: BaseException) -> str:
    """What an error of `UNREADABLE` says, in one short line; its kind where it says nothing."""
    return " ".join(str(error).split())[:_LONGEST] or type(error).__name__
