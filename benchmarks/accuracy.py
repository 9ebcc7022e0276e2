"""What each format and precision keeps of a model's accuracy, on real weights and real photographs.

    python benchmarks/accuracy.py [--models M ...] [--formats F ...] [--precisions P ...] [--json FILE]

Every third of the labelled images calibrates, the other two thirds are evaluated on: none serves both. The figures to
read are differences between precisions; the images are from ImageNet's training set, so the absolute ones run high.
Needs the weights and images that EDGECV_DATA names (default: ../shared/data beside the checkout).
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import _common
import numpy as np

import edgecv
import edgecv_runtime as ert
from edgecv_export.plan import Plan
from edgecv_export.sources import source_of
from edgecv_runtime.bench import measure_latency
from edgecv_runtime.cli.output import table
from edgecv_runtime.evaluate import read_labelled_images
from edgecv_runtime.manifest import FORMATS

# Name in the table -> builder, options, weight file below the data folder.
MODELS: dict[str, tuple[str, dict[str, Any], str]] = {
    "mobilenet_v1 1.0": ("mobilenet_v1", {}, "mobilenet_v1_1.0_224_dequant.weights.h5"),
    "mobilenet_v2 1.0": ("mobilenet_v2", {}, "mobilenet_v2_1.0_224_dequant.weights.h5"),
    "mobilenet_v1 0.25": ("mobilenet_v1", {"alpha": 0.25}, "mobilenet_v1_0.25_224.h5"),
}
PRECISIONS = ("fp32", "fp16", "dynamic", "int8", "int16x8")


def measure(
    model: Any, plan: Plan, calibration: list[Any], images: list[Any], truth: Any, answers: Any
) -> dict[str, Any]:
    """Export one combination, and compare it with the float answers on the evaluation images."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.edgecv")
        exported = edgecv.export(model, path, format=plan.format, precision=plan.precision, calibration=calibration)
        verified = ert.verify(path).passed
        with ert.load(path) as runnable:
            scores = np.concatenate([runnable.outputs(image)[0] for image in images])
            (latency,) = measure_latency([runnable], [images[0]], 30)
    return {
        "format": plan.format,
        "precision": plan.precision,
        "size": exported.report["size"],
        "top1_float": float((answers.argmax(-1) == truth).mean()),
        "top1": float((scores.argmax(-1) == truth).mean()),
        "agreement": float((scores.argmax(-1) == answers.argmax(-1)).mean()),
        "max_abs": float(np.abs(scores - answers).max()),
        "latency_ms": latency.p50_ms,
        "verified": verified,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--formats", nargs="+", choices=FORMATS, default=list(FORMATS))
    parser.add_argument("--precisions", nargs="+", choices=PRECISIONS, default=list(PRECISIONS))
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    data = _common.data_folder()
    if data is None:
        print("real images and weights are needed: set EDGECV_DATA", file=sys.stderr)
        return 2
    items = read_labelled_images(data / "imagenet-samples", None, 1000)
    pictures = [ert.read_image(item.path) for item in items]
    held = np.arange(len(items)) % 3 == 0
    calibration = [picture for picture, use in zip(pictures, held, strict=True) if use]
    images = [picture for picture, use in zip(pictures, held, strict=True) if not use]
    truth = np.array([item.class_index for item in items])[~held]
    rows: list[dict[str, Any]] = []
    for title in options.models:
        name, model_options, weights = MODELS[title]
        model = edgecv.create_model(name, weights=data / "models" / "classification" / weights, **model_options)
        answers = source_of(model).predict(images)
        for format in options.formats:
            for precision in options.precisions:
                try:
                    plan = Plan(format, precision)
                except ert.UnsupportedError as refusal:
                    rows.append({"model": title, "format": format, "precision": precision, "refused": str(refusal)})
                    continue
                measured = measure(model, plan, calibration, images, truth, answers)
                rows.append({"model": title, **measured})
                print(f"{title} {format} {precision}: {100 * measured['top1']:.1f}", file=sys.stderr, flush=True)
    print(f"{len(calibration)} images to calibrate, {len(images)} others to evaluate; {_common.machine_line()}")
    print(table(_HEADER, [_row(row) for row in rows]))
    _common.write_json(options.json, {"rows": rows})
    return 0


_HEADER = ("model", "format", "precision", "top-1", "float", "points", "agrees", "max |Δp|", "MB", "ms", "verify")


def _row(row: dict[str, Any]) -> list[str]:
    if "refused" in row:
        return [row["model"], row["format"], row["precision"], *[""] * 7, "refused"]
    return [
        row["model"],
        row["format"],
        row["precision"],
        f"{100 * row['top1']:.1f}",
        f"{100 * row['top1_float']:.1f}",
        f"{100 * (row['top1'] - row['top1_float']):+.1f}",
        f"{100 * row['agreement']:.1f} %",
        f"{row['max_abs']:.1e}",
        f"{row['size'] / 1e6:.2f}",
        f"{row['latency_ms']:.2f}",
        "passed" if row["verified"] else "FAILED",
    ]


if __name__ == "__main__":
    raise SystemExit(main())
