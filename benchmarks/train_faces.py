"""Triplet training of a small face embedder: does it learn, and what does mining change?

    python benchmarks/train_faces.py --output DIR

The data folder (EDGECV_DATA, or --data) holds faces/lfw-aligned-112: one folder of aligned faces a person. Of 40 people
28 are trained on and 12 never seen, drawn anew for each --splits. A small MobileFaceNet is trained from scratch with
random, semi-hard and hard triplets, from the same initial weights and on the same batches. The figures are of the
people never seen: true-accept rate at false-accept rates of 10 % and 1 %, and equal error rate. DIR receives
train_faces.svg, all curves in one plot.

So few faces make no good embedder; they show whether the losses and the mining work.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from _common import BenchmarkError, data_folder, machine_line, positive, write_json

from edgecv_export.report.svg import Scale, element, short, text
from edgecv_runtime.metrics.verification import VerificationRates, verification_rates

Pixels = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int64]

FACES = Path("faces", "lfw-aligned-112")
HELD_OUT = 12  # people
MININGS = ("random", "semi-hard", "hard")
RATES = (0.1, 0.01)
COLOURS = {"random": "#8a8f98", "semi-hard": "#1f77b4", "hard": "#d1495b"}


@dataclass(frozen=True)
class Settings:
    """Everything that a run depends on, beside the pictures."""

    size: int = 48
    alpha: float = 0.25
    dimension: int = 64
    epochs: int = 12
    steps: int = 25
    people: int = 14
    pictures: int = 4
    margin: float = 0.3
    learning_rate: float = 2e-3
    seed: int = 2015


@dataclass(frozen=True)
class Split:
    """Faces (N, size, size, 3) uint8 RGB of people to train on and of others."""

    learned: Pixels
    learned_labels: Labels
    held_out: Pixels
    held_out_labels: Labels


@dataclass(frozen=True)
class Curve:
    """One training: loss of each epoch, and rates before the first and after each."""

    mining: str
    losses: tuple[float, ...]
    rates: tuple[VerificationRates, ...]
    seconds: float

    def tar(self, index: int) -> list[float]:
        """True-accept rate at ``RATES[index]``, before the first epoch and after each."""
        return [float(rates.tar[index]) for rates in self.rates]

    def to_dict(self) -> dict[str, Any]:
        return {
            "mining": self.mining,
            "losses": list(self.losses),
            **{f"tar_at_far_{rate:g}": self.tar(index) for index, rate in enumerate(RATES)},
            "eer": [rates.eer for rates in self.rates],
            "seconds": self.seconds,
        }


# -- pictures ------------------------------------------------------------------------------------------------------


def read_faces(data: Path | None, size: int) -> tuple[Pixels, Labels]:
    """All aligned faces at `size`, and whose they are.

    Raises
    ------
    BenchmarkError
        There are none.
    """
    import cv2

    from edgecv_runtime.evaluate_faces import read_identities
    from edgecv_runtime.images import read_image

    if data is None or not (data / FACES).is_dir():
        raise BenchmarkError(f"--data (or EDGECV_DATA) must be a folder that holds {FACES}; received {data}")
    items = read_identities(data / FACES)
    images = [cv2.resize(read_image(item.path), (size, size), interpolation=cv2.INTER_AREA) for item in items]
    return np.stack(images), np.array([item.class_index for item in items])


def split_people(images: Pixels, labels: Labels, held_out: int, seed: int) -> Split:
    """Draw the people who are never seen in training."""
    people = np.random.default_rng(seed).permutation(np.unique(labels))
    aside = np.isin(labels, people[:held_out])
    return Split(images[~aside], labels[~aside], images[aside], labels[aside])


# -- training ------------------------------------------------------------------------------------------------------


def train(split: Split, mining: str, settings: Settings) -> Curve:
    """Train from scratch, and measure on the people never seen after each epoch."""
    import keras

    import edgecv
    from edgecv.metric_learning.augment import face_augmentation
    from edgecv.metric_learning.losses import TripletLoss
    from edgecv.metric_learning.train import embed, train_embedder
    from edgecv.models.registry import get_record

    keras.utils.set_random_seed(settings.seed)
    shape = (settings.size, settings.size, 3)
    embedder = edgecv.create_model("mobilefacenet", shape, alpha=settings.alpha, dimension=settings.dimension)
    preprocessing = get_record("mobilefacenet").preprocessing

    def measure() -> VerificationRates:
        vectors = embed(embedder, split.held_out, preprocessing, batch_size=128)
        return verification_rates(vectors, split.held_out_labels, RATES)

    rates = [measure()]

    def after_epoch(epoch: int, loss: float) -> None:
        rates.append(measure())
        print(
            f"  {mining:9}  epoch {epoch:3}  loss {loss:.4f}  TAR {100 * rates[-1].tar[0]:.1f} % at FAR {RATES[0]:g}",
            file=sys.stderr,
            flush=True,
        )

    started = time.perf_counter()
    losses = train_embedder(
        embedder,
        split.learned,
        split.learned_labels,
        TripletLoss(settings.margin, mining, settings.seed),
        preprocessing=preprocessing,
        augmentation=face_augmentation(seed=settings.seed),
        people=settings.people,
        pictures=settings.pictures,
        epochs=settings.epochs,
        steps=settings.steps,
        learning_rate=settings.learning_rate,
        seed=settings.seed,
        after_epoch=after_epoch,
    )
    return Curve(mining, tuple(losses), tuple(rates), time.perf_counter() - started)


# -- what is shown -------------------------------------------------------------------------------------------------


def table(curves: Sequence[Curve]) -> list[str]:
    """A line for the untrained network and one for each mining; means over the splits."""
    head = f"{'triplets':12}{'loss, first → last epoch':>28}" + "".join(f"{f'TAR at {r:g}':>14}" for r in RATES)
    lines = [f"{head}{'EER':>10}", _row("untrained", "", [curve.rates[0] for curve in curves])]
    for mining in dict.fromkeys(curve.mining for curve in curves):
        chosen = [curve for curve in curves if curve.mining == mining]
        first, last = (np.mean([curve.losses[i] for curve in chosen]) for i in (0, -1))
        lines.append(_row(mining, f"{first:.4f} → {last:.4f}", [curve.rates[-1] for curve in chosen]))
    return lines


def _row(name: str, loss: str, rates: Sequence[VerificationRates]) -> str:
    tar = [np.mean([rate.tar[index] for rate in rates]) for index in range(len(RATES))]
    eer = np.mean([rate.eer for rate in rates])
    return f"{name:12}{loss:>28}" + "".join(f"{100 * value:13.1f}%" for value in tar) + f"{100 * eer:9.1f}%"


def plot(curves: Sequence[Curve]) -> str:
    """An SVG: true-accept rate on people never seen, by epoch; a thin line for each split, a thick one for the mean."""
    width, height, left, right, top, bottom = 640, 380, 60, 20, 36, 50
    epochs = len(curves[0].losses)
    every = [value for curve in curves for value in curve.tar(0)]
    x = Scale(0, epochs, left, width - right)
    y = Scale(min(every) * 0.95, min(1.0, max(every) * 1.05), height - bottom, top)
    marks = [element("rect", x=0, y=0, width=width, height=height, fill="white")]
    for tick in y.ticks():
        marks.append(element("line", x1=left, x2=width - right, y1=y(tick), y2=y(tick), stroke="#e3e5e8"))
        marks.append(_text(f"{100 * tick:.0f} %", left - 6, y(tick) + 4, "end"))
    marks += [_text(short(tick), x(tick), height - bottom + 18, "middle") for tick in x.ticks(8)]
    marks.append(
        _text(f"epochs; people never seen, TAR at FAR {RATES[0]:g}", (left + width) / 2, height - 12, "middle")
    )
    for place, mining in enumerate(dict.fromkeys(curve.mining for curve in curves)):
        lines = np.array([curve.tar(0) for curve in curves if curve.mining == mining])
        colour = COLOURS.get(mining, "black")
        marks += [_line(line, x, y, colour, 1.0, 0.35) for line in lines]
        marks.append(_line(lines.mean(axis=0), x, y, colour, 2.5, 1.0))
        marks.append(_text(f"{mining} triplets", left + 10 + 150 * place, top - 14, "start", colour))
    return element("svg", *marks, xmlns="http://www.w3.org/2000/svg", viewBox=f"0 0 {width} {height}") + "\n"


def _line(values: npt.NDArray[np.float64], x: Scale, y: Scale, colour: str, width: float, opacity: float) -> str:
    points = " ".join(f"{x(epoch):.1f},{y(value):.1f}" for epoch, value in enumerate(values.tolist()))
    return element("polyline", points=points, fill="none", stroke=colour, stroke_width=width, stroke_opacity=opacity)


def _text(value: str, x: float, y: float, anchor: str, colour: str = "#333") -> str:
    return element(
        "text", text(value), x=x, y=y, text_anchor=anchor, fill=colour, font_size=12, font_family="sans-serif"
    )


# -- command line --------------------------------------------------------------------------------------------------


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, metavar="DIR", help="default: EDGECV_DATA, or shared/data")
    parser.add_argument("--output", type=Path, metavar="DIR", help="where the plot goes")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures as JSON, too")
    parser.add_argument("--splits", type=positive, default=1, metavar="N", help="of people (default: 1)")
    parser.add_argument("--epochs", type=positive, default=Settings.epochs, metavar="N")
    parser.add_argument("--steps", type=positive, default=Settings.steps, metavar="N", help="batches an epoch")
    parser.add_argument("--mining", choices=MININGS, nargs="+", default=list(MININGS))
    return parser


def main() -> int:
    options = _parser().parse_args()
    settings = replace(Settings(), epochs=options.epochs, steps=options.steps)
    try:
        images, labels = read_faces(options.data or data_folder(), settings.size)
    except BenchmarkError as error:
        print(error, file=sys.stderr)
        return 2
    print(machine_line())
    curves = []
    for number in range(options.splits):
        split = split_people(images, labels, HELD_OUT, settings.seed + number)
        curves += [train(split, mining, settings) for mining in options.mining]
    for line in table(curves):
        print(line)
    if options.output is not None:
        options.output.mkdir(parents=True, exist_ok=True)
        (options.output / "train_faces.svg").write_text(plot(curves), encoding="utf-8")
    write_json(options.json, {"settings": asdict(settings), "curves": [curve.to_dict() for curve in curves]})
    return 0


if __name__ == "__main__":
    sys.exit(main())
