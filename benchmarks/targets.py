"""Models × devices: a bundle for each pair, its placement, size, estimated time and whether it fits; one page.

    python benchmarks/targets.py -o FOLDER [--models M ...] [--targets T ...] [--images N] [--jobs N]
                                 [--learned-rounding] [--markdown FILE]

Three MobileNets with their real weights on real photographs, from the folder of data (EDGECV_DATA). Calibrated on the
first fifty pictures and measured on the next `--images`. Writes FOLDER/index.html, FOLDER/matrix.json and the bundles;
``--markdown`` writes the table with its date and versions, and what the makers of the devices do not publish.
"""

from __future__ import annotations

import argparse
import csv
import os
import sys
import tempfile
from collections import Counter
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import _common
from _results import write_markdown

from edgecv_export.matrix import Matrix, Network, Row, on_processes, run_matrix
from edgecv_export.quantize.recipe import Recipe
from edgecv_runtime.cli.output import kilobytes, table
from edgecv_targets import list_targets, load_target

CALIBRATION = 50
HEADER = ("model", "target", "state", "artefact", "size", "memory", "fits", "on accelerator", "ms", "top-1", "note")

# name in the table: registered model, weight file, options
_MODELS = {
    "mobilenet_v1_0.25": ("mobilenet_v1", "mobilenet_v1_0.25_224.h5", {"alpha": 0.25}),
    "mobilenet_v1": ("mobilenet_v1", "mobilenet_v1_1.0_224_dequant.weights.h5", {}),
    "mobilenet_v2": ("mobilenet_v2", "mobilenet_v2_1.0_224_dequant.weights.h5", {}),
}


def networks(names: list[str], folder: Path) -> list[Network]:
    """The models with their weight files."""
    return [
        Network(name, model, weights=str(folder / weights), options=options)
        for name in names
        for model, weights, options in [_MODELS[name]]
    ]


def sort_pictures(source: Path, output: Path, images: int) -> tuple[Path, Path]:
    """Folders of pictures to calibrate on, and of others to measure on, by class: links to the real ones."""
    calibration, evaluation = output / "calibration", output / "evaluation"
    calibration.mkdir()
    with (source / "labels.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for number, row in enumerate(rows[: CALIBRATION + images]):
        folder = calibration if number < CALIBRATION else evaluation / row["class_index"]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / row["file"]).symlink_to((source / "images" / row["file"]).resolve())
    return calibration, evaluation


def summary(matrix: Matrix) -> str:
    """How many rows of each model ended how."""
    models = list(dict.fromkeys(row.model for row in matrix.rows))
    states = sorted({row.status for row in matrix.rows})
    count = Counter((row.model, row.status) for row in matrix.rows)
    return table(["model", *states], [[name, *(str(count[name, state]) for state in states)] for name in models])


def cells(row: Row) -> tuple[str, ...]:
    """A line of the table."""
    at_least = "≥ " if row.at_least else ""
    fits = {None: "not known", True: "yes", False: "no"}[row.fits]
    accuracy = "–" if row.accuracy is None else f"{100 * row.accuracy:.1f} %"
    if row.accuracy is not None and row.float_accuracy is not None:
        accuracy += f" (float {100 * row.float_accuracy:.1f} %)"
    return (
        row.model, row.target, row.status, f"{row.format or '–'} {row.precision or ''}".strip(),
        "–" if row.size is None else kilobytes(row.size),
        "–" if row.memory_bytes is None else kilobytes(row.memory_bytes), fits,
        "–" if row.on_accelerator is None else f"{100 * row.on_accelerator:.1f} %",
        "–" if row.milliseconds is None else f"{at_least}{row.milliseconds:.2f}", accuracy, row.note,
    )  # fmt: skip


def unpublished() -> str:
    """Figures that the makers of the devices do not publish, a line for each device."""
    targets = [load_target(name) for name in list_targets()]
    return "\n".join(f"- {target.id}: {', '.join(target.not_published)}" for target in targets if target.not_published)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=_MODELS, default=list(_MODELS))
    parser.add_argument("--targets", nargs="+", default=None)
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--learned-rounding", action="store_true")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the table there")
    parser.add_argument("-o", "--output", required=True)
    options = parser.parse_args(arguments)
    data = _common.data_folder()
    if data is None:
        raise SystemExit("the real pictures and weights are needed: set EDGECV_DATA")
    with tempfile.TemporaryDirectory() as name:
        calibration, evaluation = sort_pictures(data / "imagenet-samples", Path(name), options.images)
        matrix = run_matrix(
            networks(options.models, data / "models" / "classification"),
            options.output,
            targets=options.targets,
            calibration=str(calibration),
            evaluation=str(evaluation),
            recipe=None if options.learned_rounding else Recipe(adaround=False),
            engine=on_processes(options.jobs),
            notify=lambda line: print(line, file=sys.stderr, flush=True),
        )
    print(summary(matrix))
    print(f"{matrix.conversions} conversions; {matrix.folder / 'index.html'}")
    if options.markdown is not None:
        paragraphs = (
            f"`python benchmarks/targets.py`: real weights, calibrated on {CALIBRATION} photographs and measured on "
            f"{options.images} others, the same ones for every artefact. *ms* is an estimate, Vela's own where it "
            "compiled; ≥ bounds it from below. *Prepared*: the maker's compiler is no public package; the bundle holds "
            "what it needs.",
            "Figures of the devices that no public source was found for, so that nothing is told from them:",
            unpublished(),
        )
        libraries = ("tensorflow-cpu", "ai-edge-litert", "onnxruntime", "openvino", "ethos-u-vela")
        rows = [cells(row) for row in matrix.rows]
        write_markdown(options.markdown, "Models and devices", paragraphs, HEADER, rows, libraries)
    return 0


if __name__ == "__main__":
    sys.exit(main())
