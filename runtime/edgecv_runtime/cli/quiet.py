"""Inference libraries write remarks to the process's own stderr, past Python: keep them from the terminal."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def native_remarks_silenced() -> Iterator[None]:
    """Send what native code writes to file descriptor 2 to nowhere; Python's ``sys.stderr`` stays as it is.

    For a program, not a library: the descriptor belongs to the whole process. Nothing happens where ``sys.stderr``
    is not that descriptor (it is captured, or there is none). Python exceptions are not lost: they do not travel by
    stderr.
    """
    stderr = sys.stderr
    try:
        is_process_stderr = stderr is not None and stderr.fileno() == 2
    except (OSError, ValueError, io.UnsupportedOperation):
        is_process_stderr = False
    if not is_process_stderr:
        yield
        return
    stderr.flush()
    saved = os.dup(2)
    null = os.open(os.devnull, os.O_WRONLY)
    with os.fdopen(os.dup(saved), "w", buffering=1, encoding=stderr.encoding, errors=stderr.errors) as terminal:
        try:
            os.dup2(null, 2)
            sys.stderr = terminal
            yield
        finally:
            sys.stderr = stderr
            os.dup2(saved, 2)
            os.close(saved)
            os.close(null)
