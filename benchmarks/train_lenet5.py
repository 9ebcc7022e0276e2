"""Train the LeNet-5 weights that the package ships, and measure them on digits they never saw.

    KERAS_BACKEND=tensorflow python benchmarks/train_lenet5.py --data DIR

DIR holds mnist/mnist_8000.npz: images (8000, 28, 28) uint8, labels (8000,). The network also learns digits that
edgecv draws itself. The real digits are split three ways by a seeded permutation: the last 1,600 are measured
once, at the end; the 800 before them choose the epoch; the others are learned. The weights and a JSON file with
the accuracies and every setting go into edgecv/models/weights/.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import time
from pathlib import Path
from typing import Any

import cv2
import keras
import numpy as np

from edgecv.data import DIGIT_SIZE, draw_digits
from edgecv.models.lenet import lenet5

WEIGHTS = Path(__file__).parents[1] / "edgecv" / "models" / "weights" / "lenet5_digits.weights.h5"

SETTINGS: dict[str, Any] = {
    "seed": 1998,
    "split": {"seed": 5, "learned": 5600, "validation": 800, "held_out": 1600},
    "generated": {
        "learned": {"count": 4000, "seed": 101},
        "validation": {"count": 1000, "seed": 102},
        "held_out": {"count": 2000, "seed": 103},
    },
    "epochs": 150,
    "batch": 64,
    "learning_rate": 2e-3,
    "weight_decay": 1e-3,
    "augmentation": {
        "rotation_degrees": 12.0,
        "scale": 0.15,
        "shear": 0.2,
        "shift_pixels": 2.0,
        "elastic_pixels": 1.3,
        "elastic_sigma": 4.5,
    },
}


def pad(images: np.ndarray) -> np.ndarray:
    """(N, 28, 28) uint8 MNIST images with a black border: (N, 32, 32)."""
    border = (DIGIT_SIZE - images.shape[1]) // 2
    return np.pad(images, ((0, 0), (border, border), (border, border)))


def as_input(images: np.ndarray) -> np.ndarray:
    """(N, 32, 32) uint8 to the network's (N, 32, 32, 1) float32 in 0..1."""
    return images[..., None].astype(np.float32) / 255.0


def augment(image: np.ndarray, amount: dict[str, float], rng: np.random.Generator) -> np.ndarray:
    """Random affine map and elastic warp of one (32, 32) uint8 image, in one resampling.

    The elastic field is Gaussian noise smoothed and scaled, after Simard et al., ICDAR 2003.
    """
    size = image.shape[0]
    angle = np.deg2rad(rng.uniform(-1, 1) * amount["rotation_degrees"])
    shear = rng.uniform(-1, 1) * amount["shear"]
    scale = 1 + rng.uniform(-1, 1, 2) * amount["scale"]
    shift = rng.uniform(-1, 1, 2) * amount["shift_pixels"]
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = turn @ np.array([[1.0, shear], [0.0, 1.0]]) @ np.diag(1 / scale)

    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    source = np.tensordot(matrix, np.stack([x, y]), 1) + shift[:, None, None] + (size - 1) / 2
    noise = rng.normal(size=(size, size, 2))
    field = cv2.GaussianBlur(noise, (0, 0), amount["elastic_sigma"])
    field *= rng.uniform(0, amount["elastic_pixels"]) / field.std()
    at = (source.transpose(1, 2, 0) + field).astype(np.float32)
    return cv2.remap(image, at, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=0)


class Batches(keras.utils.PyDataset):
    """The learned digits in a new order with a new distortion in every epoch."""

    def __init__(self, images: np.ndarray, labels: np.ndarray, settings: dict[str, Any]) -> None:
        super().__init__()
        self.images, self.labels, self.settings = images, labels, settings
        self.epoch = -1
        self.on_epoch_end()

    def __len__(self) -> int:
        return len(self.labels) // self.settings["batch"]

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        # Distortions depend on (seed, epoch, batch) alone, in whatever order the batches are asked for.
        chosen = self.order[index * self.settings["batch"] :][: self.settings["batch"]]
        rng = np.random.default_rng([self.settings["seed"], self.epoch, index])
        images = np.stack([augment(self.images[i], self.settings["augmentation"], rng) for i in chosen])
        return as_input(images), self.labels[chosen]

    def on_epoch_end(self) -> None:
        self.epoch += 1
        self.order = np.random.default_rng([self.settings["seed"], self.epoch]).permutation(len(self.labels))


class KeepBest(keras.callbacks.Callback):
    """Remember the weights of the epoch with the lowest validation loss."""

    def __init__(self) -> None:
        super().__init__()
        self.loss, self.epoch, self.weights = np.inf, 0, []

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        logs = logs or {}
        if logs["val_loss"] < self.loss:
            self.loss, self.epoch, self.weights = logs["val_loss"], epoch + 1, self.model.get_weights()
        if epoch % 10 == 9:
            print(
                f"epoch {epoch + 1:4d}  loss {logs['loss']:.4f}  "
                f"validation loss {logs['val_loss']:.4f}  accuracy {logs['val_accuracy']:.4f}",
                flush=True,
            )


def accuracy(model: keras.Model, images: np.ndarray, labels: np.ndarray) -> float:
    """Fraction of (N, 32, 32) uint8 images whose most probable class is the label."""
    scores = model.predict(as_input(images), batch_size=256, verbose=0)
    return float((scores.argmax(axis=1) == labels).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=os.environ.get("EDGECV_DATA"), help="folder with mnist/")
    parser.add_argument("--epochs", type=int, default=SETTINGS["epochs"])
    parser.add_argument("--output", type=Path, default=WEIGHTS, help="file ending in .weights.h5")
    arguments = parser.parse_args()
    digits = None if arguments.data is None else arguments.data / "mnist" / "mnist_8000.npz"
    if digits is None or not digits.is_file():
        parser.error(
            f"--data (or EDGECV_DATA) must be a folder that holds mnist/mnist_8000.npz; received {arguments.data}"
        )
    settings = {**SETTINGS, "epochs": arguments.epochs}
    split, generated = settings["split"], settings["generated"]

    with np.load(digits) as archive:
        real, real_labels = pad(archive["images"]), archive["labels"].astype(np.int64)
    order = np.random.default_rng(split["seed"]).permutation(len(real))
    learned, validation, held_out = np.split(order, [split["learned"], split["learned"] + split["validation"]])
    drawn = {part: draw_digits(**chosen) for part, chosen in generated.items()}

    keras.utils.set_random_seed(settings["seed"])
    model = lenet5()
    batches = Batches(
        np.concatenate([real[learned], drawn["learned"][0]]),
        np.concatenate([real_labels[learned], drawn["learned"][1]]),
        settings,
    )
    rate = keras.optimizers.schedules.CosineDecay(settings["learning_rate"], settings["epochs"] * len(batches))
    optimizer = keras.optimizers.AdamW(rate, weight_decay=settings["weight_decay"])
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    best = KeepBest()
    start = time.perf_counter()
    model.fit(
        batches,
        validation_data=(
            as_input(np.concatenate([real[validation], drawn["validation"][0]])),
            np.concatenate([real_labels[validation], drawn["validation"][1]]),
        ),
        epochs=settings["epochs"],
        shuffle=False,  # the data set shuffles itself, from its own seed
        callbacks=[best],
        verbose=0,
    )
    seconds = time.perf_counter() - start
    model.set_weights(best.weights)

    measured = {
        "real_validation": accuracy(model, real[validation], real_labels[validation]),
        "real_held_out": accuracy(model, real[held_out], real_labels[held_out]),
        "generated_held_out": accuracy(model, *drawn["held_out"]),
    }
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    shipped = lenet5()  # a compiled model would write its optimizer too, twice the size of the weights
    shipped.set_weights(best.weights)
    shipped.save_weights(arguments.output)
    record = {
        "model": "lenet5",
        "weights": "digits",
        "file": arguments.output.name,
        "sha256": hashlib.sha256(arguments.output.read_bytes()).hexdigest(),
        "parameters": model.count_params(),
        "accuracy": measured,
        "best_epoch": best.epoch,
        "data": "8,000 MNIST digits (LeCun, Cortes, Burges; CC BY-SA 3.0) and digits drawn by edgecv.data",
        "made_by": "benchmarks/train_lenet5.py",
        "settings": settings,
        "versions": {"keras": keras.__version__, "numpy": np.__version__, "opencv": cv2.__version__},
    }
    notes = arguments.output.with_name(arguments.output.name.removesuffix(".weights.h5") + ".json")
    notes.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")

    print()
    print("| what | value |")
    print("|---|---|")
    print(f"| accuracy, real held-out digits (n = {len(held_out):,}) | {measured['real_held_out']:.2%} |")
    print(
        f"| accuracy, generated held-out digits (n = {generated['held_out']['count']:,}) "
        f"| {measured['generated_held_out']:.2%} |"
    )
    print(f"| accuracy, real validation digits (n = {len(validation):,}) | {measured['real_validation']:.2%} |")
    print(f"| parameters | {model.count_params():,} |")
    print(f"| epochs, of them kept | {settings['epochs']}, {best.epoch} |")
    print(f"| seconds | {seconds:.0f} |")


if __name__ == "__main__":
    main()
