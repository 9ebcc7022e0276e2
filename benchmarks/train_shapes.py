"""Train every family of single-stage detectors on drawn shapes, and measure it on shapes it never saw.

    python benchmarks/train_shapes.py [--family NAME|all] [--weights DIR] [--json FILE] [--markdown FILE] [--plot FILE]

Pictures come from ``edgecv.data.shapes``. Answers are read by the decoder that the device has and measured as
``edgecv eval`` measures: at least 0.9 of mAP50 is accepted.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from _common import machine_line, parser, positive, write_json
from _results import write_markdown
from _shapes import SEEDS, SIZE, create_network, decoder_of, keep_weights, kept_weights

from edgecv.data.shapes import SHAPE_CLASSES, ShapesSample, generate_shapes
from edgecv_runtime.cli.output import table
from edgecv_runtime.evaluate_objects import translated
from edgecv_runtime.metrics.coco import DetectionAccuracy, Truth, average_precision
from edgecv_runtime.preprocess import Geometry
from edgecv_runtime.results import Detections

LIMIT = 0.9
HELD_OUT = 400


@dataclass(frozen=True)
class Family:
    """A network of the list, small enough for shapes, and how it is trained."""

    model: str
    epochs: int
    learning_rate: float = 2e-3
    batch: int = 16
    pictures: int = 1000
    zoom: int = 1  # pictures are enlarged so many times
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def side(self) -> int:
        """Of the network's input, pixels."""
        return SIZE * self.zoom

    def pictures_of(self, samples: Sequence[ShapesSample]) -> Sequence[ShapesSample]:
        """The pictures at the network's input size, with their boxes."""
        return samples if self.zoom == 1 else [enlarged(sample, self.zoom) for sample in samples]


def enlarged(sample: ShapesSample, times: int) -> ShapesSample:
    """A picture so many times as large, with its boxes."""
    import cv2

    image = cv2.resize(sample.image, None, fx=times, fy=times, interpolation=cv2.INTER_LINEAR)
    return replace(sample, image=image, boxes=sample.boxes * np.float32(times))


FAMILIES = {
    "yolo-v1": Family("yolo_v1_tiny", 30, pictures=1600, options={"grid": 6}),
    "yolo-anchor": Family("yolo_v2_tiny", 30, options={"stride": 8, "alpha": 0.5, "anchors": "16x16 28x28 44x44"}),
    "ssd": Family("ssd300", 30, 1e-3, options={"alpha": 0.25, "smallest": 0.15}),
    "ssdlite-v1": Family(
        "ssdlite_mobilenet_v1",
        30,
        pictures=1600,
        options={"alpha": 0.5, "first_stride": 8, "smallest": 0.36, "largest": 0.6},
    ),
    "ssdlite-v2": Family(
        "ssdlite_mobilenet_v2", 30, options={"alpha": 0.35, "first_stride": 8, "smallest": 0.36, "largest": 0.6}
    ),
    # Windows lie 32 pixels apart, further than small shapes: enlarged, a window or two lies in each of them.
    "overfeat": Family("overfeat", 40, 1e-3, zoom=3, options={"alpha": 0.15, "window": 71}),
    "anchor-free": Family("anchor_free_mobilenet_v2", 30, options={"alpha": 0.35, "channels": 48}),
}


def create(family: Family, *, training: bool = False, weights: Path | None = None) -> Any:
    """The network; without its last activation where it is to be trained."""
    return create_network(family.model, family.side, family.options, weights, training=training)


def detect(model: Any, samples: Sequence[ShapesSample], batch: int = 50) -> list[Detections]:
    """What the network finds, read as on the device."""
    from edgecv.models.registry import get_record

    preprocessing, zoom = get_record(model.name).preprocessing, model.inputs[0].shape[1] // SIZE
    mean, std = (np.array(values, np.float32) for values in (preprocessing.mean, preprocessing.std))
    decoder, geometry = decoder_of(model), Geometry((SIZE, SIZE), (1 / zoom, 1 / zoom), (0.0, 0.0))
    found: list[Detections] = []
    for start in range(0, len(samples), batch):
        pixels = np.stack([enlarged(sample, zoom).image for sample in samples[start : start + batch]]).astype(
            np.float32
        )
        answered = model((pixels - mean) / std, training=False)
        outputs = [np.asarray(output) for output in (answered if isinstance(answered, list) else [answered])]
        for index in range(len(pixels)):
            found.append(decoder.decode(decoder.activate([output[index] for output in outputs]), geometry))
    return found


def accuracy_of(found: Sequence[Detections], samples: Sequence[ShapesSample]) -> DetectionAccuracy:
    truths = [Truth.of(sample.boxes, sample.classes) for sample in samples]
    return average_precision(truths, [translated(answer, None) for answer in found])


def parts_of(model: Any) -> tuple[Any, Any, Any]:
    """The network that learns, which shares the model's weights, its coding and its loss."""
    if model.name == "overfeat":
        from edgecv.detection.overfeat import training_parts

        return training_parts(model)
    from edgecv.detection.families import coding_of, loss_of

    coding = coding_of(model)
    return model, coding, loss_of(coding)


def train(family: Family, count: int, epochs: int) -> tuple[Any, float]:
    """A trained network, without its last activation, and the seconds it took."""
    import keras

    from edgecv.detection.train import train_detector
    from edgecv.models.registry import get_record

    keras.utils.set_random_seed(0)
    model = create(family, training=True)
    network, coding, loss = parts_of(model)
    started = time.perf_counter()
    train_detector(
        network,
        family.pictures_of(generate_shapes(count, SIZE, SEEDS["learned"])),
        coding,
        loss,
        preprocessing=get_record(family.model).preprocessing,
        epochs=epochs,
        batch=family.batch,
        learning_rate=family.learning_rate,
        after_epoch=lambda epoch, loss: print(f"  epoch {epoch}: loss {loss:.3f}", file=sys.stderr, flush=True),
    )
    return model, time.perf_counter() - started


def measure(name: str, options: Any, held_out: Sequence[ShapesSample]) -> tuple[dict[str, Any], list[Detections]]:
    """Train one family, or take its weights, and measure it."""
    from edgecv.complexity import complexity

    family = FAMILIES[name]
    training: dict[str, Any] = {
        "epochs": options.epochs or family.epochs,
        "pictures": options.pictures or family.pictures,
    }
    kept = kept_weights(options.weights, name)
    if kept is not None:
        weights, training = kept
        model = create(family, weights=weights)
    else:
        print(f"training {name} ({family.model}) …", file=sys.stderr, flush=True)
        trained, training["seconds"] = train(family, training["pictures"], training["epochs"])
        keep_weights(options.weights, name, trained, training)
        model = create(family)
        model.set_weights(trained.get_weights())
    found = detect(model, held_out)
    accuracy = accuracy_of(found, held_out)
    cost = complexity(model)
    row = {
        "family": name,
        "model": family.model,
        "options": dict(family.options),
        "parameters": cost.parameters,
        "macs": cost.macs,
        **training,
        "map50": accuracy.map50,
        "map": accuracy.map,
        "by_class": {SHAPE_CLASSES[index]: half for index, _, half in accuracy.by_class},
        "passed": accuracy.map50 >= LIMIT,
    }
    return row, found


def plot(path: Path, samples: Sequence[ShapesSample], answers: Mapping[str, Sequence[Detections]]) -> None:
    """Eight held-out pictures a family, with what it finds above a score of one half."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot
    from matplotlib.patches import Rectangle

    colours = ("tab:red", "tab:blue", "tab:green")
    columns = 8
    figure, axes = pyplot.subplots(len(answers), columns, figsize=(columns, len(answers)), squeeze=False)
    for line, (name, found) in zip(axes, answers.items(), strict=True):
        for axis, sample, answer in zip(line, samples, found, strict=False):
            axis.imshow(sample.image)
            axis.set(xticks=[], yticks=[])
            for box, score, index in zip(answer.boxes, answer.scores, answer.classes, strict=True):
                if score >= 0.5:
                    x1, y1, x2, y2 = box
                    axis.add_patch(Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, edgecolor=colours[index]))
        line[0].set_ylabel(name, fontsize=6)
    figure.subplots_adjust(0.03, 0.01, 0.99, 0.99, 0.03, 0.03)
    figure.savefig(path, dpi=100)


def main() -> int:
    command = parser(__doc__)
    command.add_argument("--family", choices=[*FAMILIES, "all"], default="all")
    command.add_argument("--pictures", type=positive, metavar="N", help="learned pictures, instead of the family's own")
    command.add_argument("--epochs", type=positive, metavar="N", help="instead of the family's own")
    command.add_argument("--weights", type=Path, metavar="DIR", help="keep the weights there and use those there")
    command.add_argument("--markdown", type=Path, metavar="FILE", help="write the table as a page, too")
    command.add_argument("--plot", type=Path, metavar="FILE", help="draw what the networks find")
    options = command.parse_args()
    held_out = generate_shapes(HELD_OUT, SIZE, SEEDS["held out"])
    rows, answers = [], {}
    for name in FAMILIES if options.family == "all" else [options.family]:
        row, answers[name] = measure(name, options, held_out)
        rows.append(row)
    print(f"{HELD_OUT} held-out pictures of {SIZE}x{SIZE}; {machine_line()}")
    print(table(_HEADER, [_cells(row) for row in rows]))
    write_json(options.json, {"rows": rows})
    if options.markdown is not None:
        write_markdown(
            options.markdown, "Single-stage detectors on drawn shapes", _TEXT, _HEADER, [_cells(row) for row in rows],
            ("keras", "tensorflow-cpu"),
        )  # fmt: skip
    if options.plot is not None:
        plot(options.plot, held_out, answers)
    return 0 if all(row["passed"] for row in rows) else 1


_HEADER = ("family", "model", "parameters", "MMAC", "pictures", "epochs", "s", "mAP50", "mAP", *SHAPE_CLASSES, "≥ 0.9")
_TEXT = (
    f"`python benchmarks/train_shapes.py`: small networks of each family learn pictures of {SIZE}x{SIZE} pixels with "
    f"circles, squares and triangles from `edgecv.data.shapes`, from fresh weights, and are measured on {HELD_OUT} "
    "others (OverFeat sees them three times as large). Answers are read by the runtime's decoder and suppression; mAP "
    "is COCO's, and the classes' columns are AP at an overlap of 0.5.",
    "Options beside the defaults: "
    + "; ".join(
        f"{family.model} {', '.join(f'{key}={value}' for key, value in family.options.items())}"
        for family in FAMILIES.values()
    )
    + ".",
)


def _cells(row: Mapping[str, Any]) -> list[str]:
    return [
        row["family"],
        row["model"],
        f"{row['parameters']:,}",
        f"{row['macs'] / 1e6:.1f}",
        str(row["pictures"]),
        str(row["epochs"]),
        f"{row['seconds']:.0f}",
        f"{row['map50']:.3f}",
        f"{row['map']:.3f}",
        *(f"{row['by_class'][name]:.3f}" for name in SHAPE_CLASSES),
        "yes" if row["passed"] else "NO",
    ]


if __name__ == "__main__":
    raise SystemExit(main())
