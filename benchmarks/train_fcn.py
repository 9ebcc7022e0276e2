"""FCN-32s, then 16s, then 8s, each begun from the coarser one: finer scores draw finer borders.

    python benchmarks/train_fcn.py [--alpha 0.125] [--size 128] [--json FILE] [--plot FILE.png]

Long, Shelhamer, Darrell 2015, section 4.2, on the package's own pictures of circles, squares and triangles before a
cluttered background, since their networks learn from Pascal VOC for days. The networks are the registry's, an eighth as
wide and from scratch, with He's initial values. All are measured on the same held-out pictures: mean IoU, pixel
accuracy, and the share of wrong pixels within 3 pixels of a true border (the band of Kohli, Ladický, Torr 2009).
Because 8s has been trained longer than 32s by then, a last row trains the 32s on for as many epochs: what
remains between that row and 8s is the skips' doing.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import numpy.typing as npt
from _common import BenchmarkError, machine_line, parser, positive, write_json

from edgecv_runtime.metrics.miou import Confusion

BAND = 3  # pixels to either side of a border
CLASSES = ("background", "circle", "square", "triangle")
LABEL_SEEDS = (11, 12)  # of the learned and the held-out pictures
_COLORS = np.array([[30, 30, 30], [230, 80, 60], [70, 160, 240], [250, 210, 60]], np.uint8)


@dataclass(frozen=True)
class Pictures:
    """Pictures (N, S, S, 3) uint8 RGB with their masks (N, S, S) of `CLASSES`."""

    images: npt.NDArray[np.uint8]
    masks: npt.NDArray[np.uint8]


def draw(count: int, size: int, seed: int) -> Pictures:
    """Shapes, those in front over those behind."""
    from edgecv.data.shapes import generate_shapes

    samples = generate_shapes(count, size, seed)
    masks = np.zeros((count, size, size), np.uint8)
    for mask, sample in zip(masks, samples, strict=True):
        for kind, where in zip(sample.classes, sample.masks, strict=True):
            mask[where] = kind + 1
    return Pictures(np.stack([sample.image for sample in samples]), masks)


def as_input(images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Pixels less their middle, in units that the initial values suit."""
    return (images.astype(np.float32) - 127.5) / 64


def border_band(mask: npt.NDArray[np.uint8], reach: int = BAND) -> npt.NDArray[np.bool_]:
    """(H, W): within `reach` pixels of a pixel whose right or lower neighbour is of another class."""
    import cv2

    edge = np.zeros(mask.shape, np.uint8)
    edge[:, :-1] |= (mask[:, 1:] != mask[:, :-1]).astype(np.uint8)
    edge[:-1] |= (mask[1:] != mask[:-1]).astype(np.uint8)
    square = np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)
    found: npt.NDArray[np.bool_] = cv2.dilate(edge, square) > 0
    return found


def measure(answers: npt.NDArray[Any], masks: npt.NDArray[np.uint8]) -> dict[str, float]:
    """Mean IoU, pixel accuracy, and the share of wrong pixels near a border."""
    confusion = Confusion(len(CLASSES))
    wrong = near = 0
    for answer, mask in zip(answers, masks, strict=True):
        confusion.add(mask, answer)
        band = border_band(mask)
        wrong, near = wrong + int((answer != mask)[band].sum()), near + int(band.sum())
    found = confusion.accuracy()
    return {"miou": found.miou, "pixel_accuracy": found.pixel_accuracy, "border_error": wrong / near}


def build(stride: int, options: argparse.Namespace) -> Any:
    import keras

    import edgecv

    model = edgecv.create_model(
        f"fcn{stride}s",
        (options.size, options.size, 3),
        classes=len(CLASSES),
        alpha=options.alpha,
        dropout=options.dropout,
        classifier_activation=None,
    )
    for number, layer in enumerate(model.layers):
        if isinstance(layer, keras.layers.Conv2D) and not layer.name.startswith("score"):
            layer.kernel.assign(keras.initializers.HeNormal(seed=options.seed + number)(layer.kernel.shape))
    return model


def train(model: Any, pictures: Pictures, epochs: int, rate: float, options: argparse.Namespace, name: str) -> float:
    """Train in place, mirrored and turned at random; the seconds it took."""
    import keras

    from edgecv.losses import PixelCrossEntropy, class_balance

    # The root of the balance: without it the networks answer background for long, with all of it shapes grow fat.
    weights = np.sqrt(class_balance(pictures.masks, len(CLASSES))).tolist()
    loss = PixelCrossEntropy(weights, from_logits=True)
    steps = len(pictures.images) // options.batch
    schedule = keras.optimizers.schedules.CosineDecay(rate, epochs * steps)
    model.compile(keras.optimizers.Adam(schedule, clipnorm=1.0), loss, jit_compile=False)
    started = time.perf_counter()
    for epoch in range(epochs):
        generator = np.random.default_rng([options.seed, epoch])
        order, losses = generator.permutation(len(pictures.images)), []
        for step in range(steps):
            chosen = order[step * options.batch :][: options.batch]
            images, masks = pictures.images[chosen], pictures.masks[chosen]
            if generator.integers(2):  # one way for a batch; the next epoch's batches are others
                images, masks = images[:, :, ::-1], masks[:, :, ::-1]
            losses.append(float(model.train_on_batch(as_input(images), masks.astype(np.int32))))
            model.reset_metrics()
        spent = time.perf_counter() - started
        print(f"{name} epoch {epoch + 1}: loss {np.mean(losses):.4f}, {spent:.0f} s", file=sys.stderr, flush=True)
    return time.perf_counter() - started


def answers_of(model: Any, pictures: Pictures, batch: int = 32) -> npt.NDArray[np.uint8]:
    parts = [
        np.asarray(model(as_input(pictures.images[first : first + batch]), training=False)).argmax(-1)
        for first in range(0, len(pictures.images), batch)
    ]
    return np.concatenate(parts).astype(np.uint8)


def plot(pictures: Pictures, answers: dict[str, npt.NDArray[np.uint8]], path: Path, count: int = 5) -> None:
    """Rows: pictures, true masks, and each network's."""
    import cv2

    from edgecv.explain.pictures import grid

    rows = [pictures.images[:count], _COLORS[pictures.masks[:count]]]
    rows += [_COLORS[answer[:count]] for answer in answers.values()]
    drawn = grid([tile for row in rows for tile in row], columns=count)
    cv2.imwrite(str(path), cv2.cvtColor(drawn, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_PNG_COMPRESSION, 9])


def arguments_of(command_line: list[str] | None = None) -> argparse.Namespace:
    made = parser(__doc__ or "")
    made.add_argument("--alpha", type=float, default=0.125, help="width of the networks (default: 0.125)")
    made.add_argument("--size", type=positive, default=128, help="side of a picture, a multiple of 32")
    made.add_argument("--learned", type=positive, default=1000, metavar="N", help="pictures to learn from")
    made.add_argument("--held-out", type=positive, default=300, metavar="N")
    made.add_argument("--epochs", type=positive, default=10, help="of FCN-32s (default: 10)")
    made.add_argument("--more-epochs", type=positive, default=3, metavar="N", help="of 16s, and of 8s (default: 3)")
    made.add_argument("--batch", type=positive, default=16)
    made.add_argument("--learning-rate", type=float, default=2e-3, help="of FCN-32s; the others take half of it")
    made.add_argument("--dropout", type=float, default=0.1)
    made.add_argument("--seed", type=int, default=0)
    made.add_argument("--plot", type=Path, metavar="FILE.png", help="masks of some held-out pictures")
    return made.parse_args(command_line)


def main(command_line: list[str] | None = None) -> int:
    options = arguments_of(command_line)
    import keras

    from edgecv.models.fcn import initialize_from

    keras.utils.set_random_seed(options.seed)
    learned, held_out = (
        draw(count, options.size, seed)
        for count, seed in zip((options.learned, options.held_out), LABEL_SEEDS, strict=True)
    )
    rows, answers = [], {}

    def note(name: str, model: Any, seconds: float) -> None:
        answers[name] = answers_of(model, held_out)
        rows.append({"network": name, **measure(answers[name], held_out.masks), "seconds": seconds})

    coarse = build(32, options)
    seconds = train(coarse, learned, options.epochs, options.learning_rate, options, "fcn32s")
    note("fcn32s", coarse, seconds)
    previous = coarse
    for stride in (16, 8):
        finer = build(stride, options)
        initialize_from(finer, previous)
        rate = options.learning_rate / 2
        seconds = train(finer, learned, options.more_epochs, rate, options, f"fcn{stride}s")
        note(f"fcn{stride}s", finer, seconds)
        previous = finer
    again = build(32, options)
    initialize_from(again, coarse)
    for _ in range(2):  # as 16s and 8s: each begins its schedule anew
        seconds = train(again, learned, options.more_epochs, options.learning_rate / 2, options, "fcn32s, on")
    note("fcn32s, trained on", again, 2 * seconds)

    print(machine_line())
    print(f"{len(learned.images)} pictures learned, {len(held_out.images)} held out, α {options.alpha:g}\n")
    print("| network | mIoU | pixel accuracy | wrong near borders | seconds |")
    print("|---|---|---|---|---|")
    for row in rows:
        print(
            f"| {row['network']} | {row['miou']:.3f} | {row['pixel_accuracy']:.2%} | {row['border_error']:.2%} | "
            f"{row['seconds']:.0f} |"
        )
    write_json(options.json, {"benchmark": "train_fcn", "rows": rows})
    if options.plot is not None:
        plot(held_out, answers, options.plot)
    first, second, third, again_row = rows
    finer_each = third["miou"] > second["miou"] > first["miou"] and third["miou"] > again_row["miou"]  # as long as 8s
    return 0 if finer_each and third["border_error"] < second["border_error"] < first["border_error"] else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except BenchmarkError as error:
        sys.exit(f"train_fcn: {error}")
