"""Augmented Grad-CAM against Grad-CAM: resolution, and how well the box at 20 % of the maximum fits the object.

    python benchmarks/explain.py [--json FILE]

The pictures are those of coco128 (in EDGECV_DATA) with one large object: it covers at least a tenth of the picture,
and all others together less than a tenth of what it covers. Networks are the float MobileNets of EDGECV_DATA; the
class is the one they find most likely (COCO's classes are not ImageNet's). Both methods see the same input, stretched
to 224×224, and the same threshold.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from _common import BenchmarkError, data_folder, machine_line, parser, positive, write_json

LARGE, OTHERS = 0.10, 0.10
MODELS = (
    ("mobilenet_v2", Path("models", "classification", "mobilenet_v2_1.0_224_dequant.weights.h5")),
    ("mobilenet_v1", Path("models", "classification", "mobilenet_v1_1.0_224_dequant.weights.h5")),
)


def single_large_object(labels: Path) -> npt.NDArray[np.float64] | None:
    """The box (x1, y1, x2, y2 in 0..1) of a YOLO label file's one large object; None where there is none."""
    rows = np.array([line.split() for line in labels.read_text("utf-8").splitlines() if line.strip()], np.float64)
    if len(rows) == 0:
        return None
    areas = rows[:, 3] * rows[:, 4]
    largest = int(areas.argmax())
    if areas[largest] < LARGE or areas.sum() - areas[largest] > OTHERS * areas[largest]:
        return None
    _, x, y, width, height = rows[largest]
    return np.array([x - width / 2, y - height / 2, x + width / 2, y + height / 2])


def overlap(a: npt.ArrayLike, b: npt.ArrayLike) -> float:
    """Intersection over union of two boxes, xyxy."""
    first, second = np.asarray(a, np.float64), np.asarray(b, np.float64)
    sides = np.minimum(first[2:], second[2:]) - np.maximum(first[:2], second[:2])
    shared = float(np.prod(np.maximum(sides, 0)))
    return shared / float(np.prod(first[2:] - first[:2]) + np.prod(second[2:] - second[:2]) - shared)


def measure(name: str, weights: Path, pictures: list[tuple[Path, Any]], factor: int, count: int) -> dict[str, Any]:
    import edgecv
    from edgecv.explain.activation_maps import grad_cam
    from edgecv.explain.augmented import augmented_grad_cam
    from edgecv.explain.localization import localize
    from edgecv_runtime.images import cv2, read_image

    model = edgecv.create_model(name, weights=weights)
    rows = []
    seconds = {"grad-cam": 0.0, "augmented": 0.0}
    resolution: dict[str, list[int]] = {}
    for path, box in pictures:
        image = read_image(path)
        tensor = cv2("resizing").resize(image, (224, 224)).astype(np.float32) / 127.5 - 1
        truth = box * np.array([image.shape[1], image.shape[0]] * 2)
        row: dict[str, Any] = {"image": path.name}
        started = time.perf_counter()
        plain = grad_cam(model, tensor)
        seconds["grad-cam"] += time.perf_counter() - started
        started = time.perf_counter()
        fine = augmented_grad_cam(model, tensor, plain.class_index, factor=factor, count=count)
        seconds["augmented"] += time.perf_counter() - started
        for method, heatmap in (("grad-cam", plain), ("augmented", fine)):
            row[method] = overlap(localize(heatmap, image.shape[:2]), truth)
            resolution[method] = list(heatmap.values.shape)
        rows.append({**row, "class": plain.class_index})
    means = {method: float(np.mean([row[method] for row in rows])) for method in seconds}
    return {
        "model": name,
        "pictures": len(rows),
        "resolution": resolution,
        "iou": means,
        "better": sum(row["augmented"] > row["grad-cam"] for row in rows),
        "seconds_per_picture": {method: value / len(rows) for method, value in seconds.items()},
        "rows": rows,
    }


def main() -> int:
    made = parser(__doc__ or "")
    made.formatter_class = argparse.RawDescriptionHelpFormatter
    made.add_argument("--factor", type=positive, default=4, help="resolution over Grad-CAM's, each side (default: 4)")
    made.add_argument("--count", type=positive, default=64, help="moved pictures (default: 64)")
    options = made.parse_args()
    data = data_folder()
    if data is None or not (data / "coco128").is_dir():
        raise BenchmarkError("EDGECV_DATA must be a folder that holds coco128")
    found = [
        (data / "coco128" / "images" / f"{labels.stem}.jpg", box)
        for labels in sorted((data / "coco128" / "labels").glob("*.txt"))
        if (box := single_large_object(labels)) is not None
    ]
    print(machine_line())
    print(
        f"{len(found)} pictures with a single large object, {options.count} moved pictures, factor {options.factor}\n"
    )
    print(f"{'model':<14}{'map':>10}{'IoU':>8}   {'map':>10}{'IoU':>8}{'better':>9}   s per picture")
    print(f"{'':<14}{'Grad-CAM':>18}   {'Augmented Grad-CAM':>18}")
    results = []
    for name, weights in MODELS:
        result = measure(name, data / weights, found, options.factor, options.count)
        results.append(result)
        maps = ["×".join(map(str, result["resolution"][method])) for method in ("grad-cam", "augmented")]
        iou, spent = result["iou"], result["seconds_per_picture"]
        print(
            f"{name:<14}{maps[0]:>10}{iou['grad-cam']:>8.3f}   {maps[1]:>10}{iou['augmented']:>8.3f}"
            f"{result['better']:>5}/{result['pictures']:<3}   {spent['grad-cam']:.2f} / {spent['augmented']:.2f}"
        )
    write_json(options.json, {"benchmark": "explain", "results": results})
    return 0 if all(result["iou"]["augmented"] > result["iou"]["grad-cam"] for result in results) else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except BenchmarkError as error:
        sys.exit(f"explain: {error}")
