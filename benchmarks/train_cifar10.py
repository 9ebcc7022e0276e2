"""Train small networks on CIFAR-10 pictures from scratch: what the quantization benchmarks start from.

    python benchmarks/train_cifar10.py --output DIR --model efficientnet --epochs 24

The data folder (EDGECV_DATA, or --data) holds cifar10/*.tar.gz: ten folders of JPEGs. Every fifth picture of a class
is held out; the others are learned, mirrored and shifted at random. DIR receives MODEL.weights.h5, written anew
after each epoch, and MODEL.json with the held-out accuracy and every setting.

efficientnet is the EfficientNet of `edgecv.models` (swish and squeeze-and-excitation), resnet a small plain residual
network with batch norms.
"""

from __future__ import annotations

import argparse
import io
import json
import math
import sys
import tarfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt
from _common import BenchmarkError, data_folder, positive

from edgecv_export.quantize.aware.augment import Augmentation
from edgecv_runtime.progress import Progress, track

Pixels = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int64]

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
HELD_OUT_EVERY = 5
MODELS = ("efficientnet", "resnet")
AUGMENTATION = Augmentation(mirror=True, shift=0.125)  # He et al. 2016, section 4.2: 4 of 32 pixels


@dataclass(frozen=True)
class Settings:
    """Everything that a run depends on, beside the pictures."""

    model: str = "efficientnet"
    phi: float = 0.0
    size: int = 48
    epochs: int = 24
    batch: int = 32
    learning_rate: float = 2e-3
    warm_up_epochs: float = 1.0
    weight_decay: float = 2e-2
    label_smoothing: float = 0.1
    seed: int = 2019


@dataclass(frozen=True)
class Cifar10:
    """Pictures (N, size, size, 3) uint8 RGB with their classes, split in two.

    Attributes
    ----------
    held_out_files : tuple of str
        Where the held-out pictures lie in the archive.
    """

    learned: Pixels
    learned_labels: Labels
    held_out: Pixels
    held_out_labels: Labels
    held_out_files: tuple[str, ...]


# -- pictures ------------------------------------------------------------------------------------------------------


def split(names: list[str]) -> tuple[list[str], list[str]]:
    """File names of one class, in order, into those to learn and every fifth, which is held out."""
    ordered = sorted(names)
    held_out = ordered[HELD_OUT_EVERY - 1 :: HELD_OUT_EVERY]
    return sorted(set(ordered) - set(held_out)), held_out


def read_cifar10(data: Path | None, size: int) -> Cifar10:
    """Decode the archive in the data folder, and enlarge its pictures to `size`.

    Raises
    ------
    BenchmarkError
        There is no archive.
    """
    import cv2

    archives = [] if data is None else sorted((data / "cifar10").glob("*.tar.gz"))
    if not archives:
        raise BenchmarkError(f"--data (or EDGECV_DATA) must be a folder that holds cifar10/*.tar.gz; received {data}")
    files: dict[str, dict[str, bytes]] = {name: {} for name in CLASSES}
    with tarfile.open(archives[0]) as archive:
        for member in archive:
            content = archive.extractfile(member) if member.isfile() else None
            if content is not None and PurePosixPath(member.name).parent.name in files:
                files[PurePosixPath(member.name).parent.name][member.name] = content.read()

    def decode(content: bytes) -> Pixels:
        image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
        return cv2.resize(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), (size, size), interpolation=cv2.INTER_LINEAR)

    parts: list[tuple[list[Pixels], list[int], list[str]]] = [([], [], []), ([], [], [])]
    for label, name in enumerate(
        track(
            CLASSES,
            len(CLASSES),
            "decoding",
        )
    ):
        for (pictures, labels, kept), chosen in zip(parts, split(list(files[name])), strict=True):
            pictures += [decode(files[name][path]) for path in chosen]
            labels += [label] * len(chosen)
            kept += chosen
    learned, held_out = parts
    return Cifar10(
        np.stack(learned[0]),
        np.array(learned[1], np.int64),
        np.stack(held_out[0]),
        np.array(held_out[1], np.int64),
        tuple(held_out[2]),
    )


def cached_cifar10(data: Path | None, size: int, cache: Path | None) -> Cifar10:
    """`read_cifar10`, kept as one npz file in the folder `cache` if one is given."""
    if cache is None:
        return read_cifar10(data, size)
    path = cache / f"cifar10_{size}.npz"
    if path.is_file():
        with np.load(path) as stored:
            arrays = {name: stored[name] for name in stored.files}
        return Cifar10(**{**arrays, "held_out_files": tuple(arrays["held_out_files"].tolist())})  # type: ignore[arg-type]
    pictures = read_cifar10(data, size)
    cache.mkdir(parents=True, exist_ok=True)
    content = io.BytesIO()
    np.savez(content, **{name: np.asarray(value) for name, value in vars(pictures).items()})
    path.write_bytes(content.getvalue())
    return pictures


# -- networks ------------------------------------------------------------------------------------------------------


def build(settings: Settings, pixels: Pixels | None = None) -> Any:
    """An untrained network of pixels 0..255, ending at the logits.

    Its normalisation takes the mean and variance of `pixels`; without them it waits for weights to be loaded.
    """
    shape = (settings.size, settings.size, 3)
    model = _efficientnet(settings.phi, shape) if settings.model == "efficientnet" else small_resnet(shape)
    if pixels is not None:
        layer = next(layer for layer in model.layers if type(layer).__name__ == "Normalization")
        unit = pixels.reshape(-1, 3).astype(np.float64) / 255
        layer.set_weights([unit.mean(axis=0), unit.var(axis=0), np.zeros((), np.int64)])
        layer.finalize_state()  # Keras computes with a copy that set_weights does not refresh on every back end
        _calm(model)
    return model


def _calm(model: Any) -> None:
    """Let a deep network learn within few epochs: blocks begin as identities, the classifier at zero.

    Zero gain in the last batch norm of a residual branch: Goyal et al. 2017, section 5.1. The classifier's own initial
    values are meant for 1000 classes and would give ten of them loud logits. Nothing is dropped: so short a training
    does not overfit.
    """
    norms = {layer.name: layer for layer in model.layers if type(layer).__name__ == "BatchNormalization"}
    for layer in model.layers:
        if type(layer).__name__ == "Add":
            prefix = layer.name.removesuffix("add")
            last = norms.get(f"{prefix}project_bn") or norms[f"{prefix}2_bn"]
            last.gamma.assign(np.zeros(last.gamma.shape))
        if type(layer).__name__ == "Dropout":
            layer.rate = 0.0
    classifier = model.layers[-1]
    classifier.set_weights([np.zeros(weight.shape) for weight in classifier.get_weights()])


def _efficientnet(phi: float, shape: tuple[int, int, int]) -> Any:
    from edgecv.models.efficientnet import efficientnet

    return efficientnet(phi, shape, len(CLASSES), classifier_activation=None)


def small_resnet(shape: tuple[int, int, int], widths: tuple[int, ...] = (16, 32, 64)) -> Any:
    """A residual network of one block per width (He et al. 2016, section 4.2, with n = 1)."""
    import keras

    layers = keras.layers

    def convolution(x: Any, filters: int, kernel: int, stride: int, name: str) -> Any:
        x = layers.Conv2D(filters, kernel, stride, "same", use_bias=False, name=f"{name}_conv")(x)
        return layers.BatchNormalization(name=f"{name}_bn")(x)

    image = keras.Input(shape, name="image")
    x = layers.Normalization(name="normalization")(layers.Rescaling(1 / 255)(image))
    x = layers.ReLU(name="stem_relu")(convolution(x, widths[0], 3, 1, "stem"))
    for index, width in enumerate(widths):
        stride = 1 if index == 0 else 2
        y = layers.ReLU(name=f"block{index}_relu1")(convolution(x, width, 3, stride, f"block{index}_1"))
        y = convolution(y, width, 3, 1, f"block{index}_2")
        shortcut = x if stride == 1 else convolution(x, width, 1, stride, f"block{index}_shortcut")
        x = layers.ReLU(name=f"block{index}_relu2")(layers.Add(name=f"block{index}_add")([y, shortcut]))
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(image, layers.Dense(len(CLASSES), name="logits")(x), name="small_resnet")


# -- training ------------------------------------------------------------------------------------------------------


def train(settings: Settings, pictures: Cifar10, output: Path, resume: bool = False) -> dict[str, Any]:
    """Train, writing weights and record into `output` after each epoch; returns the record.

    With `resume`, a training whose weights and record lie in `output` goes on after its last epoch; the optimizer's
    moments begin anew.
    """
    import keras

    keras.utils.set_random_seed(settings.seed)
    model = build(settings, pictures.learned)
    history: list[dict[str, float]] = []
    if resume:
        history = json.loads((output / f"{settings.model}.json").read_text(encoding="utf-8"))["history"]
        model.load_weights(output / f"{settings.model}.weights.h5")
    steps = len(pictures.learned) // settings.batch
    optimizer = keras.optimizers.AdamW(settings.learning_rate, weight_decay=settings.weight_decay)
    optimizer.exclude_from_weight_decay(var_names=["gamma", "beta", "bias"])
    loss = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=settings.label_smoothing)
    model.compile(optimizer, loss)
    record: dict[str, Any] = {}
    started = time.perf_counter()
    for epoch in range(len(history), settings.epochs):
        mean_loss = _epoch(model, pictures, settings, epoch, steps)
        history.append({"loss": mean_loss, "held_out": accuracy(model, pictures.held_out, pictures.held_out_labels)})
        print(
            f"epoch {epoch + 1:3d}  loss {mean_loss:.4f}  held out {100 * history[-1]['held_out']:.2f} %  "
            f"{time.perf_counter() - started:.0f} s",
            flush=True,
        )
        record = _record(settings, model, pictures, history, time.perf_counter() - started)
        _write(model, record, settings, output)
    return record


def learning_rate(settings: Settings, epochs: float) -> float:
    """After that many epochs: up in a straight line from a tenth, then down to zero along half a cosine."""
    if epochs < settings.warm_up_epochs:
        return settings.learning_rate * (0.1 + 0.9 * epochs / settings.warm_up_epochs)
    share = (epochs - settings.warm_up_epochs) / max(settings.epochs - settings.warm_up_epochs, 1e-9)
    return settings.learning_rate * (1 + math.cos(math.pi * min(share, 1.0))) / 2


def _epoch(model: Any, pictures: Cifar10, settings: Settings, epoch: int, steps: int) -> float:
    generator = np.random.default_rng([settings.seed, epoch])
    order = generator.permutation(len(pictures.learned))
    targets = np.eye(len(CLASSES), dtype=np.float32)
    losses = []
    with Progress(steps, f"epoch {epoch + 1}/{settings.epochs}", "batches") as bar:
        for step in range(steps):
            model.optimizer.learning_rate = learning_rate(settings, epoch + step / steps)
            chosen = order[step * settings.batch :][: settings.batch]
            batch = AUGMENTATION.apply(pictures.learned[chosen], generator).astype(np.float32)
            losses.append(float(model.train_on_batch(batch, targets[pictures.learned_labels[chosen]])))
            model.reset_metrics()
            bar.advance()
    return float(np.mean(losses))


def accuracy(model: Any, pixels: Pixels, labels: Labels) -> float:
    """Share of (N, H, W, 3) pictures whose highest logit is that of their class."""
    logits = model.predict(pixels.astype(np.float32), batch_size=256, verbose=0)
    return float((logits.argmax(axis=1) == labels).mean())


def _record(
    settings: Settings, model: Any, pictures: Cifar10, history: list[dict[str, float]], seconds: float
) -> dict[str, Any]:
    import keras

    return {
        "settings": asdict(settings),
        "classes": list(CLASSES),
        "accuracy": history[-1]["held_out"],
        "learned": len(pictures.learned),
        "held_out": len(pictures.held_out),
        "held_out_rule": f"every {HELD_OUT_EVERY}th file of a class, in order of name",
        "input": f"RGB pixels 0..255, stretched to {settings.size}×{settings.size} with linear interpolation",
        "parameters": model.count_params(),
        "seconds": round(seconds),
        "history": history,
        "versions": {"keras": keras.__version__, "numpy": np.__version__},
    }


def _write(model: Any, record: dict[str, Any], settings: Settings, output: Path) -> None:
    bare = build(settings)  # a compiled model would write its optimizer too, three times the size of the weights
    bare.set_weights(model.get_weights())
    part = output / f"{settings.model}.part.weights.h5"
    bare.save_weights(part)
    part.replace(output / f"{settings.model}.weights.h5")
    (output / f"{settings.model}.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


# -- command line --------------------------------------------------------------------------------------------------


def arguments_of(command_line: list[str] | None = None) -> argparse.Namespace:
    default = Settings()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="where weights and record go")
    parser.add_argument("--data", type=Path, default=data_folder(), help="folder with cifar10/ (default: EDGECV_DATA)")
    parser.add_argument("--cache", type=Path, metavar="DIR", help="keep the decoded pictures there as npz")
    parser.add_argument("--model", choices=MODELS, default=default.model)
    parser.add_argument("--phi", type=float, default=default.phi, help="the EfficientNet's compound coefficient")
    parser.add_argument("--size", type=positive, default=default.size, help="side of the input (default: %(default)s)")
    parser.add_argument("--epochs", type=positive, default=default.epochs)
    parser.add_argument("--batch", type=positive, default=default.batch)
    parser.add_argument("--learning-rate", type=float, default=default.learning_rate)
    parser.add_argument("--seed", type=int, default=default.seed)
    parser.add_argument("--resume", action="store_true", help="go on with the training that lies in --output")
    return parser.parse_args(command_line)


def main() -> None:
    chosen = arguments_of()
    settings = Settings(
        model=chosen.model,
        phi=chosen.phi,
        size=chosen.size,
        epochs=chosen.epochs,
        batch=chosen.batch,
        learning_rate=chosen.learning_rate,
        seed=chosen.seed,
    )
    try:
        pictures = cached_cifar10(chosen.data, settings.size, chosen.cache)
    except BenchmarkError as error:
        sys.exit(f"train_cifar10: {error}")
    chosen.output.mkdir(parents=True, exist_ok=True)
    if chosen.resume and not (chosen.output / f"{settings.model}.json").is_file():
        sys.exit(f"train_cifar10: --resume needs {settings.model}.json in {chosen.output}")
    record = train(settings, pictures, chosen.output, chosen.resume)
    print()
    print("| what | value |")
    print("|---|---|")
    print(f"| accuracy, held-out pictures (n = {record['held_out']:,}) | {record['accuracy']:.2%} |")
    print(f"| parameters | {record['parameters']:,} |")
    print(f"| epochs | {settings.epochs} |")
    print(f"| seconds | {record['seconds']} |")


if __name__ == "__main__":
    main()
