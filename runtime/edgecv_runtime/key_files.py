"""Files of keys: made once, whole, and never over another."""

from __future__ import annotations

import os
from pathlib import Path

from edgecv_runtime.errors import OutputError


def write_once(path: Path, content: bytes, mode: int = 0o600) -> None:
    """Write a file that is not there yet, on the disk when this returns.

    Parameters
    ----------
    path : Path
    content : bytes
    mode : int
        Permissions; default: the owner alone may read it.

    Raises
    ------
    OutputError
        The file exists (a key that is overwritten cannot be had back) or cannot be written.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except FileExistsError:
        raise OutputError(f"{path} is there already; a key is never overwritten, choose another name") from None
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from None
