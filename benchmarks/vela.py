"""What Vela makes of int8 models for the Ethos-U, beside what was told from the graph alone.

    python benchmarks/vela.py [--models NAME ...] [--npus ID ...] [--files DIR] [--json FILE] [--markdown FILE]

Each model is exported with random weights and generated pictures, since neither placement nor memory depends on them,
and compiled for one configuration of each Ethos-U. The table sets operators on the NPU, SRAM and time beside the
prediction; where operators stay on the CPU, the reasons follow. With ``--json`` an interrupted run goes on where it
stopped.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections import Counter
from pathlib import Path
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import _common
from _results import write_markdown

from edgecv_export.compatibility import check
from edgecv_export.compilers.vela import Options, compile_model
from edgecv_export.compilers.vela_memory import predict_sram
from edgecv_export.tflite_graph import Graph, read_graph
from edgecv_runtime.cli.output import table
from edgecv_runtime.errors import EdgecvError
from edgecv_targets import load_target

# Name in the table: registered model, height and width, options.
MODELS: dict[str, tuple[str, tuple[int, int], dict[str, Any]]] = {
    "mobilenet_v1": ("mobilenet_v1", (224, 224), {}),
    "mobilenet_v1 0.25": ("mobilenet_v1", (224, 224), {"alpha": 0.25}),
    "mobilenet_v2": ("mobilenet_v2", (224, 224), {}),
    "efficientnet_lite0": ("efficientnet_lite0", (224, 224), {}),
    "unet_same": ("unet_same", (256, 256), {}),
    "unet_same 8": ("unet_same", (128, 128), {"filters": 8}),
    "ssdlite_mobilenet_v2": ("ssdlite_mobilenet_v2", (320, 320), {}),
}
NPUS = ("ethos-u55-128", "ethos-u55-256", "ethos-u65-256", "ethos-u85-256")
HEADER = ("model", "NPU", "on NPU", "told", "same operators", "SRAM kB", "told kB", "error", "Vela ms", "at least ms")


def exported(name: str, folder: Path | None) -> tuple[bytes, Graph]:
    """The int8 TFLite file of a model, and its graph; from the folder where it is there."""
    kept = None if folder is None else folder / f"{name.replace(' ', '_')}.tflite"
    if kept is not None and kept.is_file():
        return kept.read_bytes(), read_graph(kept.read_bytes())
    from edgecv.models.factory import create_model
    from edgecv.models.registry import get_record
    from edgecv_export.calibration import contract_pictures
    from edgecv_export.plan import Plan
    from edgecv_export.sources import source_of

    model, size, options = MODELS[name]
    shape = (*size, get_record(model).input_shape[-1])
    source = source_of(create_model(model, input_shape=shape, **options))
    content = source.convert(Plan("tflite", "int8"), source.pixels(contract_pictures(source.size, 2)), None).model
    if kept is not None:
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_bytes(content)
    return content, read_graph(content)


def compared(content: bytes, graph: Graph, npu: str) -> dict[str, Any]:
    """What was told and what Vela says."""
    target, options = load_target(npu), Options(npu)
    found = check(graph, target)
    left = {operator.index: operator for operator in found.operators if operator.where != "accelerator"}
    said = compile_model(content, options)
    kinds = {operator.index: operator.kind for operator in graph.operators}
    return {
        "operators": len(graph.operators),
        "on_npu": said.npu_share,
        "told_on_npu": found.accelerated,
        "same_placement": sorted(left) == sorted(said.on_cpu),
        "on_cpu": dict(Counter(kinds[index] for index in said.on_cpu)),
        "told_reasons": sorted({f"{entry.kind}: {entry.reason}" for entry in left.values()}),
        "reasons": sorted(set(said.reasons.values())),
        "sram_bytes": said.sram_bytes,
        "told_sram_bytes": predict_sram(graph, options, list(left)),
        "vela_ms": said.milliseconds,
        "least_ms": None if found.time is None else 1e3 * found.time.seconds,
    }


def cells(row: dict[str, Any]) -> tuple[str, ...]:
    if "note" in row:
        return (row["model"], row["npu"], row["note"], *[""] * 7)
    return (
        row["model"], row["npu"], f"{100 * row['on_npu']:.1f} %", f"{100 * row['told_on_npu']:.1f} %",
        "yes" if row["same_placement"] else "no",
        f"{row['sram_bytes'] / 1e3:,.0f}", f"{row['told_sram_bytes'] / 1e3:,.0f}",
        f"{100 * (row['told_sram_bytes'] / row['sram_bytes'] - 1):+.1f} %", f"{row['vela_ms']:.2f}",
        f"{row['least_ms'] or 0:.2f}",
    )  # fmt: skip


def summary(rows: list[dict[str, Any]]) -> str:
    compiled = [row for row in rows if "note" not in row]
    if not compiled:
        return "nothing was compiled"
    errors = [abs(row["told_sram_bytes"] / row["sram_bytes"] - 1) for row in compiled]
    return (
        f"{sum(row['on_npu'] >= 0.95 for row in compiled)} of {len(compiled)} have at least 95 % of their operators on "
        f"the NPU; placement was told right for {sum(row['same_placement'] for row in compiled)}, SRAM within 10 % for "
        f"{sum(error <= 0.1 for error in errors)} (the worst: {100 * max(errors):.1f} %)"
    )


def left_over(rows: list[dict[str, Any]]) -> list[str]:
    """Which operators stay on the CPU and why, a line for each pair."""
    return [
        f"- {row['model']} on {row['npu']}: {', '.join(f'{count} × {kind}' for kind, count in row['on_cpu'].items())}; "
        f"told: {'; '.join(row['told_reasons']) or 'nothing'}; Vela: {'; '.join(row['reasons']) or 'nothing'}"
        for row in rows
        if row.get("on_cpu")
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=list(MODELS), default=list(MODELS), metavar="NAME")
    parser.add_argument("--npus", nargs="+", default=list(NPUS), metavar="ID")
    parser.add_argument("--files", type=Path, metavar="DIR", help="keep the exported files there, and use those there")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, and go on from there")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the table there")
    options = parser.parse_args()
    done: dict[str, dict[str, Any]] = {}
    if options.json is not None and options.json.is_file():
        done = {f"{row['model']} {row['npu']}": row for row in json.loads(options.json.read_text())["rows"]}
    for name in options.models:
        if all(f"{name} {npu}" in done for npu in options.npus):
            continue
        try:
            content, graph = exported(name, options.files)
        except EdgecvError as error:
            print(f"{name}: {error}", file=sys.stderr)
            continue
        for npu in options.npus:
            row: dict[str, Any] = {"model": name, "npu": npu}
            try:
                row |= compared(content, graph, npu)
            except EdgecvError as error:
                row["note"] = str(error)
            done[f"{name} {npu}"] = row
            print(" ".join(cells(row)), file=sys.stderr, flush=True)
            _common.write_json(options.json, {"rows": list(done.values())})
    rows = [done[key] for name in options.models for npu in options.npus if (key := f"{name} {npu}") in done]
    print(table(HEADER, [cells(row) for row in rows]))
    print(summary(rows))
    for line in left_over(rows):
        print(line)
    if options.markdown is not None:
        paragraphs = (
            "`python benchmarks/vela.py`: int8 models with random weights. *Told* is what `edgecv compatibility` says "
            "from the graph alone, the other columns are Vela's own report; *at least* is our bound from below.",
            f"{summary(rows)}. On U65 and U85 SRAM is a cache of 384 KiB: told is what fits into it, with the cascades "
            "of what does not, and all of it where longer cascades fill it.",
            "\n".join(left_over(rows)) or "No operator stays on the CPU.",
        )
        title = "Ethos-U: what Vela compiles, and what was told"
        write_markdown(options.markdown, title, paragraphs, HEADER, [cells(row) for row in rows], ("ethos-u-vela",))


if __name__ == "__main__":
    main()
