"""Writing to the terminal: results on stdout, remarks on stderr."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, TextIO

from edgecv_runtime.plain_json import json_text


def say(text: str = "") -> None:
    """One line on stdout."""
    _write(sys.stdout, text)


def remark(text: str) -> None:
    """One line on stderr."""
    _write(sys.stderr, text)


def _write(stream: TextIO, text: str) -> None:
    try:
        stream.write(f"{text}\n")
    except UnicodeEncodeError:  # a terminal that is not UTF-8 gets "?" for what it cannot show
        encoding = stream.encoding or "ascii"
        stream.write(f"{text}\n".encode(encoding, "replace").decode(encoding))


def say_json(value: Any, *, indent: int | None = 2) -> None:
    """A JSON document on stdout; a number that is not finite becomes null, as JSON knows none."""
    say(json_text(value, indent=indent))


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns in line: text to the left, figures to the right."""
    cells = [list(header), *[list(row) for row in rows]]
    widths = [max(len(row[column]) for row in cells) for column in range(len(header))]
    figures = [all(_is_figure(row[column]) for row in rows) and bool(rows) for column in range(len(header))]
    lines = [
        "  ".join(
            cell.rjust(width) if figure else cell.ljust(width)
            for cell, width, figure in zip(row, widths, figures, strict=True)
        ).rstrip()
        for row in cells
    ]
    lines.insert(1, "  ".join("─" * width for width in widths))
    return "\n".join(lines)


def _is_figure(cell: str) -> bool:
    return not cell.strip() or cell.strip()[0].isdigit() or cell.strip()[0] in "+-−–≤±"


def kilobytes(size: int) -> str:
    """Bytes as kB (10³ bytes), with a thousands separator."""
    return f"{size / 1e3:,.0f} kB"
