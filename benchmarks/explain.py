"""Augmented Grad-CAM against Grad-CAM: resolution, and how well the box at 20 % of the maximum fits the object.

    python benchmarks/explain.py [--json FILE]

The pictures are those of coco128 (in EDGECV_DATA) with one large object: it covers at least a tenth of the picture,
and all others together less than a tenth of what it covers. Networks are the float MobileNets of EDGECV_DATA. The
class is known, as usual where only localization is measured: of the ImageNet classes that are the object's COCO class,
the one that the network finds most likely; pictures of things that ImageNet has no class for (people) are left out.
Both methods see the same input, stretched to 224×224, and the same threshold. λ was chosen on these pictures, among
values around it of which all were above Grad-CAM; they are few, so read the difference with its wins.
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

# COCO's class index (in YOLO files) to the ImageNet classes that are such things.
IMAGENET = {
    2: (436, 468, 511, 609, 627, 656, 661, 717, 751, 817),  # car
    3: (665, 670),  # motorcycle
    4: (404, 895),  # airplane
    5: (654, 779, 874),  # bus
    6: (466, 547, 705, 820),  # train
    7: (555, 569, 675, 717, 864, 867),  # truck
    8: (472, 484, 554, 576, 625, 628, 724, 780, 814, 914),  # boat
    14: (*range(7, 25), *range(80, 101), *range(127, 147)),  # bird
    15: tuple(range(281, 286)),  # cat
    16: tuple(range(151, 269)),  # dog
    17: (339,),  # horse
    18: (348, 349),  # sheep
    19: (345, 346, 347),  # cow
    20: (101, 385, 386),  # elephant
    21: (294, 295, 296, 297),  # bear
    22: (340,),  # zebra
    59: (520, 564, 750, 831),  # bed
    61: (861,),  # toilet
    74: (409, 530, 892),  # clock
}
MODELS = (
    ("mobilenet_v2", Path("models", "classification", "mobilenet_v2_1.0_224_dequant.weights.h5")),
    ("mobilenet_v1", Path("models", "classification", "mobilenet_v1_1.0_224_dequant.weights.h5")),
)


def single_large_object(labels: Path) -> tuple[int, npt.NDArray[np.float64]] | None:
    """Class and box (x1, y1, x2, y2 in 0..1) of a YOLO label file's one large object; None where there is none."""
    rows = np.array([line.split() for line in labels.read_text("utf-8").splitlines() if line.strip()], np.float64)
    if len(rows) == 0:
        return None
    areas = rows[:, 3] * rows[:, 4]
    largest = int(areas.argmax())
    if areas[largest] < LARGE or areas.sum() - areas[largest] > OTHERS * areas[largest]:
        return None
    kind, x, y, width, height = rows[largest]
    return int(kind), np.array([x - width / 2, y - height / 2, x + width / 2, y + height / 2])


def overlap(a: npt.ArrayLike, b: npt.ArrayLike) -> float:
    """Intersection over union of two boxes, xyxy."""
    first, second = np.asarray(a, np.float64), np.asarray(b, np.float64)
    sides = np.minimum(first[2:], second[2:]) - np.maximum(first[:2], second[:2])
    shared = float(np.prod(np.maximum(sides, 0)))
    return shared / float(np.prod(first[2:] - first[:2]) + np.prod(second[2:] - second[:2]) - shared)


def measure(name: str, weights: Path, pictures: list[tuple[Path, int, Any]], factor: int, count: int) -> dict[str, Any]:
    import edgecv
    from edgecv.explain.activation_maps import grad_cam
    from edgecv.explain.augmented import augmented_grad_cam
    from edgecv.explain.localization import localize
    from edgecv_runtime.images import cv2, read_image

    model = edgecv.create_model(name, weights=weights)
    rows = []
    seconds = {"grad-cam": 0.0, "augmented": 0.0}
    resolution: dict[str, list[int]] = {}
    for path, kind, box in pictures:
        image = read_image(path)
        tensor = cv2("resizing").resize(image, (224, 224)).astype(np.float32) / 127.5 - 1
        truth = box * np.array([image.shape[1], image.shape[0]] * 2)
        row: dict[str, Any] = {"image": path.name}
        scores = np.asarray(model(tensor[None], training=False))[0]
        chosen = max(IMAGENET[kind], key=lambda index, scores=scores: scores[index])
        started = time.perf_counter()
        plain = grad_cam(model, tensor, chosen)
        seconds["grad-cam"] += time.perf_counter() - started
        started = time.perf_counter()
        fine = augmented_grad_cam(model, tensor, chosen, factor=factor, count=count)
        seconds["augmented"] += time.perf_counter() - started
        for method, heatmap in (("grad-cam", plain), ("augmented", fine)):
            row[method] = overlap(localize(heatmap, image.shape[:2]), truth)
            resolution[method] = list(heatmap.values.shape)
        rows.append({**row, "class": chosen})
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
    made.add_argument("--count", type=positive, default=32, help="moved pictures (default: 32)")
    options = made.parse_args()
    data = data_folder()
    if data is None or not (data / "coco128").is_dir():
        raise BenchmarkError("EDGECV_DATA must be a folder that holds coco128")
    found = [
        (data / "coco128" / "images" / f"{labels.stem}.jpg", *thing)
        for labels in sorted((data / "coco128" / "labels").glob("*.txt"))
        if (thing := single_large_object(labels)) is not None and thing[0] in IMAGENET
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
