"""Real detectors, wrapped and evaluated on labelled photographs, beside the time of one picture.

    python benchmarks/detection.py [--int8] [--images N] [--json FILE]

Needs the models and the COCO pictures that EDGECV_DATA names (default: ../shared/data beside the checkout). Each model
becomes a bundle as ``edgecv wrap MODEL --decoder D`` makes it, in a temporary folder. With ``--int8`` the float ones
are also exported as ``edgecv export MODEL --decoder D --precision int8 --calibrate DIR`` does, calibrated on other
photographs (imagenet-samples) or those of ``--calibrate``. At most one point of mAP50 may be lost.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import _common

import edgecv_runtime as ert
from edgecv.models.registry import Preprocessing
from edgecv_export.exporter import Exported, export
from edgecv_export.presets import PRESETS
from edgecv_export.wrapping import wrap
from edgecv_runtime.annotations import AnnotatedImages, read_annotated_images
from edgecv_runtime.bench import measure_latency
from edgecv_runtime.cli.output import table
from edgecv_runtime.evaluate_objects import evaluate_detection
from edgecv_runtime.images import list_images

# File below the data folder -> decoder, and whether its classes are COCO's 90 numbers.
MODELS = {
    "models/detection/yolox_nano.onnx": ("yolox", False),
    "models/detection/ssd_mobilenet_v1_coco_quant.tflite": ("ssd-postprocessed", True),
}
CALIBRATION = 40  # pictures
MOST_LOST = 1.0  # points of mAP50
UNUSED = {12, 26, 29, 30, 45, 66, 68, 69, 71, 83}  # numbers of COCO's that no class has


def labels_of(names: dict[int, str], numbered: bool) -> list[str]:
    """Class names in the order of a model's indices: the 80 in use, or all 90 numbers."""
    in_use = iter(names[index] for index in sorted(names))
    if not numbered:
        return list(in_use)
    return ["not in use" if number in UNUSED else next(in_use) for number in range(1, 91)]


Make = Callable[[Path], Exported]


def measure(name: str, make: Make, data: AnnotatedImages) -> dict[str, Any]:
    """Make one bundle, evaluate it and time it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.edgecv")
        made = make(path)
        with ert.load(path) as model:
            accuracy = evaluate_detection(model, data)
            picture = ert.read_image(data.images[0].path)
            (latency,) = measure_latency([model], [picture], 30)
        verified = ert.verify(path).passed
    figures = {name: value for name, value in accuracy.to_dict().items() if name != "by_class"}
    kept = [
        layer
        for entry in made.report.get("advice", ())
        if entry["rule"] == "kept-in-float"
        for layer in entry["layers"]
    ]
    return {
        "model": name,
        "format": made.manifest.format,
        "precision": made.manifest.precision,
        "size": made.report["size"],
        **figures,
        "latency_ms": latency.p50_ms,
        "verified": verified,
        "kept_float": kept,
    }


def wrapped(source: Path, decoder: str, labels: list[str]) -> Make:
    """As ``edgecv wrap`` makes it."""
    return lambda path: wrap(source, path, decoder=decoder, labels=labels)


def exported(source: Path, decoder: str, labels: list[str], format: str, pictures: Sequence[Path]) -> Make:
    """As ``edgecv export --precision int8`` makes it."""
    preset = PRESETS[decoder]
    moments = preset.normalization(3)
    if moments is None:
        raise SystemExit(f"decoder {decoder} has no usual normalisation")
    feed = Preprocessing(moments.mean, moments.std, "BGR" if preset.color == "BGR" else "RGB", preset.resize)
    return lambda path: export(
        source,
        path,
        format=format,
        precision="int8",
        calibration=[ert.read_image(picture) for picture in pictures],
        labels=labels,
        preprocessing=feed,
        decoder=(decoder, {}),
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--int8", action="store_true", help="int8 bundles of the float ones, too")
    parser.add_argument("--calibrate", type=Path, metavar="DIR", help="pictures for --int8")
    parser.add_argument("--images", type=_common.positive, metavar="N", help="only the first N pictures")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    folder = _common.data_folder()
    if folder is None:
        print("real models and pictures are needed: set EDGECV_DATA", file=sys.stderr)
        return 2
    data = read_annotated_images(folder / "coco128")
    names = dict(data.names or {})
    data = replace(data, images=data.images[: options.images])
    pictures = list_images(options.calibrate or folder / "imagenet-samples")[:CALIBRATION] if options.int8 else []
    rows, lost = [], []
    for name, (decoder, numbered) in MODELS.items():
        source, labels = folder / name, labels_of(names, numbered)
        before = measure(source.name, wrapped(source, decoder, labels), data)
        rows.append(before)
        if options.int8 and source.suffix == ".onnx":
            for format in ("onnx", "openvino"):
                row = measure(source.name, exported(source, decoder, labels, format, pictures), data)
                lost.append(100 * (before["map50"] - row["map50"]))
                rows.append(row)
    print(f"{len(data.images)} pictures; {_common.machine_line()}")
    print(table(_HEADER, [_row(row) for row in rows]))
    for row in rows:
        if row["kept_float"]:
            print(f"{row['model']} {row['format']} {row['precision']}: in float {', '.join(row['kept_float'])}")
    _common.write_json(options.json, {"benchmark": "detection", "rows": rows, "points_lost": lost})
    return 0 if all(points <= MOST_LOST for points in lost) else 1


_HEADER = (
    "model",
    "format",
    "precision",
    "mAP",
    "mAP50",
    "mAP75",
    "small",
    "medium",
    "large",
    "AR100",
    "ms",
    "MB",
    "verify",
)


def _row(row: dict[str, Any]) -> list[str]:
    figures = ("map", "map50", "map75", "map_small", "map_medium", "map_large", "ar100")
    return [
        row["model"],
        row["format"],
        row["precision"],
        *(f"{100 * row[name]:.1f}" for name in figures),
        f"{row['latency_ms']:.1f}",
        f"{row['size'] / 1e6:.2f}",
        "passed" if row["verified"] else "FAILED",
    ]


if __name__ == "__main__":
    raise SystemExit(main())
