"""Real detectors, wrapped and evaluated on labelled photographs, beside the time of one picture.

    python benchmarks/detection.py [--images N] [--json FILE]

Needs the models and the COCO pictures that EDGECV_DATA names (default: ../shared/data beside the checkout). Each model
becomes a bundle as ``edgecv wrap MODEL --decoder D`` makes it, in a temporary folder.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import _common

import edgecv_runtime as ert
from edgecv_export.wrapping import wrap
from edgecv_runtime.annotations import AnnotatedImages, read_annotated_images
from edgecv_runtime.bench import measure_latency
from edgecv_runtime.cli.output import table
from edgecv_runtime.evaluate_objects import evaluate_detection

# File below the data folder -> decoder, and whether its classes are COCO's 90 numbers.
MODELS = {
    "models/detection/yolox_nano.onnx": ("yolox", False),
    "models/detection/ssd_mobilenet_v1_coco_quant.tflite": ("ssd-postprocessed", True),
}
UNUSED = {12, 26, 29, 30, 45, 66, 68, 69, 71, 83}  # numbers of COCO's that no class has


def labels_of(names: dict[int, str], numbered: bool) -> list[str]:
    """Class names in the order of a model's indices: the 80 in use, or all 90 numbers."""
    in_use = iter(names[index] for index in sorted(names))
    if not numbered:
        return list(in_use)
    return ["not in use" if number in UNUSED else next(in_use) for number in range(1, 91)]


def measure(source: Path, decoder: str, labels: list[str], data: AnnotatedImages) -> dict[str, Any]:
    """Wrap one model, evaluate it and time it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.edgecv")
        wrapped = wrap(source, path, decoder=decoder, labels=labels)
        with ert.load(path) as model:
            accuracy = evaluate_detection(model, data)
            picture = ert.read_image(data.images[0].path)
            (latency,) = measure_latency([model], [picture], 30)
        verified = ert.verify(path).passed
    figures = {name: value for name, value in accuracy.to_dict().items() if name != "by_class"}
    size = wrapped.report["size"]
    return {"model": source.name, "size": size, **figures, "latency_ms": latency.p50_ms, "verified": verified}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
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
    rows = [
        measure(folder / name, decoder, labels_of(names, numbered), data)
        for name, (decoder, numbered) in MODELS.items()
    ]
    print(f"{len(data.images)} pictures; {_common.machine_line()}")
    print(table(_HEADER, [_row(row) for row in rows]))
    _common.write_json(options.json, {"rows": rows})
    return 0


_HEADER = ("model", "mAP", "mAP50", "mAP75", "small", "medium", "large", "AR100", "ms", "MB", "verify")


def _row(row: dict[str, Any]) -> list[str]:
    figures = ("map", "map50", "map75", "map_small", "map_medium", "map_large", "ar100")
    return [
        row["model"],
        *(f"{100 * row[name]:.1f}" for name in figures),
        f"{row['latency_ms']:.1f}",
        f"{row['size'] / 1e6:.2f}",
        "passed" if row["verified"] else "FAILED",
    ]


if __name__ == "__main__":
    raise SystemExit(main())
