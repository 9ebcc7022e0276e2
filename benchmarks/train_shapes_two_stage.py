"""Train every family of two-stage detectors on drawn shapes, and measure it on shapes it never saw.

    python benchmarks/train_shapes_two_stage.py [--family NAME …] [--weights DIR] [--json FILE] [--markdown FILE]
        [--plot FILE]

Pictures come from ``edgecv.data.shapes``. Answers are read by the decoder that the device has and measured as
``edgecv eval`` measures. Accepted: mAP50 of boxes 0.9, AP50 of masks 0.8, keypoints within 3 % of the picture.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import numpy.typing as npt
from _common import parser, positive, write_json
from _results import write_markdown
from _shapes import SEEDS, SIZE, create_network, decoder_of, keep_weights, kept_weights

from edgecv.data.shapes import ShapesSample, generate_shapes
from edgecv.detection.boxes import iou_matrix
from edgecv_runtime.cli.output import table
from edgecv_runtime.metrics.coco import Found, Truth, average_precision
from edgecv_runtime.preprocess import Geometry
from edgecv_runtime.results import Detections

LIMITS = {"map50": 0.9, "mask_ap50": 0.8, "keypoint_distance": 0.03}
HELD_OUT = 200
PICTURES = 1000

_SMALL: Mapping[str, Any] = {"backbone": "plain", "alpha": 0.5, "dense_width": 128}
_KEEP_ALL: Mapping[str, Any] = {**_SMALL, "dropout": 0.0}
_ANCHORS: Mapping[str, Any] = {"anchor_scale": 0.15, "proposals": 50, "candidates": 400}


@dataclass(frozen=True)
class Family:
    """A network of the list, small enough for shapes, and how it is trained."""

    model: str
    epochs: int
    options: Mapping[str, Any]
    learning_rate: float = 2e-3
    batch: int = 4
    size: int = SIZE  # of the network's input
    pictures: int = PICTURES
    regions: int = 32
    anchors: int = 64
    sought: bool = False  # regions are sought in the picture before the network sees it


FAMILIES = {
    "rcnn": Family("rcnn", 20, _KEEP_ALL, size=32, pictures=400, sought=True),
    "fast-rcnn": Family("fast_rcnn", 12, {**_KEEP_ALL, "regions": 100}, pictures=500, sought=True),
    "faster-rcnn": Family("faster_rcnn", 12, {**_KEEP_ALL, **_ANCHORS}),
    "mask-rcnn": Family(
        "mask_rcnn",
        13,
        {**_SMALL, **_ANCHORS, "detections": 20, "mask_width": 32, "mask_depth": 2, "keypoints": 4},
        batch=8,
    ),
}


# -- networks ----------------------------------------------------------------------------------------------------------


def create(family: Family, weights: Path | None = None) -> Any:
    return create_network(family.model, family.size, family.options, weights)


def train(name: str, pictures: int, epochs: int) -> tuple[Any, dict[str, Any]]:
    """A trained network, and what is to be said of its training."""
    import keras

    from edgecv.two_stage.fit import TrainingOptions
    from edgecv.two_stage.train import train_two_stage

    family = FAMILIES[name]
    keras.utils.set_random_seed(0)
    model = create(family)
    samples = generate_shapes(pictures, SIZE, SEEDS["learned"])
    options = TrainingOptions(
        epochs=epochs,
        batch=family.batch,
        learning_rate=family.learning_rate,
        regions=family.regions,
        anchors=family.anchors,
    )
    started = time.perf_counter()

    def told(epoch: int, loss: float) -> None:
        print(f"  epoch {epoch}: loss {loss:.3f}, {time.perf_counter() - started:.0f} s", file=sys.stderr, flush=True)

    if name == "rcnn":
        from edgecv.two_stage.rcnn import train_rcnn

        train_rcnn(model, samples, options, on_epoch=told)
    else:
        train_two_stage(model, samples, options, _sought(family, samples), on_epoch=told)
    record = {"epochs": epochs, "pictures": pictures, "seconds": time.perf_counter() - started}
    return model, record


def _sought(family: Family, samples: Sequence[ShapesSample]) -> list[Any] | None:
    if not family.sought:
        return None
    from edgecv.two_stage.region_proposals import propose_regions

    count = family.options.get("regions")
    return [propose_regions(sample.image, count=count) for sample in samples]


# -- answers -----------------------------------------------------------------------------------------------------------


def detect(name: str, model: Any, samples: Sequence[ShapesSample], batch: int = 25) -> list[Detections]:
    """What the network finds, read as on the device."""
    from edgecv.two_stage.fit import normalise

    family, decoder = FAMILIES[name], decoder_of(model)
    if name == "rcnn":
        from edgecv.two_stage.rcnn import detect_objects

        return [detect_objects(model, sample.image, decoder) for sample in samples]
    geometry = Geometry((SIZE, SIZE), (1.0, 1.0), (0.0, 0.0))
    found: list[Detections] = []
    for start in range(0, len(samples), batch):
        part = samples[start : start + batch]
        inputs: Any = normalise(np.stack([sample.image for sample in part]))
        regions = _sought(family, part)
        if regions is not None:
            inputs = [inputs, np.stack(regions)]
        outputs = [np.asarray(output) for output in model(inputs, training=False)]
        for row in range(len(part)):
            found.append(decoder.decode([output[row] for output in outputs], geometry))
    return found


# -- figures -----------------------------------------------------------------------------------------------------------


def figures_of(found: Sequence[Detections], samples: Sequence[ShapesSample]) -> dict[str, float]:
    """mAP of boxes, AP of masks and distances of keypoints, of what the answers have."""
    truths = [_truth(sample) for sample in samples]
    answers = [
        Found(answer.boxes.astype(np.float64), answer.scores.astype(np.float64), answer.classes, answer.masks)
        for answer in found
    ]
    boxes = average_precision(truths, answers)
    figures = {"map50": boxes.map50, "map": boxes.map}
    if any(answer.masks is not None for answer in found):
        masks = average_precision(truths, answers, by="masks")
        figures |= {"mask_ap50": masks.map50, "mask_ap": masks.map}
    if any(answer.keypoints is not None for answer in found):
        distances = keypoint_distances(found, samples)
        figures |= {
            "keypoint_distance": float(distances.mean()),
            "keypoints_within": float((distances <= LIMITS["keypoint_distance"]).mean()),
        }
    return figures


def _truth(sample: ShapesSample) -> Truth:
    plain = Truth.of(sample.boxes, sample.classes)
    areas = sample.masks.sum(axis=(1, 2)).astype(np.float64)
    return Truth(plain.boxes, plain.classes, areas, plain.crowd, sample.masks)


def keypoint_distances(found: Sequence[Detections], samples: Sequence[ShapesSample]) -> npt.NDArray[np.float64]:
    """Of every keypoint that is seen, of every object that was found: over the side of the picture.

    An object counts as found by the best detection of its class that scores 0.5 and overlaps it by one half.
    """
    distances = []
    for answer, sample in zip(found, samples, strict=True):
        sure = answer.above(0.5)
        if not len(sure) or sure.keypoints is None:
            continue
        overlaps = iou_matrix(sample.boxes, sure.boxes) * (sample.classes[:, None] == sure.classes[None])
        for row, best in enumerate(overlaps.argmax(axis=1)):
            if overlaps[row, best] >= 0.5:
                apart = sample.keypoints[row, :, :2] - sure.keypoints[best, :, :2]
                distances.append(np.hypot(*apart.T)[sample.keypoints[row, :, 2] > 0] / SIZE)
    return np.concatenate(distances).astype(np.float64) if distances else np.ones(1)


def passed(figures: Mapping[str, float]) -> bool:
    """Whether every figure that is there is accepted."""
    low = all(figures[name] >= LIMITS[name] for name in ("map50", "mask_ap50") if name in figures)
    return low and figures.get("keypoint_distance", 0.0) <= LIMITS["keypoint_distance"]


def measure(name: str, options: Any, held_out: Sequence[ShapesSample]) -> tuple[dict[str, Any], list[Detections]]:
    """Train one family, or take its weights, and measure it."""
    family = FAMILIES[name]
    kept = kept_weights(options.weights, name)
    if kept is not None:
        weights, record = kept
        model = create(family, weights)
    else:
        print(f"training {name} ({family.model}) …", file=sys.stderr, flush=True)
        model, record = train(name, options.pictures or family.pictures, options.epochs or family.epochs)
        keep_weights(options.weights, name, model, record)
    found = detect(name, model, held_out)
    figures = figures_of(found, held_out)
    described = {"family": name, "model": family.model, "options": dict(family.options), "input": family.size}
    return {**described, "parameters": model.count_params(), **record, **figures, "passed": passed(figures)}, found


# -- command -----------------------------------------------------------------------------------------------------------

HEADER = (
    "family", "input", "parameters", "pictures", "epochs", "minutes", "mAP50", "mAP", "mask AP50", "mask AP",
    "keypoints: mean distance", "within 3 %",
)  # fmt: skip


def row_of(row: Mapping[str, Any]) -> list[str]:
    def share(name: str, digits: int = 3) -> str:
        return f"{row[name]:.{digits}f}" if name in row else ""

    distance = f"{100 * row['keypoint_distance']:.2f} %" if "keypoint_distance" in row else ""
    within = f"{100 * row['keypoints_within']:.1f} %" if "keypoints_within" in row else ""
    return [
        row["family"], f"{row['input']}×{row['input']}", f"{row['parameters']:,}", str(row["pictures"]),
        str(row["epochs"]), f"{row['seconds'] / 60:.1f}", share("map50"), share("map"), share("mask_ap50"),
        share("mask_ap"), distance, within,
    ]  # fmt: skip


def plot(path: Path, samples: Sequence[ShapesSample], answers: Mapping[str, Sequence[Detections]]) -> None:
    """Eight held-out pictures a family, with what it finds above a score of one half."""
    import cv2

    from edgecv_runtime.drawing import draw

    rows = []
    for found in answers.values():
        drawn = []
        for sample, answer in zip(samples[:8], found, strict=False):
            large = cv2.resize(sample.image, None, fx=2, fy=2, interpolation=cv2.INTER_NEAREST)
            drawn.append(draw(large, _doubled(answer.above(0.5))))
        rows.append(np.concatenate(drawn, axis=1))
    sheet = np.concatenate(rows)
    cv2.imwrite(str(path), sheet[:, :, ::-1])


def _doubled(found: Detections) -> Detections:
    masks, points = found.masks, found.keypoints
    return Detections(
        found.boxes * 2,
        found.scores,
        found.classes,
        found.names,
        None if masks is None else masks.repeat(2, axis=1).repeat(2, axis=2),
        None if points is None else points * np.float32([2, 2, 1]),
    )


def main() -> None:
    options_of = parser(__doc__)
    options_of.add_argument("--family", choices=FAMILIES, nargs="+", default=list(FAMILIES), help="(default: all)")
    options_of.add_argument("--pictures", type=positive, help="to learn from (default: what each family needs)")
    options_of.add_argument("--epochs", type=positive, help="(default: what each family needs)")
    options_of.add_argument("--held-out", type=positive, default=HELD_OUT, help="pictures (default: %(default)s)")
    options_of.add_argument("--weights", type=Path, metavar="DIR", help="keep the weights there and use those there")
    options_of.add_argument("--markdown", type=Path, metavar="FILE", help="write the table as a page, too")
    options_of.add_argument("--plot", type=Path, metavar="FILE", help="draw some answers (PNG)")
    options = options_of.parse_args()
    held_out = generate_shapes(options.held_out, SIZE, SEEDS["held out"])
    rows, answers = [], {}
    for name in options.family:
        row, answers[name] = measure(name, options, held_out)
        rows.append(row)
    print(table(HEADER, [row_of(row) for row in rows]))
    write_json(options.json, {"limits": LIMITS, "held_out": options.held_out, "families": rows})
    if options.markdown is not None:
        paragraphs = [
            f"`benchmarks/train_shapes_two_stage.py`: pictures of {SIZE}×{SIZE} pixels with circles, squares and "
            f"triangles (`edgecv.data.shapes`, seed {SEEDS['learned']}), measured on {options.held_out} pictures of "
            f"seed {SEEDS['held out']} by the runtime's decoder and metrics. R-CNN and Fast R-CNN look at the regions "
            "of our own selective search, the other two propose their own.",
            f"Accepted: mAP50 of boxes at least {LIMITS['map50']}, AP50 of masks at least {LIMITS['mask_ap50']}, "
            f"keypoints within {100 * LIMITS['keypoint_distance']:.0f} % of the picture's side on average.",
        ]
        write_markdown(
            options.markdown, "Two-stage detectors on drawn shapes", paragraphs, HEADER,
            [row_of(row) for row in rows], ("keras", "tensorflow-cpu", "numpy"),
        )  # fmt: skip
    if options.plot is not None:
        plot(options.plot, held_out, answers)
    if not all(row["passed"] for row in rows):
        sys.exit("a figure is below what is accepted")


if __name__ == "__main__":
    main()
