"""Small objects in 4K frames: one look, and tiles.

    python benchmarks/tiling.py [--tile N] [--json FILE] [--save PICTURE]

Frames of 3840×2160 pixels are put together from 24 labelled COCO photographs each, and searched by YOLOX-nano (416×416)
at one look and in tiles. mAP of both, the duplicates among what is found (boxes of one class that overlap a better one
by more than half, or lie within one), and the time in the same run. Needs EDGECV_DATA.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import _common
import cv2
import numpy as np
from detection import labels_of

import edgecv_runtime as ert
from edgecv_export.wrapping import wrap
from edgecv_runtime.annotations import AnnotatedImage, AnnotatedImages, read_annotated_images
from edgecv_runtime.cli.output import table
from edgecv_runtime.evaluate_objects import evaluate_detection
from edgecv_runtime.metrics.coco import Truth

COLUMNS, ROWS, CELL = 6, 4, (540, 640)  # height, width: 3840×2160 in all


def compose(images: tuple[AnnotatedImage, ...], path: Path) -> AnnotatedImage:
    """One frame of photographs, each shrunk where it is larger than its cell, and its objects."""
    canvas = np.full((ROWS * CELL[0], COLUMNS * CELL[1], 3), 114, np.uint8)
    truths = []
    for place, image in enumerate(images):
        pixels = ert.read_image(image.path)
        height, width = pixels.shape[:2]
        shrink = min(1.0, CELL[0] / height, CELL[1] / width)
        if shrink < 1:
            pixels = cv2.resize(pixels, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA)
        top, left = place // COLUMNS * CELL[0], place % COLUMNS * CELL[1]
        canvas[top : top + pixels.shape[0], left : left + pixels.shape[1]] = pixels
        truth = image.in_pixels(height, width)
        boxes = truth.boxes * shrink + np.array([left, top] * 2)
        truths.append(Truth(boxes, truth.classes, truth.areas * shrink**2, truth.crowd))
    cv2.imwrite(str(path), canvas[:, :, ::-1])
    fields = ("boxes", "classes", "areas", "crowd")
    joined = (np.concatenate([getattr(truth, field) for truth in truths]) for field in fields)
    return AnnotatedImage(path, Truth(*joined))


def duplicates(found: Any) -> int:
    """Boxes that overlap a better one of their class by more than half, or lie within it by nine tenths."""
    count = 0
    boxes = found.boxes.astype(np.float64)
    sides = (boxes[:, 2:] - boxes[:, :2]).clip(0)
    areas = sides.prod(axis=1)
    for row in range(1, len(found)):
        low = np.maximum(boxes[row, :2], boxes[:row, :2])
        shared = (np.minimum(boxes[row, 2:], boxes[:row, 2:]) - low).clip(0).prod(axis=1)
        iou = shared / np.maximum(areas[row] + areas[:row] - shared, 1e-9)
        within = shared / max(areas[row], 1e-9)
        count += bool((((iou > 0.5) | (within > 0.9)) & (found.classes[:row] == found.classes[row])).any())
    return count


def main() -> int:
    parser = _common.parser(__doc__)
    parser.add_argument("--tile", type=_common.positive, default=640, help="pixels (default: %(default)s)")
    parser.add_argument("--save", type=Path, metavar="PICTURE", help="what is found in the first frame, drawn")
    options = parser.parse_args()
    folder = _common.data_folder()
    if folder is None:
        print("real models and pictures are needed: set EDGECV_DATA", file=sys.stderr)
        return 2
    data = read_annotated_images(folder / "coco128")
    names = dict(data.names or {})
    each = COLUMNS * ROWS
    rows = []
    with tempfile.TemporaryDirectory() as made:
        frames = AnnotatedImages(
            tuple(
                compose(data.images[start : start + each], Path(made, f"{start}.png"))
                for start in range(0, len(data.images) - each + 1, each)
            ),
            data.names,
        )
        bundle = Path(made, "model.edgecv")
        model_file = folder / "models" / "detection" / "yolox_nano.onnx"
        wrap(model_file, bundle, decoder="yolox", labels=labels_of(names, numbered=False))
        with ert.load(bundle) as model:
            ways = {
                "one look": model,
                f"tiles of {options.tile}, and one look": ert.TiledModel(model, options.tile),
                f"tiles of {options.tile} alone": ert.TiledModel(model, options.tile, whole=False),
            }
            for name, way in ways.items():
                started = time.perf_counter()
                accuracy = evaluate_detection(way, frames)
                seconds = (time.perf_counter() - started) / len(frames.images)
                with model.configured(score_threshold=0.3):
                    found = [way(image.path) for image in frames.images]
                rows.append(
                    {
                        "way": name,
                        "map50": accuracy.map50,
                        "small": accuracy.map_small,
                        "medium": accuracy.map_medium,
                        "large": accuracy.map_large,
                        "found": sum(len(one) for one in found),
                        "duplicates": sum(duplicates(one) for one in found),
                        "seconds": seconds,
                    }
                )
                if options.save and way is not model and len(rows) == 2:
                    picture = ert.draw(ert.read_image(frames.images[0].path), found[0])
                    cv2.imwrite(str(options.save), picture[:, :, ::-1])
        objects = sum(len(image.truth.boxes) for image in frames.images)
    print(f"{len(frames.images)} frames of 3840×2160, {objects} objects; {_common.machine_line()}")
    print(table(["way", "mAP50", "small", "medium", "large", "found", "duplicates", "s/frame"], _cells(rows)))
    _common.write_json(options.json, {"rows": rows})
    return 0


def _cells(rows: list[dict[str, Any]]) -> list[list[str]]:
    return [
        [
            row["way"],
            *(f"{100 * row[name]:.1f}" for name in ("map50", "small", "medium", "large")),
            str(row["found"]),
            str(row["duplicates"]),
            f"{row['seconds']:.2f}",
        ]
        for row in rows
    ]


if __name__ == "__main__":
    sys.exit(main())
