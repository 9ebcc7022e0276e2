"""Every registered architecture in every format and precision: proven against Keras, or refused with the reason.

    python benchmarks/export_matrix.py [--models M ...] [--formats F ...] [--precisions P ...] [--full-size]
                                       [--json FILE] [--markdown FILE] [--keep]

Each network is built with fresh weights (see `_fresh`), at a reduced size (a small input, and a small width where the
architecture has one to choose) or its own. The export proves the artefact: it runs in the format's own runtime on
pictures and is compared with the Keras model. The weights of int8 artefacts are rounded to nearest, not
learned: the question is whether the network converts. Of a TFLite file the memory of its activations is told and
compared with LiteRT's own arena. What the export refuses, or what fails, is a row with the reason. The table is written
to JSON and Markdown after every network; --keep takes the rows that a former run has written and makes only the others.
"""

from __future__ import annotations

import argparse
import datetime
import gc
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import _common
import numpy.typing as npt
from _fresh import SMALLEST, fresh_network

import edgecv
from edgecv_export.sources import Source, source_of
from edgecv_runtime.bundle import Bundle
from edgecv_runtime.cli.output import table
from edgecv_runtime.errors import EdgecvError
from edgecv_runtime.manifest import FORMATS

PRECISIONS = ("fp32", "int8")

_MEMORY_LIMIT = 0.1
_FRESH_ONLY = (
    "What differs too much with fresh weights need not with trained ones; of detectors see `shapes_exports.md`."
)

_FULL = "its own size"
_SMALL = f"a reduced size (inputs of {SMALLEST} pixels where that is enough, narrow where it has a width to choose)"


@dataclass(frozen=True)
class Row:
    """One combination.

    Attributes
    ----------
    model, format, precision : str
    status : {"proven", "refused", "failed"}
        Refused: an error of ours says why. Failed: anything else went wrong.
    reason : str
        Of a refusal or failure.
    max_abs : float or None
        Largest difference of an output from Keras.
    agreement : float or None
        Share of the pictures whose best class is Keras's; of the pixels, of the objects found. None where the task has
        another figure.
    bytes : int or None
        Size of the artefact.
    parameters : int or None
    seconds : float
    input_shape : tuple of int
    told_arena, arena : int or None
        Bytes of a TFLite file's activations, as told from its graph and as LiteRT lays them out.
    """

    model: str
    format: str
    precision: str
    status: str
    reason: str
    max_abs: float | None
    agreement: float | None
    bytes: int | None
    parameters: int | None
    seconds: float
    input_shape: tuple[int, ...]
    told_arena: int | None = None
    arena: int | None = None

    @property
    def key(self) -> tuple[str, str, str]:
        """What it is a row of."""
        return self.model, self.format, self.precision


def rows_of(name: str, combinations: Sequence[tuple[str, str]], full_size: bool = False) -> list[Row]:
    """Build one network and export it in each of the (format, precision) combinations."""
    model, images = fresh_network(name, full_size)
    source = source_of(model)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "exported.edgecv"
        for format, precision in combinations:
            rows.append(_row(source, name, format, precision, images, path))
            gc.collect()  # TensorFlow's graphs hold copies of the weights, and refer to one another
    return rows


def _row(source: Source, name: str, format: str, precision: str, images: npt.NDArray[Any], path: Path) -> Row:
    from edgecv_export.quantize.recipe import Recipe

    started = time.perf_counter()
    facts: dict[str, Any] = {}
    arena: tuple[int | None, int | None] = (None, None)
    status, reason = "proven", ""
    try:
        recipe = Recipe(adaround=False) if precision == "int8" else None
        exported = edgecv.export(
            source, path, format=format, precision=precision, calibration=images, recipe=recipe, name=name
        )
        facts = exported.report
        if format == "tflite":
            arena = arenas(Bundle(path).artefact().model)
    except EdgecvError as error:
        status, reason = "refused", str(error)
    except Exception as error:  # noqa: BLE001  a converter's own trouble is a row, and the others go on
        status, reason = "failed", _first_line(error)
    parity = facts.get("parity", {})
    return Row(
        name,
        format,
        precision,
        status,
        reason,
        parity.get("max_abs"),
        parity.get("agreement"),
        facts.get("size"),
        facts.get("parameters"),
        round(time.perf_counter() - started, 1),
        tuple(size for size in source.input_spec.shape[1:] if size),
        *arena,
    )


def arenas(content: bytes) -> tuple[int, int]:
    """Bytes of a TFLite file's activations: told from its graph, and as LiteRT lays them out."""
    from edgecv_export.memory import litert_arena, measure
    from edgecv_export.tflite_graph import read_graph

    return measure(read_graph(content)).arena_bytes, litert_arena(content)


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0]}"[:300]


def markdown(rows: Sequence[Row], versions: dict[str, str], full_size: bool = False) -> str:
    """The table, a line for each network and a column for each combination, and the reasons below it."""
    combinations = sorted({(row.format, row.precision) for row in rows}, key=_order)
    cells = {row.key: row for row in rows}
    names = sorted({row.model for row in rows})
    lines = [
        "# Export matrix",
        "",
        f"{datetime.date.today().isoformat()}; {', '.join(f'{name} {version}' for name, version in versions.items())}.",
        f"Each network at {_FULL if full_size else _SMALL}, with fresh weights. Largest difference of an output from "
        "Keras where the artefact is proven; behind the stroke the share of results that are Keras's, if any.",
        "",
        "| model | input | " + " | ".join(f"{format} {precision}" for format, precision in combinations) + " |",
        "|---" * (2 + len(combinations)) + "|",
    ]
    for name in names:
        found = [cells.get((name, *combination)) for combination in combinations]
        shape = next(row.input_shape for row in found if row is not None)
        lines.append(f"| {name} | {'×'.join(map(str, shape))} | " + " | ".join(map(_cell, found)) + " |")
    troubled = [row for row in rows if row.status != "proven"]
    if troubled:
        lines += ["", "## Not exported", "", _FRESH_ONLY, ""]
        lines += [f"- {row.model}, {row.format} {row.precision}: {row.status}, {row.reason}" for row in troubled]
    placed = [row for row in rows if row.arena]
    if placed:
        lines += ["", "## Memory of activations", "", *_memory(placed)]
    return "\n".join(lines) + "\n"


def _memory(rows: Sequence[Row]) -> list[str]:
    """What each TFLite file's activations take, beside what was told from its graph."""
    errors = [row.told_arena / row.arena - 1 for row in rows if row.told_arena and row.arena]
    worst = max(errors, key=abs)
    return [
        f"LiteRT's arena of each TFLite file, and how far off is what we tell from the graph: {len(errors)} files, of "
        f"which {sum(abs(error) <= _MEMORY_LIMIT for error in errors)} are within {100 * _MEMORY_LIMIT:.0f} %; the "
        f"worst is off by {100 * worst:+.2f} %.",
        "",
        "| model | precision | told kB | LiteRT kB | error |",
        "|---|---|---|---|---|",
        *(
            f"| {row.model} | {row.precision} | {row.told_arena / 1e3:,.0f} | {row.arena / 1e3:,.0f} "
            f"| {100 * (row.told_arena / row.arena - 1):+.1f} % |"
            for row in rows
            if row.told_arena and row.arena
        ),
    ]


def _order(combination: tuple[str, str]) -> tuple[int, int]:
    return FORMATS.index(combination[0]), PRECISIONS.index(combination[1])


def _cell(row: Row | None) -> str:
    if row is None:
        return ""
    if row.status != "proven" or row.max_abs is None:
        return row.status
    return f"{row.max_abs:.1e}" + ("" if row.agreement is None else f" / {100 * row.agreement:.0f} %")


def _read(path: Path | None) -> list[Row]:
    if path is None or not path.is_file():
        return []
    rows = json.loads(path.read_text(encoding="utf-8"))["rows"]
    return [Row(**{**row, "input_shape": tuple(row["input_shape"])}) for row in rows]


def _write(options: argparse.Namespace, rows: Sequence[Row]) -> None:
    from edgecv_export.exporter import made_with

    versions = made_with()
    _common.write_json(options.json, {"made_with": versions, "rows": [asdict(row) for row in rows]})
    if options.markdown is not None:
        options.markdown.write_text(markdown(rows, versions, options.full_size), encoding="utf-8")


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", metavar="M", choices=edgecv.list_models(), help="default: all of them")
    parser.add_argument("--formats", nargs="+", choices=FORMATS, default=list(FORMATS))
    parser.add_argument("--precisions", nargs="+", choices=PRECISIONS, default=list(PRECISIONS))
    parser.add_argument("--full-size", action="store_true", help="at each network's own input size and width")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows as JSON")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the table as Markdown")
    parser.add_argument("--keep", action="store_true", help="keep the rows that --json FILE holds already")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    rows = _read(options.json) if options.keep else []
    for name in options.models or edgecv.list_models():
        known = {row.key for row in rows}
        wanted = [(format, precision) for format in options.formats for precision in options.precisions]
        wanted = [pair for pair in wanted if (name, *pair) not in known]
        if not wanted:
            continue
        made = rows_of(name, wanted, options.full_size)
        for row in made:
            print(f"{name} {row.format} {row.precision}: {row.status} {row.reason}".rstrip(), file=sys.stderr)
        rows = sorted([*rows, *made], key=lambda row: (row.model, _order((row.format, row.precision))))
        _write(options, rows)
    header = ("model", "format", "precision", "status", "max abs", "agrees", "kB", "s")
    print(_common.machine_line())
    print(table(header, [_line(row) for row in rows]))
    print(f"{sum(row.status == 'proven' for row in rows)} of {len(rows)} combinations proven")
    return 1 if any(row.status == "failed" for row in rows) else 0


def _line(row: Row) -> tuple[str, ...]:
    if row.status != "proven":
        return row.model, row.format, row.precision, row.status, "", "", "", f"{row.seconds:.1f}"
    agreement = "" if row.agreement is None else f"{100 * row.agreement:.0f} %"
    return (
        row.model,
        row.format,
        row.precision,
        row.status,
        "" if row.max_abs is None else f"{row.max_abs:.1e}",
        agreement,
        "" if row.bytes is None else f"{row.bytes / 1e3:,.0f}",
        f"{row.seconds:.1f}",
    )


if __name__ == "__main__":
    raise SystemExit(main())
