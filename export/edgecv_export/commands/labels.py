"""Class names from a text file."""

from __future__ import annotations

from pathlib import Path

from edgecv_runtime.errors import InputError, MissingFileError


def read_labels(path: str | Path) -> list[str]:
    """Class names, one a line, in the order of the class index. Blank lines at the end do not count.

    Raises
    ------
    MissingFileError
        No such file.
    InputError
        It is empty or not UTF-8 text.
    """
    path = Path(path)
    if not path.is_file():
        raise MissingFileError(f"no label file at {path}")
    try:
        lines = path.read_text(encoding="utf-8-sig").rstrip().splitlines()
    except UnicodeDecodeError:
        raise InputError(f"{path} must be UTF-8 text, one class name a line") from None
    if not lines:
        raise InputError(f"{path} is empty: one class name a line is required")
    return [line.strip() for line in lines]
