"""Writing to the terminal: results on stdout, remarks on stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any


def say(text: str = "") -> None:
    """One line on stdout."""
    sys.stdout.write(f"{text}\n")


def remark(text: str) -> None:
    """One line on stderr."""
    sys.stderr.write(f"{text}\n")


def say_json(value: Any, *, indent: int | None = 2) -> None:
    """A JSON document on stdout."""
    say(json.dumps(value, indent=indent, ensure_ascii=False))


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
