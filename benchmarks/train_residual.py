"""Do shortcuts help a network learn? CIFAR ResNets against the same networks without them, on one budget.

    python benchmarks/train_residual.py [--depths 20] [--seeds 2] [--epochs 3] [--json FILE] [--plot FILE.png]

The pictures are the CIFAR-10 JPEGs of EDGECV_DATA, split as in train_cifar10.py: every fifth of a class is held out.
Both networks of a pair (He et al. 2016, section 4.2: 20 layers and more, with and without shortcuts, the same number of
parameters) see the same pictures in the same order with the same mirroring and shifts, from the same seed, under the
paper's optimiser (momentum 0.9, weight decay 1e-4, batch norm, He's initial values) and one schedule: a short warm-up,
then half a cosine down to zero. The budget is a few minutes of a small machine, not the paper's 164 epochs: what is
compared is how far each network comes with it.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from _common import BenchmarkError, data_folder, machine_line, parser, positive, write_json
from train_cifar10 import AUGMENTATION, Cifar10, Settings, accuracy, cached_cifar10, learning_rate

KINDS = ("resnet", "plain")
SIZE = 32
MOMENTUM, WEIGHT_DECAY = 0.9, 1e-4  # He et al. 2016, section 4.2


@dataclass(frozen=True)
class Run:
    """One training.

    Attributes
    ----------
    kind : {"resnet", "plain"}
    depth, seed : int
    epochs : list of float
        Where the network was measured, epochs since the start.
    loss, held_out : list of float
        Mean training loss since the last measurement, and accuracy on the held-out pictures.
    seconds : float
    """

    kind: str
    depth: int
    seed: int
    epochs: list[float]
    loss: list[float]
    held_out: list[float]
    seconds: float


def build(kind: str, depth: int, pictures: Cifar10) -> Any:
    """A network of pixels 0..255, normalised by the learned pictures' mean and variance, ending at the logits."""
    import keras

    import edgecv

    pixels = pictures.learned.reshape(-1, 3).astype(np.float64)
    body = edgecv.create_model(f"cifar_{kind}{depth}", (SIZE, SIZE, 3), classifier_activation=None)
    normalize = keras.layers.Normalization(mean=pixels.mean(axis=0), variance=pixels.var(axis=0))
    return keras.Sequential([keras.Input((SIZE, SIZE, 3)), normalize, body])


def train(kind: str, depth: int, settings: Settings, pictures: Cifar10, checks: int = 2) -> Run:
    """Train one network, measured `checks` times an epoch."""
    import keras

    keras.utils.clear_session()
    keras.utils.set_random_seed(settings.seed)
    model = build(kind, depth, pictures)
    optimizer = keras.optimizers.SGD(settings.learning_rate, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY)
    optimizer.exclude_from_weight_decay(var_names=["gamma", "beta", "bias"])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer, loss, jit_compile=False)  # XLA's convolutions are half as fast on a CPU
    steps = len(pictures.learned) // settings.batch
    stops = {round(steps * (number + 1) / checks) for number in range(checks)}
    run = Run(kind, depth, settings.seed, [], [], [], 0.0)
    started, losses = time.perf_counter(), []
    for epoch in range(settings.epochs):
        generator = np.random.default_rng([settings.seed, epoch])
        order = generator.permutation(len(pictures.learned))
        for step in range(steps):
            model.optimizer.learning_rate = learning_rate(settings, epoch + step / steps)
            chosen = order[step * settings.batch :][: settings.batch]
            batch = AUGMENTATION.apply(pictures.learned[chosen], generator).astype(np.float32)
            losses.append(float(model.train_on_batch(batch, pictures.learned_labels[chosen])))
            model.reset_metrics()
            if step + 1 in stops:
                run.epochs.append(epoch + (step + 1) / steps)
                run.loss.append(float(np.mean(losses)))
                run.held_out.append(accuracy(model, pictures.held_out, pictures.held_out_labels))
                losses = []
        print(
            f"{kind}-{depth} seed {settings.seed} epoch {epoch + 1}: loss {run.loss[-1]:.3f}, "
            f"held out {run.held_out[-1]:.2%}, {time.perf_counter() - started:.0f} s",
            file=sys.stderr,
            flush=True,
        )
    return Run(**{**asdict(run), "seconds": time.perf_counter() - started})


def shortened(pictures: Cifar10, learned: int | None) -> Cifar10:
    """With only so many learned pictures, evenly from all classes; all held-out ones."""
    if learned is None or learned >= len(pictures.learned):
        return pictures
    chosen = np.linspace(0, len(pictures.learned) - 1, learned).round().astype(int)
    return Cifar10(
        **{**vars(pictures), "learned": pictures.learned[chosen], "learned_labels": pictures.learned_labels[chosen]}
    )


def summary(runs: list[Run]) -> list[dict[str, Any]]:
    """A row for each network: means over the seeds, at the end."""
    rows = []
    for depth in sorted({run.depth for run in runs}):
        for kind in KINDS:
            found = [run for run in runs if (run.depth, run.kind) == (depth, kind)]
            if found:
                rows.append(
                    {
                        "network": f"{kind}-{depth}",
                        "held_out": float(np.mean([run.held_out[-1] for run in found])),
                        "by_seed": [run.held_out[-1] for run in found],
                        "loss": float(np.mean([run.loss[-1] for run in found])),
                        "seconds": float(np.mean([run.seconds for run in found])),
                    }
                )
    return rows


def plot(runs: list[Run], path: Path) -> None:
    """Training loss and held-out error over the epochs: thin lines are seeds, thick ones their mean."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(9, 3.6), dpi=110, layout="constrained")
    colors = {"resnet": "tab:blue", "plain": "tab:orange"}
    styles = ("-", "--", ":")
    depths = sorted({run.depth for run in runs})
    for depth, style in zip(depths, styles, strict=False):
        for kind in KINDS:
            found = [run for run in runs if (run.depth, run.kind) == (depth, kind)]
            for axes, values in (
                (left, [run.loss for run in found]),
                (right, [[100 * (1 - share) for share in run.held_out] for run in found]),
            ):
                for line in values:
                    axes.plot(found[0].epochs, line, style, color=colors[kind], alpha=0.3, linewidth=0.9)
                mean = np.mean(values, axis=0)
                axes.plot(found[0].epochs, mean, style, color=colors[kind], label=f"{kind}-{depth}", linewidth=2)
    left.set(xlabel="epochs", ylabel="training loss")
    right.set(xlabel="epochs", ylabel="held-out error, %")
    left.legend()
    for axes in (left, right):
        axes.grid(alpha=0.3)
    figure.savefig(path)
    pyplot.close(figure)


def arguments_of(command_line: list[str] | None = None) -> argparse.Namespace:
    made = parser(__doc__ or "")
    made.add_argument("--depths", nargs="+", type=int, default=[20], choices=(20, 32, 44, 56, 110), metavar="N")
    made.add_argument("--seeds", type=positive, default=2, metavar="N", help="trainings of each network (default: 2)")
    made.add_argument("--epochs", type=positive, default=3)
    made.add_argument("--pictures", type=positive, metavar="N", help="to learn from (default: all 12,000)")
    made.add_argument("--batch", type=positive, default=64)
    made.add_argument("--learning-rate", type=float, default=0.1)
    made.add_argument("--cache", type=Path, metavar="DIR", help="keep the decoded pictures there as npz")
    made.add_argument("--plot", type=Path, metavar="FILE.png", help="draw both curves")
    return made.parse_args(command_line)


def main(command_line: list[str] | None = None) -> int:
    options = arguments_of(command_line)
    pictures = shortened(cached_cifar10(data_folder(), SIZE, options.cache), options.pictures)
    runs = []
    for depth in options.depths:
        for seed in range(options.seeds):
            settings = Settings(
                "resnet", 0.0, SIZE, options.epochs, options.batch, options.learning_rate, 0.5, seed=seed
            )
            runs += [train(kind, depth, settings, pictures) for kind in KINDS]
    rows = summary(runs)
    print(machine_line())
    print(
        f"{len(pictures.learned):,} pictures learned for {options.epochs} epochs, {len(pictures.held_out):,} held out, "
        f"{options.seeds} seeds\n"
    )
    print("| network | held-out accuracy | by seed | training loss at the end | seconds |")
    print("|---|---|---|---|---|")
    for row in rows:
        seeds = ", ".join(f"{share:.2%}" for share in row["by_seed"])
        print(f"| {row['network']} | {row['held_out']:.2%} | {seeds} | {row['loss']:.3f} | {row['seconds']:.0f} |")
    write_json(options.json, {"benchmark": "train_residual", "rows": rows, "runs": [asdict(run) for run in runs]})
    if options.plot is not None:
        plot(runs, options.plot)
    means = {row["network"]: row["held_out"] for row in rows}
    return 0 if all(means[f"resnet-{depth}"] > means[f"plain-{depth}"] for depth in options.depths) else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except BenchmarkError as error:
        sys.exit(f"train_residual: {error}")
