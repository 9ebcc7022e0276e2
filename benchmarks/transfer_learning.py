"""Fine-tuning against training from scratch, with the same pictures and as many steps.

    python benchmarks/transfer_learning.py [--each 40] [--epochs 8] [--json FILE] [--plot FILE.png]

MobileNet v1 0.25 on a few pictures of each CIFAR-10 class, enlarged to the network's input. EDGECV_DATA holds the
pictures (cifar10/*.tar.gz) and the weights of ImageNet. Every fifth picture of a class is held out; of these, so many
are judged after each epoch. What is trained goes the way of ``edgecv train``.

Rows: all weights fresh; the body of ImageNet's with everything but the head frozen; with one rate for all; with the
body at a tenth of the head's rate, as ``edgecv train --weights`` does.
"""

from __future__ import annotations

import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from _common import BenchmarkError, data_folder, machine_line, parser, positive, write_json
from train_cifar10 import CLASSES, read_cifar10

WEIGHTS = Path("models", "classification", "mobilenet_v1_0.25_224.h5")
MODEL, OPTIONS, BODY_END = "mobilenet_v1", {"alpha": 0.25}, "conv_pw_13_relu"
# Name: whether from ImageNet, up to where frozen, the body's rate as a share of the head's.
WAYS: dict[str, tuple[bool, str | None, float]] = {
    "from scratch": (False, None, 1.0),
    "head alone": (True, BODY_END, 1.0),
    "all at one rate": (True, None, 1.0),
    "body at a tenth": (True, None, 0.1),
}


def pictures(data: Path | None, size: int, each: int, judged: int) -> Any:
    """The first so many pictures of each class, learned and held out."""
    from edgecv.augment import Sample
    from edgecv.training.pictures import Part, Pictures

    found = read_cifar10(data, size)

    def part(images: np.ndarray, labels: np.ndarray, count: int) -> Part:
        chosen = np.concatenate([np.flatnonzero(labels == label)[:count] for label in range(len(CLASSES))])
        return Part([Sample(image) for image in images[chosen]], np.arange(len(chosen)), labels[chosen])

    learned = part(found.learned, found.learned_labels, each)
    return Pictures(learned, part(found.held_out, found.held_out_labels, judged), len(CLASSES), CLASSES, "")


def train(name: str, shown: Any, size: int, weights: Path, settings: Any) -> dict[str, Any]:
    """One way: the accuracies after each epoch, and how long it took."""
    import keras

    import edgecv
    from edgecv.models.registry import get_record
    from edgecv.training.checkpoint import Checkpoint
    from edgecv.training.loop import train as run
    from edgecv.transfer import freeze_to, replace_head

    pretrained, frozen, factor = WAYS[name]
    keras.utils.set_random_seed(settings.seed)
    shape, head = (size, size, 3), ()
    if pretrained:
        transfer = replace_head(MODEL, len(CLASSES), weights, shape, **OPTIONS)
        model, head = transfer.model, transfer.head
        if frozen is not None:
            freeze_to(model, frozen)
    else:
        model = edgecv.create_model(MODEL, shape, len(CLASSES), **OPTIONS)
    chosen = replace(settings, fine_tune_rate=factor * settings.learning_rate if pretrained else None)
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        trained = run(model, shown, get_record(MODEL).preprocessing, chosen, Checkpoint(Path(folder), {}), head=head)
    return {
        "accuracy": [entry["val_accuracy"] for entry in trained.history],
        "best": trained.figures["top1"],
        "best_epoch": trained.best_epoch,
        "trainable": sum(int(np.prod(weight.shape)) for weight in model.trainable_weights),
        "seconds": time.perf_counter() - start,
    }


def plot(path: Path, rows: dict[str, dict[str, Any]]) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6, 3.6), dpi=110)
    for name, row in rows.items():
        axes.plot(
            range(1, len(row["accuracy"]) + 1), [100 * value for value in row["accuracy"]], "o-", label=name, ms=3
        )
    axes.set_xlabel("epoch")
    axes.set_ylabel("top-1 of held-out pictures, %")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.tight_layout()
    figure.savefig(path)


def main() -> int:
    made = parser(__doc__ or "")
    made.add_argument("--each", type=positive, default=40, help="pictures of each class to learn (default: 40)")
    made.add_argument("--judged", type=positive, default=50, help="of each class, held out (default: 50)")
    made.add_argument("--epochs", type=positive, default=8, help="(default: 8)")
    made.add_argument("--size", type=positive, default=96, help="side of the input (default: 96)")
    made.add_argument("--seed", type=int, default=0)
    made.add_argument("--plot", type=Path, metavar="FILE.png", help="draw the accuracies")
    options = made.parse_args()
    from edgecv.training.settings import Settings

    data = data_folder()
    if data is None or not (data / WEIGHTS).is_file():
        raise BenchmarkError(f"EDGECV_DATA must be a folder that holds {WEIGHTS}; received {data}")
    shown = pictures(data, options.size, options.each, options.judged)
    settings = Settings(epochs=options.epochs, batch=20, learning_rate=2e-3, augment="light", seed=options.seed)
    rows: dict[str, dict[str, Any]] = {}
    for name in WAYS:
        rows[name] = train(name, shown, options.size, data / WEIGHTS, settings)
        print(f"{name}: top-1 {100 * rows[name]['best']:.1f} %", file=sys.stderr, flush=True)
    print(machine_line())
    print(
        f"{MODEL} 0.25 at {options.size}×{options.size}: {options.each} pictures of each of {len(CLASSES)} classes, "
        f"{options.epochs} epochs, {len(shown.held_out):,} held out\n"
    )
    print("| way | trained weights | top-1, % | its epoch | after epoch 1, % | seconds |")
    print("|---|---:|---:|---:|---:|---:|")
    for name, row in rows.items():
        print(
            f"| {name} | {row['trainable']:,} | {100 * row['best']:.1f} | {row['best_epoch']} "
            f"| {100 * row['accuracy'][0]:.1f} | {row['seconds']:.0f} |"
        )
    if options.plot is not None:
        plot(options.plot, rows)
    write_json(options.json, {"benchmark": "transfer_learning", "settings": settings.to_dict(), "rows": rows})
    tuned, fresh = rows["body at a tenth"]["best"], rows["from scratch"]["best"]
    return 0 if tuned > fresh else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except BenchmarkError as error:
        sys.exit(f"transfer_learning: {error}")
