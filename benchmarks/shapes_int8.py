"""What int8 costs the detectors that ``train_shapes.py`` trained, in each format.

    python benchmarks/shapes_int8.py --weights DIR [--family NAME ...] [--json FILE] [--markdown FILE]

Each family's float weights are exported as ``edgecv export`` exports them, calibrated on pictures of drawn shapes that
are not measured, and measured as ``edgecv eval`` measures. At most one point of mAP50 may be lost.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from _common import machine_line, parser, write_json
from _results import write_markdown
from _shapes import SEEDS, SIZE
from train_shapes import FAMILIES, HELD_OUT, accuracy_of, create

import edgecv_runtime as ert
from edgecv.data.shapes import SHAPE_CLASSES, ShapesSample, generate_shapes
from edgecv_export.exporter import export
from edgecv_runtime.cli.output import table
from edgecv_runtime.errors import EdgecvError
from edgecv_runtime.evaluate_objects import SCORE_THRESHOLD
from edgecv_runtime.metrics.coco import DetectionAccuracy

LIMIT = 1.0  # points of mAP50
FORMATS = ("tflite", "onnx", "openvino")
CALIBRATION = 200  # pictures, with a seed of their own


def evaluated(path: Path, held_out: Sequence[ShapesSample]) -> DetectionAccuracy:
    with ert.load(path) as model, model.configured(score_threshold=SCORE_THRESHOLD):
        return accuracy_of([model(sample.image) for sample in held_out], held_out)


def measure(name: str, weights: Path, held_out: Sequence[ShapesSample], formats: Sequence[str]) -> list[dict[str, Any]]:
    """A row for each format: the float bundle beside the integer one."""
    calibration = np.stack([sample.image for sample in generate_shapes(CALIBRATION, SIZE, max(SEEDS.values()) + 1)])
    model = create(FAMILIES[name], training=False, weights=weights)
    rows = []
    for format in formats:
        row: dict[str, Any] = {"family": name, "model": FAMILIES[name].model, "format": format}
        with tempfile.TemporaryDirectory() as folder:
            try:
                for precision in ("fp32", "int8"):
                    print(f"{name}: {format} {precision} …", file=sys.stderr, flush=True)
                    path = Path(folder, f"{precision}.edgecv")
                    made = export(
                        model, path, format=format, precision=precision, calibration=calibration, labels=SHAPE_CLASSES
                    )
                    accuracy = evaluated(path, held_out)
                    row[precision] = {"map50": accuracy.map50, "map": accuracy.map, "size": made.report["size"]}
            except EdgecvError as error:
                row["refused"] = str(error)
            else:
                row["lost"] = 100 * (row["fp32"]["map50"] - row["int8"]["map50"])
        row["passed"] = row.get("lost", LIMIT + 1) <= LIMIT
        rows.append(row)
    return rows


def main() -> int:
    command = parser(__doc__)
    command.add_argument("--weights", type=Path, required=True, metavar="DIR", help="where train_shapes.py kept them")
    command.add_argument("--family", choices=FAMILIES, nargs="+", default=list(FAMILIES))
    command.add_argument("--format", choices=FORMATS, nargs="+", default=FORMATS)
    command.add_argument("--markdown", type=Path, metavar="FILE", help="write the table as a page, too")
    options = command.parse_args()
    held_out = generate_shapes(HELD_OUT, SIZE, SEEDS["held out"])
    rows: list[dict[str, Any]] = []
    for name in options.family:
        weights = options.weights / f"{name}.weights.h5"
        if not weights.is_file():
            print(f"{name}: no {weights.name} there; train_shapes.py --weights makes it", file=sys.stderr)
            continue
        rows += measure(name, weights, held_out, options.format)
    print(f"{HELD_OUT} held-out pictures of {SIZE}x{SIZE}; {machine_line()}")
    print(table(_HEADER, [_cells(row) for row in rows]))
    for row in rows:
        if "refused" in row:
            print(f"{row['family']} {row['format']}: {row['refused']}")
    write_json(options.json, {"rows": rows})
    if options.markdown is not None:
        write_markdown(
            options.markdown, "int8 of single-stage detectors on drawn shapes", _TEXT, _HEADER,
            [_cells(row) for row in rows], ("keras", "tensorflow-cpu", "onnxruntime", "openvino", "nncf"),
        )  # fmt: skip
    return 0 if rows and all(row["passed"] for row in rows) else 1


_HEADER = (
    "family",
    "model",
    "format",
    "mAP50 fp32",
    "int8",
    "lost",
    "mAP fp32",
    "int8",
    "kB fp32",
    "int8",
    "≤ 1 point",
)
_TEXT = (
    f"`python benchmarks/shapes_int8.py`: the weights of `train_shapes.py`, exported in each format and calibrated on "
    f"{CALIBRATION} drawn pictures of their own; {HELD_OUT} others are measured by the runtime, in percent.",
)


def _cells(row: dict[str, Any]) -> list[str]:
    if "refused" in row:
        return [row["family"], row["model"], row["format"], *["–"] * 7, "refused"]
    before, after = row["fp32"], row["int8"]
    return [
        row["family"],
        row["model"],
        row["format"],
        f"{100 * before['map50']:.2f}",
        f"{100 * after['map50']:.2f}",
        f"{row['lost']:.2f}",
        f"{100 * before['map']:.2f}",
        f"{100 * after['map']:.2f}",
        f"{before['size'] / 1e3:.0f}",
        f"{after['size'] / 1e3:.0f}",
        "yes" if row["passed"] else "NO",
    ]


if __name__ == "__main__":
    raise SystemExit(main())
