"""What int8 costs a face embedder: MobileFaceNet-y1, from its ONNX file to ONNX and OpenVINO.

    python benchmarks/faces_int8.py

The data folder (EDGECV_DATA, or --data) holds models/face/mobilefacenet_y1.onnx, aligned faces of 40 people to measure
on and, to calibrate on, face crops of eight people who are not among them. The figure is the true-accept rate at a
false-accept rate of 0.1 % over all pairs of the 320 faces. Each format is searched within --max-drop points, as
`edgecv export --max-drop` does; "plain" is the first candidate, what a converter does by itself.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

from _common import data_folder, machine_line, write_json

from edgecv.models.registry import Preprocessing
from edgecv_export.exporter import export
from edgecv_export.search import Attempt
from edgecv_runtime.errors import CheckFailedError, UnsupportedError

MODEL = Path("models", "face", "mobilefacenet_y1.onnx")
FACES = Path("faces", "lfw-aligned-112")
CALIBRATION = Path("faces", "tv-stills-8x5")
FORMATS = ("onnx", "openvino")
# The file subtracts the mean and divides by itself.
PREPROCESSING = Preprocessing(mean=(0.0,) * 3, std=(1.0,) * 3)


def measure(data: Path, format: str, max_drop: float) -> list[dict[str, Any]]:
    """Every candidate of the search in one format; ``float`` is the source's rate."""
    told: list[Attempt] = []

    def notify(attempt: Attempt) -> None:
        told.append(attempt)
        if attempt.fidelity is not None:
            rate = 100 * attempt.fidelity.accuracy.score
            print(f"  {format} {attempt.candidate.name}: {rate:.2f} %", file=sys.stderr, flush=True)

    with tempfile.TemporaryDirectory() as folder:
        try:
            exported = export(
                data / MODEL,
                Path(folder, "y1.edgecv"),
                format=format,
                precision="int8",
                calibration=data / CALIBRATION,
                evaluation=data / FACES,
                max_drop=max_drop,
                preprocessing=PREPROCESSING,
                task="embedding",
                notify=notify,
            )
        except CheckFailedError as failure:
            print(failure, file=sys.stderr)
        else:
            before = exported.report["accuracy"]["float"]["tar_at_far"]
            return [_row(format, attempt, before) for attempt in told]
    return [_row(format, attempt, None) for attempt in told]


def _row(format: str, attempt: Attempt, before: float | None) -> dict[str, Any]:
    row = {"format": format, "float": before, **attempt.to_dict(chosen=attempt.met)}
    return {key: row.get(key) for key in ("format", "name", "float", "tar_at_far", "agreement", "size", "met")}


def refusal(data: Path) -> str:
    """Why TFLite cannot be made from the file."""
    try:
        with tempfile.TemporaryDirectory() as folder:
            export(data / MODEL, Path(folder, "y1.edgecv"), preprocessing=PREPROCESSING, task="embedding")
    except UnsupportedError as reason:
        return str(reason)
    return "it was made"


def line(row: dict[str, Any]) -> str:
    """One line of the table."""
    before = float("nan") if row["float"] is None else row["float"]
    size = "" if row["size"] is None else f"{row['size'] / 1e6:8.2f} MB"
    taken = "  taken" if row["met"] else ""
    return (
        f"{row['format']:10}{row['name']:34}{100 * before:8.2f}%{100 * row['tar_at_far']:8.2f}%"
        f"{100 * (row['tar_at_far'] - before):+8.2f}{100 * row['agreement']:8.1f}%{size}{taken}"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, metavar="DIR", help="default: EDGECV_DATA, or shared/data")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures as JSON, too")
    parser.add_argument("--max-drop", type=float, default=0.5, metavar="PT", help="points (default: 0.5)")
    parser.add_argument("--format", choices=FORMATS, nargs="+", default=list(FORMATS))
    options = parser.parse_args()
    data = options.data or data_folder()
    if data is None or not (data / MODEL).is_file():
        print(f"--data (or EDGECV_DATA) must be a folder that holds {MODEL}; received {data}", file=sys.stderr)
        return 2
    rows = [row for format in options.format for row in measure(data, format, options.max_drop)]
    print(machine_line())
    print(f"{'format':10}{'candidate':34}{'float':>9}{'int8':>9}{'points':>8}{'as float':>9}{'size':>11}")
    for row in rows:
        print(line(row))
    refused = refusal(data)
    print(f"tflite    {refused}")
    write_json(options.json, {"candidates": rows, "tflite": refused})
    return 0 if all(any(row["met"] for row in rows if row["format"] == format) for format in options.format) else 1


if __name__ == "__main__":
    sys.exit(main())
