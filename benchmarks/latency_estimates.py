"""Estimated beside published latency.

    python benchmarks/latency_estimates.py [--json FILE] [--markdown FILE]

Every published time that a target file holds, for the models that edgecv builds: the estimate, the published
milliseconds and the error. MobileNet v1 is what the processors' rates come from, so its error is rounding; the others
are predictions. Times on accelerators are only bounded from below. What Vela says beside its prediction is in
`benchmarks/vela.py`.
"""

from __future__ import annotations

import argparse
import os
import statistics
from pathlib import Path
from typing import Any

import _common
from _results import write_markdown

from edgecv_export.latency import estimate
from edgecv_export.tflite_graph import Graph, read_graph
from edgecv_runtime.cli.output import table
from edgecv_targets import list_targets, load_target

BASIS = "mobilenet_v1"  # which the rates come from
HEADER = ("target", "model", "precision", "on", "published ms", "estimate ms", "error", "source")


def exported(name: str, size: int, precision: str, cache: dict[tuple[str, int, str], Graph]) -> Graph:
    """The TFLite graph of a registered model; made once."""
    from edgecv.models.factory import create_model
    from edgecv_export.calibration import contract_pictures
    from edgecv_export.plan import Plan
    from edgecv_export.sources import source_of

    key = name, size, precision
    if key not in cache:
        source = source_of(create_model(name, input_shape=(size, size, 3)))
        artefact = source.convert(Plan("tflite", precision), source.pixels(contract_pictures(source.size, 2)), None)
        cache[key] = read_graph(artefact.model)
    return cache[key]


def published() -> list[dict[str, Any]]:
    """Every published time of a model that edgecv builds, with the estimate."""
    rows = []
    cache: dict[tuple[str, int, str], Graph] = {}
    for identifier in list_targets():
        target = load_target(identifier)
        for entry in target.latencies:
            graph = exported(entry.model, entry.input_size, entry.precision, cache)
            found = estimate(graph, target, {operator.index: entry.where for operator in graph.operators})
            told = None if found is None else 1e3 * found.seconds
            rows.append(
                {
                    "target": identifier,
                    "model": entry.model,
                    "precision": entry.precision,
                    "where": entry.where,
                    "published_ms": entry.milliseconds,
                    "estimated_ms": told,
                    "error": None if told is None else told / entry.milliseconds - 1,
                    "lower_bound": found is not None and found.lower_bound,
                    "source": target.sources[entry.source],
                    "note": entry.note,
                }
            )
    return rows


def summary(rows: list[dict[str, Any]]) -> str:
    """How far the predictions are off: rows that the rates come from and bounds are none."""
    told = [
        row for row in rows
        if row["error"] is not None and not row["lower_bound"] and row["model"] != BASIS
    ]  # fmt: skip
    if not told:
        return "nothing is predicted"
    errors = [abs(row["error"]) for row in told]
    worst = max(told, key=lambda row: abs(row["error"]))
    bounds = [row for row in rows if row["lower_bound"] and row["error"] is not None]
    kept = sum(row["error"] <= 0 for row in bounds)
    return (
        f"{len(told)} predictions: off by {100 * statistics.median(errors):.0f} % in the median, the worst "
        f"{worst['target']} {worst['model']} {worst['precision']} by {100 * worst['error']:+.0f} %; "
        f"{kept} of {len(bounds)} lower bounds hold"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, too")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the table there")
    options = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    rows = published()
    print(table(HEADER[:-1], [_row(row)[:-1] for row in rows]))
    print(summary(rows))
    _common.write_json(options.json, {"published": rows})
    if options.markdown is not None:
        paragraphs = (
            "`python benchmarks/latency_estimates.py`: the published times that the target files hold, and what the "
            "roofline estimate says of the same model. MobileNet v1 is what the processors' rates come from; on "
            "accelerators (*bound*) it only says that it takes no less.",
            f"{summary(rows)}.",
        )
        title = "Latency: estimated and published"
        cells = [_row(row) for row in rows]
        write_markdown(options.markdown, title, paragraphs, HEADER, cells, ("tensorflow-cpu", "ai-edge-litert"))


def _row(row: dict[str, Any]) -> tuple[str, ...]:
    told = "–" if row["estimated_ms"] is None else f"{row['estimated_ms']:.1f}"
    error = "" if row["error"] is None else f"{100 * row['error']:+.0f} %"
    return (
        row["target"], row["model"], row["precision"], row["where"], f"{row['published_ms']:g}", told,
        f"{error} (bound)" if row["lower_bound"] else error, row["source"].partition(";")[0],
    )  # fmt: skip


if __name__ == "__main__":
    main()
