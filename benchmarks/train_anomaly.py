"""An auto-encoder that has learned every digit but one: does it rebuild that one worse?

    python benchmarks/train_anomaly.py [--digits 0 1 ... 9] [--latent 8] [--json FILE] [--plot FILE.png]

For each digit in turn the registry's auto-encoder learns the others, from 6,400 of the 8,000 MNIST digits of
EDGECV_DATA; the 1,600 held-out ones, of all ten classes, are scored by how badly they are rebuilt (`edgecv.anomaly`).
The area under the ROC curve says how often a digit of the unseen class scores above one of a class that was learned:
0.5 is chance. Three scores are printed: the mean of the score map, the largest value of the map smoothed over 3×3
pixels, and that value relative to the root of the picture's own ink, since a thick stroke leaves more to get wrong than
a thin one. The last is the one that counts here; it was chosen on the digits 0, 1, 4 and 9.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import numpy.typing as npt
from _common import BenchmarkError, data_folder, machine_line, parser, positive, write_json

SPLIT_SEED, LEARNED = 5, 6400
SMOOTH = 3
SCORES = ("mean", "largest", "relative")
COUNTS = "relative"

Array = npt.NDArray[np.float32]


def read_digits(data: Path | None) -> tuple[Array, npt.NDArray[np.int64]]:
    """(8000, 32, 32, 1) in 0..1 with a black border, and their labels.

    Raises
    ------
    BenchmarkError
        There are none.
    """
    path = None if data is None else data / "mnist" / "mnist_8000.npz"
    if path is None or not path.is_file():
        raise BenchmarkError(f"EDGECV_DATA must be a folder that holds mnist/mnist_8000.npz; received {data}")
    with np.load(path) as archive:
        images, labels = archive["images"], archive["labels"].astype(np.int64)
    return np.pad(images, ((0, 0), (2, 2), (2, 2)))[..., None].astype(np.float32) / 255, labels


def train(normal: Array, options: argparse.Namespace) -> Any:
    """An auto-encoder of these pictures alone."""
    import keras

    import edgecv

    keras.utils.clear_session()
    keras.utils.set_random_seed(options.seed)
    model = edgecv.create_model("autoencoder", normal.shape[1:], latent=options.latent)
    # Cross-entropy of pixels: with squared errors the mostly black pictures teach it to answer black.
    model.compile(keras.optimizers.Adam(options.learning_rate), "binary_crossentropy", jit_compile=False)
    model.fit(normal, normal, batch_size=64, epochs=options.epochs, verbose=0)
    return model


def scores_of(model: Any, pictures: Array) -> dict[str, Array]:
    """Every score of every picture."""
    from edgecv.anomaly import score_maps, scores

    largest = scores(score_maps(model, pictures, smooth=SMOOTH))
    ink = np.maximum(pictures.mean(axis=(1, 2, 3)), 1e-6)
    return {
        "mean": score_maps(model, pictures).mean(axis=(1, 2)),
        "largest": largest,
        "relative": largest / np.sqrt(ink),
    }


def plot(model: Any, pictures: Array, labels: npt.NDArray[np.int64], unseen: int, path: Path, count: int = 8) -> None:
    """Score maps: above of classes that were learned, below of the unseen one; red is badly rebuilt."""
    import cv2

    from edgecv.anomaly import score_maps
    from edgecv.explain.pictures import grid, heat_colors

    chosen = [*np.flatnonzero(labels != unseen)[:count], *np.flatnonzero(labels == unseen)[:count]]
    maps = score_maps(model, pictures[chosen], smooth=SMOOTH)
    drawn = grid(list(heat_colors(maps / maps.max())), columns=count, enlarge=2)
    cv2.imwrite(str(path), cv2.cvtColor(drawn, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_PNG_COMPRESSION, 9])


def arguments_of(command_line: list[str] | None = None) -> argparse.Namespace:
    made = parser(__doc__ or "")
    made.add_argument("--digits", nargs="+", type=int, choices=range(10), default=list(range(10)), metavar="N")
    made.add_argument("--latent", type=positive, default=8, help="length of the code (default: 8)")
    made.add_argument("--epochs", type=positive, default=8)
    made.add_argument("--learning-rate", type=float, default=1e-3)
    made.add_argument("--seed", type=int, default=0)
    made.add_argument("--plot", type=Path, metavar="FILE.png", help="score maps of the digit that stands out most")
    return made.parse_args(command_line)


def main(command_line: list[str] | None = None) -> int:
    options = arguments_of(command_line)
    from edgecv.anomaly import auc

    pictures, labels = read_digits(data_folder())
    order = np.random.default_rng(SPLIT_SEED).permutation(len(pictures))
    learned, held_out = order[:LEARNED], order[LEARNED:]
    rows: list[dict[str, Any]] = []
    for digit in options.digits:
        started = time.perf_counter()
        model = train(pictures[learned[labels[learned] != digit]], options)
        odd = labels[held_out] == digit
        found = {name: auc(value[~odd], value[odd]) for name, value in scores_of(model, pictures[held_out]).items()}
        rows.append({"digit": digit, "unseen": int(odd.sum()), **found, "seconds": time.perf_counter() - started})
        print(f"without {digit}: AUC {found[COUNTS]:.3f}, {rows[-1]['seconds']:.0f} s", file=sys.stderr, flush=True)
        if options.plot is not None and found[COUNTS] >= max(row[COUNTS] for row in rows):
            plot(model, pictures[held_out], labels[held_out], digit, options.plot)
    print(machine_line())
    print(f"code of {options.latent}, {options.epochs} epochs, {len(held_out):,} held-out digits of ten classes\n")
    print("| unseen digit | n | AUC, " + " | AUC, ".join(SCORES) + " | seconds |")
    print("|---" * (3 + len(SCORES)) + "|")
    for row in rows:
        values = " | ".join(f"{row[name]:.3f}" for name in SCORES)
        print(f"| {row['digit']} | {row['unseen']} | {values} | {row['seconds']:.0f} |")
    means = {name: float(np.mean([row[name] for row in rows])) for name in SCORES}
    print("| mean | | " + " | ".join(f"{means[name]:.3f}" for name in SCORES) + " | |")
    write_json(options.json, {"benchmark": "train_anomaly", "rows": rows, "means": means})
    return 0 if means[COUNTS] > 0.5 else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except BenchmarkError as error:
        sys.exit(f"train_anomaly: {error}")
