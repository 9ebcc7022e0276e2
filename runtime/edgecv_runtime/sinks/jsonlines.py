"""Results as JSON Lines: one object a line, each line written whole or not at all."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

from edgecv_runtime.errors import OutputError
from edgecv_runtime.pipeline.outcome import Outcome
from edgecv_runtime.plain_json import json_text


class JsonLinesSink:
    """Append each outcome to a file as one line of JSON.

    Every line goes to the system in one piece before the next outcome is taken: whoever follows the file sees it at
    once. A file that is there already is continued. Where a line cannot be written whole (a full disk), what came of it
    is cut off again, so that every line of the file can be read.

    Parameters
    ----------
    path : str or Path
        ``"-"``: stdout.

    Raises
    ------
    OutputError
        The file cannot be opened.
    """

    def __init__(self, path: str | Path) -> None:
        self.name = "stdout" if str(path) == "-" else str(path)
        self._descriptor: int | None = None
        if str(path) == "-":
            return
        try:
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise OutputError(f"cannot write {path}: {error.strerror or error}") from None
        # A pipe or a terminal has no end that could be cut off.
        self._is_file = stat.S_ISREG(os.fstat(self._descriptor).st_mode)
        self._end_cut_line()

    def write(self, outcome: Outcome) -> None:
        """Append one line.

        Raises
        ------
        OutputError
            The line cannot be written; those before it are whole.
        """
        line = json_text(outcome.to_dict()) + "\n"
        if self.name == "stdout" and self._descriptor is None:
            sys.stdout.write(line)
            sys.stdout.flush()
            return
        if self._descriptor is None:
            raise OutputError(f"{self.name} is closed: no further result can be written")
        self._append(self._descriptor, line.encode())

    def _append(self, descriptor: int, line: bytes) -> None:
        whole = os.fstat(descriptor).st_size if self._is_file else 0
        done = 0
        try:
            while done < len(line):
                done += os.write(descriptor, line[done:])
        except OSError as error:
            if self._is_file and done:
                os.ftruncate(descriptor, whole)  # shrinking needs no space
            raise OutputError(
                f"cannot write to {self.name}: {error.strerror or error}; its {whole:,} bytes so far are whole"
            ) from None

    def _end_cut_line(self) -> None:
        """A line that a power cut left without its end must not swallow the first of ours."""
        if self._descriptor is None or not self._is_file:
            return
        size = os.fstat(self._descriptor).st_size
        if size and os.pread(self._descriptor, 1, size - 1) != b"\n":
            self._append(self._descriptor, b"\n")

    def close(self) -> None:
        """Hand the file to the disk and close it. Calling it again does nothing."""
        if self._descriptor is None:
            return
        descriptor, self._descriptor = self._descriptor, None
        try:
            if self._is_file:
                os.fsync(descriptor)
        except OSError as error:
            raise OutputError(f"{self.name} may not have reached the disk: {error.strerror or error}") from None
        finally:
            os.close(descriptor)

    def __repr__(self) -> str:
        return f"<JsonLinesSink {self.name}>"
