"""What LiteRT's arena takes beside what was told from the graph alone, for the registered models.

    python benchmarks/memory.py [--models NAME ...] [--precisions P ...] [--size N | --full-size]
                                [--parameters-below N] [--json FILE] [--markdown FILE]

Each model is built with random weights, at a reduced size or its own, converted, and loaded into LiteRT's interpreter
without XNNPACK, which plans in memory of its own that no interface tells. The arena is what lies between the first and
the last address of its tensors. With ``--json`` an interrupted run goes on where it stopped: what the file holds is not
measured again. ``--markdown`` writes the table with its date and versions.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import _common
from _results import write_markdown

from edgecv.models.registry import ModelRecord, records
from edgecv_export.memory import litert_arena, measure
from edgecv_export.tflite_graph import read_graph
from edgecv_runtime.cli.output import table
from edgecv_runtime.errors import EdgecvError

HEADER = ("model", "precision", "input", "peak kB", "told kB", "LiteRT kB", "error")
_TOLERANCE = 0.1
_PICTURES = 2  # to calibrate with: ranges do not matter here


def shape_of(record: ModelRecord, size: int | None) -> tuple[int, ...]:
    """The input to build a model with: its own, or with shorter sides."""
    *sides, channels = record.input_shape
    if size is not None and len(sides) == 2:  # of a signal or a volume the default is small already
        sides = [max(record.minimum_size, min(size, side)) for side in sides]
    return (*sides, channels)


def measured(record: ModelRecord, precision: str, shape: tuple[int, ...]) -> dict[str, Any]:
    """One row; with ``"note"`` where the model does not export so."""
    from edgecv.models.factory import create_model
    from edgecv_export.calibration import contract_pictures
    from edgecv_export.plan import Plan
    from edgecv_export.sources import source_of

    row: dict[str, Any] = {"model": record.name, "task": record.task, "precision": precision, "input": list(shape)}
    try:
        source = source_of(create_model(record.name, input_shape=shape))
        pixels = source.pixels(contract_pictures(source.size, _PICTURES)) if precision == "int8" else None
        content = source.convert(Plan("tflite", precision), pixels, None).model
    except EdgecvError as error:
        return row | {"note": str(error)}
    found = measure(read_graph(content))
    arena = litert_arena(content)
    return row | {
        "peak_bytes": found.peak_bytes,
        "told_bytes": found.arena_bytes,
        "arena_bytes": arena,
        "error": found.arena_bytes / arena - 1,
    }


def summary(rows: Iterable[dict[str, Any]]) -> str:
    """How many are within the tolerance, and the worst."""
    errors = {_key(row): row["error"] for row in rows if "error" in row}
    if not errors:
        return "nothing was measured"
    within = sum(abs(error) <= _TOLERANCE for error in errors.values())
    worst = max(errors, key=lambda key: abs(errors[key]))
    return (
        f"{within} of {len(errors)} within {100 * _TOLERANCE:.0f} %; "
        f"the worst is {worst} with {100 * errors[worst]:+.1f} %"
    )


def _key(row: dict[str, Any]) -> str:
    return " ".join(_named(row))


def _named(row: dict[str, Any]) -> tuple[str, str, str]:
    return row["model"], row["precision"], "×".join(map(str, row["input"]))


def cells(row: dict[str, Any]) -> tuple[str, ...]:
    if "error" not in row:
        return (*_named(row), "–", "–", "–", "not exported")
    sizes = (f"{row[key] / 1e3:,.0f}" for key in ("peak_bytes", "told_bytes", "arena_bytes"))
    return (*_named(row), *sizes, f"{100 * row['error']:+.1f} %")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", metavar="NAME", help="default: every registered model")
    parser.add_argument("--precisions", nargs="+", choices=("fp32", "int8"), default=["fp32"])
    sizes = parser.add_mutually_exclusive_group()
    sizes.add_argument("--size", type=_common.positive, default=64, help="side of the pictures (default: 64)")
    sizes.add_argument("--full-size", action="store_true", help="each model's own")
    parser.add_argument("--parameters-below", type=float, default=float("inf"), metavar="N")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, and go on from there")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the table there")
    options = parser.parse_args()
    rows: dict[str, dict[str, Any]] = {}
    if options.json is not None and options.json.is_file():
        rows = {_key(row): row for row in json.loads(options.json.read_text())["rows"]}
    for record in records():
        wanted = options.models is None or record.name in options.models
        shape = shape_of(record, None if options.full_size else options.size)
        for precision in options.precisions:
            key = _key({"model": record.name, "precision": precision, "input": shape})
            if not wanted or key in rows or record.parameters >= options.parameters_below:
                continue
            rows[key] = measured(record, precision, shape)
            print(" ".join(cells(rows[key])), file=sys.stderr, flush=True)
            _common.write_json(options.json, {"rows": list(rows.values())})
            _forget()
    ordered = sorted(rows.values(), key=lambda row: (row["precision"], row["model"], row["input"]))
    print(table(HEADER, [cells(row) for row in ordered]))
    print(summary(ordered))
    if options.markdown is not None:
        paragraphs = (
            "`python benchmarks/memory.py` builds each model with random weights, at its own size or a reduced one. "
            "*Peak* is the most that is alive at once, *told* the arena that our planner finds in the file, *LiteRT* "
            "its own.",
            f"{summary(ordered)}.",
        )
        title = "Memory of activations: told from the graph, and LiteRT's arena"
        rows_there = [cells(row) for row in ordered]
        write_markdown(options.markdown, title, paragraphs, HEADER, rows_there, ("ai-edge-litert", "tensorflow-cpu"))


def _forget() -> None:
    """Give the last model's memory back: Keras keeps a graph for each."""
    import keras

    keras.utils.clear_session()
    gc.collect()


if __name__ == "__main__":
    main()
