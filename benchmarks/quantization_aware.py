"""What quantization-aware training recovers of what post-training quantization loses.

    python benchmarks/quantization_aware.py
    python benchmarks/quantization_aware.py --model efficientnet --weights DIR/efficientnet.weights.h5 --size 48

A small network is trained from scratch on CIFAR-10 pictures (`train_cifar10.py`; --weights takes one that is trained).
Then every activation range is widened by --widen: 16 leaves about four of eight bits. Post-training quantization
in three forms, the best of which counts, and quantization-aware training face the same stress. They are measured on
the held-out pictures that neither has seen: activations and weights rounded as an int8 artefact rounds them, and, on
some of the pictures, real int8 files of --formats with those ranges. OpenVINO does not round a convolution before it
adds it to something: for it the network is trained once more, that way.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from _common import BenchmarkError, data_folder, machine_line, parser, positive, write_json
from train_cifar10 import AUGMENTATION, MODELS, Cifar10, Pixels, Settings, build, cached_cifar10, train

from edgecv.models.registry import Preprocessing
from edgecv_export.exporter import describe
from edgecv_export.formats.job import InputGrid
from edgecv_export.plan import Plan
from edgecv_export.quantize.aware.train import AwareResult, train_aware
from edgecv_export.quantize.correct import INT8, learnable_layers, round_and_correct
from edgecv_export.quantize.inputs import peel_input_scaling
from edgecv_export.quantize.recipe import Recipe
from edgecv_export.quantize.simulate import simulate, stored_ranges
from edgecv_export.sources import source_of
from edgecv_runtime.manifest import FORMATS
from edgecv_runtime.model import Model

_CALIBRATION = 128
_ESTIMATOR = "mse"
_POST_TRAINING: dict[str, dict[str, Any]] = {
    "rounded": {"correct": False},
    "bias-corrected": {"correct": True},
    "learned rounding": {"correct": True},
}


@dataclass(frozen=True)
class Row:
    """One line of the table: top-1 on the held-out pictures, and how often it is the float network's."""

    name: str
    accuracy: float
    agreement: float


def recovered(reference: float, before: float, after: float) -> float:
    """Share of the loss from `reference` to `before` that `after` makes good; 1.0 where nothing was lost."""
    lost = reference - before
    return 1.0 if lost <= 0 else (after - before) / lost


def source_model(model: Any) -> Any:
    """A source of exports whose normalisation is said beside the network, not in its first layers."""
    channels = model.inputs[0].shape[-1]
    network, mean, std = peel_input_scaling(model, (0.0,) * channels, (1.0,) * channels)
    return source_of(network, Preprocessing(mean=mean, std=std))


class Measure:
    """Measures rounded networks on the held-out pictures."""

    def __init__(self, network: Any, grid: InputGrid, pictures: Cifar10) -> None:
        self.values, self.labels = grid.to_real(pictures.held_out), pictures.held_out_labels
        self.wanted = network.predict(self.values, batch_size=128, verbose=0).argmax(axis=1)

    def float_row(self) -> Row:
        return Row("float", float((self.wanted == self.labels).mean()), 1.0)

    def row(self, name: str, network: Any, ranges: Any) -> Row:
        top = simulate(network, self.values, ranges).argmax(axis=1)
        return Row(name, float((top == self.labels).mean()), float((top == self.wanted).mean()))


def measure(source: Any, pictures: Cifar10, chosen: argparse.Namespace) -> dict[str, Any]:
    """All rows, and the history of the training."""
    network, grid = source.integer.network, source.integer.grid
    judge = Measure(network, grid, pictures)
    order = np.random.default_rng(chosen.seed).permutation(len(pictures.learned))
    calibration = pictures.learned[order[:_CALIBRATION]]
    values = grid.to_real(calibration)
    rows = [judge.float_row()]
    for widen in sorted({1.0, chosen.widen}):
        ranges = stored_ranges(network, values, estimator=_ESTIMATOR, widen=widen)
        for name, options in _POST_TRAINING.items():
            learned = learnable_layers(network) if name == "learned rounding" else ()
            made = round_and_correct(network, values, values, INT8, ranges=ranges, adaround=learned, **options)
            rows.append(judge.row(f"post-training, ranges ×{widen:g}, {name}", made, ranges))
    post = max(rows[-len(_POST_TRAINING) :], key=lambda row: row.accuracy)
    started = time.perf_counter()
    result = trained_for(False, network, grid, pictures, calibration, chosen)
    seconds = time.perf_counter() - started
    rows.append(judge.row(f"quantization-aware, ranges ×{chosen.widen:g}", result.network, result.ranges))
    exported = []
    for format in chosen.formats:
        mine = trained_for(True, network, grid, pictures, calibration, chosen) if format == "openvino" else result
        stressed = Recipe(estimator=_ESTIMATOR, widen=chosen.widen)
        trained = replace(stressed, network=mine.network, ranges=mine.ranges)
        exported.append(
            {
                "format": format,
                "post_training": exported_top1(source, format, stressed, calibration, pictures, chosen.images),
                "quantization_aware": exported_top1(source, format, trained, calibration, pictures, chosen.images),
            }
        )
    return {
        "rows": [asdict(row) for row in rows],
        "exported": exported,
        "post_training": post.accuracy,
        "quantization_aware": rows[-1].accuracy,
        "recovered": recovered(rows[0].accuracy, post.accuracy, rows[-1].accuracy),
        "seconds": round(seconds),
        "history": result.history.to_dict(),
    }


def trained_for(
    fused_sums: bool, network: Any, grid: InputGrid, pictures: Cifar10, calibration: Pixels, chosen: argparse.Namespace
) -> AwareResult:
    """Quantization-aware training for the sums of OpenVINO (`fused_sums`), or for those of the other formats."""
    return train_aware(
        network,
        pictures.learned,
        None if chosen.without_labels else pictures.learned_labels,
        grid.to_real,
        calibration=calibration,
        initial=stored_ranges(network, grid.to_real(calibration), estimator=_ESTIMATOR),
        widen=chosen.widen,
        fused_sums=fused_sums,
        epochs=chosen.epochs,
        batch=chosen.batch,
        learning_rate=chosen.learning_rate,
        augmentation=AUGMENTATION,
        seed=chosen.seed,
    )


def exported_top1(
    source: Any, format: str, recipe: Recipe, calibration: Pixels, pictures: Cifar10, count: int
) -> float:
    """Top-1 of a real int8 artefact, run by its own library, on some of the held-out pictures."""
    plan = Plan(format, "int8")
    artefact = source.convert(plan, calibration, recipe)
    manifest = describe(source, plan, artefact, None, "stressed")
    chosen = np.linspace(0, len(pictures.held_out) - 1, min(count, len(pictures.held_out))).round().astype(int)
    with Model(artefact, manifest) as runnable:
        tops = [runnable.raw_outputs(pictures.held_out[index])[0].argmax() for index in chosen]
    return float((np.array(tops) == pictures.held_out_labels[chosen]).mean())


def trained_model(chosen: argparse.Namespace, pictures: Cifar10) -> Any:
    """A network with the weights of a file, or trained now."""
    settings = Settings(
        model=chosen.model,
        size=chosen.size,
        epochs=chosen.train_epochs,
        batch=64,
        learning_rate=4e-3 if chosen.model == "resnet" else Settings.learning_rate,
    )
    model = build(settings)
    if chosen.weights is not None:
        model.load_weights(chosen.weights)
        return model
    with tempfile.TemporaryDirectory() as folder:
        train(settings, pictures, Path(folder))
        model.load_weights(Path(folder) / f"{settings.model}.weights.h5")
    return model


def arguments_of(command_line: list[str] | None = None) -> argparse.Namespace:
    made = parser(__doc__)
    made.add_argument("--data", type=Path, default=data_folder(), help="folder with cifar10/ (default: EDGECV_DATA)")
    made.add_argument("--cache", type=Path, metavar="DIR", help="keep the decoded pictures there as npz")
    made.add_argument("--model", choices=MODELS, default="resnet")
    made.add_argument("--size", type=positive, default=32, help="side of the input (default: %(default)s)")
    made.add_argument("--weights", type=Path, metavar="FILE", help="of train_cifar10.py, in place of training")
    made.add_argument("--train-epochs", type=positive, default=30, help="of the float network")
    made.add_argument("--widen", type=float, default=16.0, help="factor on every activation range")
    made.add_argument("--epochs", type=positive, default=15, help="of quantization-aware training")
    made.add_argument("--batch", type=positive, default=32)
    made.add_argument("--learning-rate", type=float, default=6e-3)
    made.add_argument("--without-labels", action="store_true", help="imitate the float network alone")
    made.add_argument("--formats", nargs="*", choices=FORMATS, default=list(FORMATS), help="real exports to measure")
    made.add_argument("--images", type=positive, default=1000, help="held-out pictures for the real exports")
    made.add_argument("--seed", type=int, default=0)
    return made.parse_args(command_line)


def main() -> None:
    chosen = arguments_of()
    try:
        pictures = cached_cifar10(chosen.data, chosen.size, chosen.cache)
    except BenchmarkError as error:
        sys.exit(f"quantization_aware: {error}")
    found = measure(source_model(trained_model(chosen, pictures)), pictures, chosen)
    print(machine_line())
    print()
    print(f"| {chosen.model}, {len(pictures.held_out):,} held-out pictures | top-1 % | agreement with float % |")
    print("|---|---:|---:|")
    for row in found["rows"]:
        print(f"| {row['name']} | {100 * row['accuracy']:.2f} | {100 * row['agreement']:.2f} |")
    print()
    print(
        f"Training of {chosen.epochs} epochs took {found['seconds']} s and recovered {100 * found['recovered']:.0f} % "
        "of what post-training quantization lost."
    )
    if found["exported"]:
        print()
        print(
            f"| int8 file, {chosen.images:,} pictures, ranges ×{chosen.widen:g} | post-training | quantization-aware |"
        )
        print("|---|---:|---:|")
        for row in found["exported"]:
            print(f"| {row['format']} | {100 * row['post_training']:.2f} | {100 * row['quantization_aware']:.2f} |")
    write_json(chosen.json, {"settings": {key: str(value) for key, value in vars(chosen).items()}, **found})


if __name__ == "__main__":
    main()
