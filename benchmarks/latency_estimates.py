"""Estimated beside published latency, and what was told of a compiled model beside what Vela then said.

    python benchmarks/latency_estimates.py [--vela] [--models NAME ...] [--json FILE]

The first table has every published time that a target file holds, for the models that edgecv builds: the estimate, the
published milliseconds and the error. MobileNet v1 is what the processors' rates come from, so its error is rounding;
the others are predictions. Times on accelerators are only bounded from below.

With ``--vela`` a second table exports each model in int8 (random weights, generated pictures), compiles it for one
configuration of each Ethos-U, and sets operators on the NPU, SRAM and time beside what the graph alone had told.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

import _common

from edgecv_export.compatibility import check
from edgecv_export.latency import estimate
from edgecv_export.tflite_graph import Graph, read_graph
from edgecv_runtime.cli.output import table
from edgecv_targets import list_targets, load_target

MODELS = ("mobilenet_v1", "mobilenet_v2", "efficientnet_lite0")
NPUS = ("ethos-u55-128", "ethos-u55-256", "ethos-u65-256", "ethos-u85-256")


def exported(name: str, size: int, precision: str, cache: dict[tuple[str, int, str], Graph], files: Any) -> Graph:
    """The TFLite graph of a registered model; made once."""
    from edgecv.models.factory import create_model
    from edgecv_export.calibration import contract_pictures
    from edgecv_export.plan import Plan
    from edgecv_export.sources import source_of

    key = name, size, precision
    if key not in cache:
        source = source_of(create_model(name, input_shape=(size, size, 3)))
        artefact = source.convert(Plan("tflite", precision), source.pixels(contract_pictures(source.size, 2)), None)
        cache[key], files[key] = read_graph(artefact.model), artefact.model
    return cache[key]


def published(cache: Any, files: Any) -> list[dict[str, Any]]:
    """Every published time of a model that edgecv builds, with the estimate."""
    rows = []
    for identifier in list_targets():
        target = load_target(identifier)
        for entry in target.latencies:
            graph = exported(entry.model, entry.input_size, entry.precision, cache, files)
            on = {operator.index: operator.where for operator in check(graph, target).operators}
            if entry.where == "cpu":
                on = dict.fromkeys(on, "cpu")
            found = estimate(graph, target, on)
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


def compiled(models: list[str], cache: Any, files: Any) -> list[dict[str, Any]]:
    """Placement, SRAM and time as told, and as Vela says them."""
    from edgecv_export.compilers.vela import Options, compile_model
    from edgecv_export.compilers.vela_memory import predict_sram

    rows = []
    for name in models:
        graph = exported(name, 224, "int8", cache, files)
        for npu in NPUS:
            target, options = load_target(npu), Options(npu)
            found = check(graph, target)
            left = [operator.index for operator in found.operators if operator.where != "accelerator"]
            said = compile_model(files[name, 224, "int8"], options)
            rows.append(
                {
                    "model": name,
                    "npu": npu,
                    "on_npu": said.npu_share,
                    "told_on_npu": found.accelerated,
                    "same_placement": sorted(left) == sorted(said.on_cpu),
                    "sram_bytes": said.sram_bytes,
                    "told_sram_bytes": predict_sram(graph, options, left),
                    "vela_ms": said.milliseconds,
                    "least_ms": None if found.time is None else 1e3 * found.time.seconds,
                }
            )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vela", action="store_true", help="compile for Ethos-U, too")
    parser.add_argument("--models", nargs="+", default=list(MODELS), metavar="NAME", help="for --vela")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, too")
    options = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    cache: dict[tuple[str, int, str], Graph] = {}
    files: dict[tuple[str, int, str], bytes] = {}
    rows = published(cache, files)
    header = ("target", "model", "precision", "on", "published ms", "estimate ms", "error")
    print(table(header, [_row(row) for row in rows]))
    result: dict[str, Any] = {"published": rows}
    if options.vela:
        result["vela"] = compiled(options.models, cache, files)
        print()
        columns = ("model", "npu", "on NPU", "told", "SRAM kB", "told kB", "error", "Vela ms", "at least ms")
        print(table(columns, [_compiled_row(row) for row in result["vela"]]))
    _common.write_json(options.json, result)


def _row(row: dict[str, Any]) -> tuple[str, ...]:
    told = "–" if row["estimated_ms"] is None else f"{row['estimated_ms']:.1f}"
    error = "" if row["error"] is None else f"{100 * row['error']:+.0f} %"
    return (
        row["target"], row["model"], row["precision"], row["where"], f"{row['published_ms']:g}", told,
        f"{error} (bound)" if row["lower_bound"] else error,
    )  # fmt: skip


def _compiled_row(row: dict[str, Any]) -> tuple[str, ...]:
    return (
        row["model"], row["npu"], f"{100 * row['on_npu']:.1f} %", f"{100 * row['told_on_npu']:.1f} %",
        f"{row['sram_bytes'] / 1e3:,.0f}", f"{row['told_sram_bytes'] / 1e3:,.0f}",
        f"{100 * (row['told_sram_bytes'] / row['sram_bytes'] - 1):+.1f} %", f"{row['vela_ms']:.2f}",
        f"{row['least_ms'] or 0:.2f}",
    )  # fmt: skip


if __name__ == "__main__":
    main()
