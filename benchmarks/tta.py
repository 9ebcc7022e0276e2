"""What test-time augmentation gains and costs on labelled photographs.

    python benchmarks/tta.py [BUNDLE ...] [--images DIR] [--json FILE]

Top-1 and top-5 of each recipe on the labelled pictures (default: the 300 of EDGECV_DATA), how often the model is asked
for a picture, and the time over that of the plain loop in the same run. Without a bundle, a float MobileNetV2 is made.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import _common

import edgecv_runtime as ert
from edgecv_runtime.cli.output import table
from edgecv_runtime.evaluate import LabelledImage, class_count, evaluate_classification, read_labelled_images

# Name in the table -> transforms, options of `AugmentedModel`.
RECIPES: dict[str, tuple[list[str], dict[str, Any]]] = {
    "plain": (["identity"], {}),
    "flip": (["identity", "hflip"], {}),
    "flip, if unsure (0.6)": (["identity", "hflip"], {"only_if_unsure": 0.6}),
    "flip, geometric mean": (["identity", "hflip"], {"merge": "gmean"}),
    "two scales and flips": (["identity", "hflip", "scale:1.15", "hflip+scale:1.15"], {}),
    "five crops": (["five-crop"], {}),
    "ten crops": (["ten-crop"], {}),
    "ten crops, maximum": (["ten-crop"], {"merge": "max"}),
    "ten crops, if unsure (0.6)": (["identity", "ten-crop"], {"only_if_unsure": 0.6}),
    "turned by ±5°": (["identity", "rotate:5", "rotate:-5"], {}),
    "colour": (["identity", "brightness:0.1", "brightness:-0.1", "contrast:1.2"], {}),
}


def measure(model: Any, items: list[LabelledImage]) -> list[dict[str, Any]]:
    """One row for each recipe."""
    rows: list[dict[str, Any]] = []
    for name, (transforms, options) in RECIPES.items():
        augmented = ert.AugmentedModel(model, transforms, **options)
        started = time.perf_counter()
        accuracy = evaluate_classification(augmented, items)
        seconds = time.perf_counter() - started
        rows.append(
            {
                "recipe": name,
                "top1": accuracy.top1,
                "top5": accuracy.top5,
                "calls": augmented.calls / augmented.pictures,
                "time": seconds / (rows[0]["seconds"] if rows else seconds),
                "seconds": seconds,
            }
        )
    return rows


def main() -> int:
    parser = _common.parser(__doc__)
    parser.add_argument("models", nargs="*", type=Path, metavar="BUNDLE")
    parser.add_argument("--images", type=Path, metavar="DIR", help="labelled pictures, as edgecv eval takes them")
    options = parser.parse_args()
    data = _common.data_folder()
    images = options.images or (data and data / "imagenet-samples")
    if images is None:
        print("labelled pictures are needed: give --images or set EDGECV_DATA", file=sys.stderr)
        return 2
    found = {}
    print(_common.machine_line())
    with tempfile.TemporaryDirectory() as folder:
        for path in options.models or [_common.bundle("tflite", "fp32", options.bundles or Path(folder))]:
            with ert.load(path) as model:
                items = read_labelled_images(images, model.manifest.labels, class_count(model))
                found[path.stem] = measure(model, items)
            print(f"\n{path.stem}, {len(items)} pictures\n")
            print(table(["recipe", "top-1", "gain", "top-5", "calls", "time"], _cells(found[path.stem])))
    _common.write_json(options.json, {"recipes": found})
    return 0


def _cells(rows: list[dict[str, Any]]) -> list[list[str]]:
    return [
        [
            row["recipe"],
            f"{100 * row['top1']:.2f}",
            f"{100 * (row['top1'] - rows[0]['top1']):+.2f}",
            f"{100 * row['top5']:.2f}",
            f"{row['calls']:.2f}",
            f"{row['time']:.2f}×",
        ]
        for row in rows
    ]


if __name__ == "__main__":
    sys.exit(main())
