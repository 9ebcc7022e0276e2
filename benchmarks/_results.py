"""A table of results as a page of its own, for ``benchmarks/results``: with its date, its libraries and its machine."""

from __future__ import annotations

import datetime
import importlib.metadata
from collections.abc import Sequence
from pathlib import Path

import _common


def write_markdown(
    path: Path,
    title: str,
    paragraphs: Sequence[str],
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    distributions: Sequence[str],
) -> None:
    """Write a page with one table.

    Parameters
    ----------
    path : Path
    title : str
    paragraphs : sequence of str
        What was measured and how, before the table.
    header, rows : sequence of str
    distributions : sequence of str
        Installed ones whose versions matter.
    """
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in distributions)
    today = datetime.datetime.now(tz=datetime.UTC).date().isoformat()
    lines = [f"# {title}", "", f"{today}; {versions}; {_common.machine_line()}.", ""]
    for paragraph in paragraphs:
        lines += [paragraph, ""]
    lines += [_line(header), _line(["---"] * len(header)), *(_line(row) for row in rows), ""]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines), encoding="utf-8")


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"
