"""Files that are to be read: whether they are there, and which of a kind lie in a folder."""

from __future__ import annotations

from collections.abc import Set
from pathlib import Path

from edgecv_runtime.errors import InputError, MissingFileError


def existing_file(path: str | Path, kind: str) -> Path:
    """The path of a file that is there.

    Parameters
    ----------
    path : str or Path
    kind : str
        What the file should hold, as the message calls it: ``"image"``.

    Raises
    ------
    MissingFileError
        There is none, or it is a folder.
    """
    path = Path(path)
    if not path.is_file():
        raise MissingFileError(f"no {kind} at {path}" + (" (it is a folder)" if path.is_dir() else ""))
    return path


def existing_folder(folder: str | Path) -> Path:
    """The path of a folder that is there.

    Raises
    ------
    MissingFileError
        There is none, or it is a file.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise MissingFileError(f"no folder at {folder}")
    return folder


def files_below(folder: Path, suffixes: Set[str]) -> list[Path]:
    """The files in a folder and below whose names end in one of some suffixes, in lower or upper case; sorted."""
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in suffixes and path.is_file())


def list_files(folder: str | Path, suffixes: Set[str], kind: str) -> list[Path]:
    """As `files_below`, of a folder that must hold at least one.

    Raises
    ------
    MissingFileError
        No such folder.
    InputError
        It holds none.
    """
    folder = existing_folder(folder)
    paths = files_below(folder, suffixes)
    if not paths:
        raise InputError(f"{folder} holds no {kind} ({', '.join(sorted(suffixes))})")
    return paths
