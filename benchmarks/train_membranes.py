"""U-Net on 15 slices of neural tissue, measured on 5 others, against a threshold; patches against full images.

    python benchmarks/train_membranes.py [--filters 8] [--steps 200] [--json FILE] [--plot FILE.png]

The slices are those of EDGECV_DATA/membrane: 512×512 electron micrographs with the membranes between cells marked. Each
fourth slice is held out, the 15 others are learned. The baselines are Otsu's threshold on each slice, and the best
global one of the learned slices after the best blur of them. The networks are the same-padding U-Net of the registry,
narrow; every variant sees the same number of pixels from the same seed:

    full            whole slices, classes balanced
    full, border    and the border weights of Ronneberger et al. 2015, eq. 2
    full, elastic   and elastic deformation (their section 3.1: random displacements on a 3×3 grid)
    patches, border patches of 128×128 around a pixel of either class, equally often; 16 of them make a step

All are mirrored and turned by quarters at random. Because balanced classes move the point at which a network says
"membrane", the probability from which on a pixel counts as cell is chosen on the learned slices, as the threshold is.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import numpy.typing as npt
from _common import BenchmarkError, data_folder, machine_line, parser, positive, write_json

from edgecv_runtime.metrics.miou import Confusion

HELD_OUT_EVERY = 4
SIDE, PATCH = 512, 128
CLASSES = ("membrane", "cell")
BLURS = (0.0, 1.0, 2.0, 3.0, 4.0)  # pixels, of the baseline
ELASTIC = 10.0  # pixels: the standard deviation of the displacements, U-Net's section 3.1
BORDER, SIGMA = 10.0, 5.0  # pixels: w_0 and σ of U-Net's eq. 2

Pixels = npt.NDArray[np.uint8]
Array = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Slices:
    """Micrographs (N, 512, 512) uint8 and masks of the same shape: 1 inside a cell, 0 on a membrane."""

    images: Pixels
    masks: Pixels


@dataclass(frozen=True)
class Variant:
    """How a network is trained."""

    name: str
    patches: bool = False
    border: bool = False
    elastic: bool = False


VARIANTS = (
    Variant("full"),
    Variant("full, border", border=True),
    Variant("full, border, elastic", border=True, elastic=True),
    Variant("patches, border", patches=True, border=True),
)


# -- data ----------------------------------------------------------------------------------------------------------


def read_slices(data: Path | None) -> tuple[Slices, Slices]:
    """Learned and held-out slices.

    Raises
    ------
    BenchmarkError
        There are none.
    """
    import cv2

    folder = None if data is None else data / "membrane"
    names = [] if folder is None else sorted((folder / "image").glob("*.png"), key=lambda path: int(path.stem))
    if folder is None or not names:
        raise BenchmarkError(f"EDGECV_DATA must be a folder that holds membrane/image/*.png; received {data}")
    images = np.stack([cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) for path in names])
    labels = np.stack([cv2.imread(str(folder / "label" / path.name), cv2.IMREAD_GRAYSCALE) for path in names])
    masks = (labels > 127).astype(np.uint8)
    held_out = np.arange(len(names)) % HELD_OUT_EVERY == HELD_OUT_EVERY - 1
    return Slices(images[~held_out], masks[~held_out]), Slices(images[held_out], masks[held_out])


def deform(arrays: tuple[Any, ...], generator: np.random.Generator) -> tuple[Any, ...]:
    """An image and what belongs to it (mask, weights) under one elastic field; masks take the nearest pixel's class."""
    import cv2

    from edgecv.augment.geometric import GridWarp

    y, x = np.mgrid[: arrays[0].shape[0], : arrays[0].shape[1]].astype(np.float32)
    field = GridWarp(crossings=3, pixels=ELASTIC).field(arrays[0].shape, generator) + np.stack([x, y], axis=-1)
    return tuple(
        cv2.remap(
            array,
            field,
            None,
            cv2.INTER_LINEAR if number == 0 else cv2.INTER_NEAREST,
            borderMode=cv2.BORDER_REFLECT_101,
        )
        for number, array in enumerate(arrays)
    )


def turned(arrays: tuple[Any, ...], generator: np.random.Generator) -> tuple[Any, ...]:
    """Mirrored or not, and turned by a number of quarters: all arrays alike."""
    quarters, mirror = int(generator.integers(4)), bool(generator.integers(2))
    return tuple(np.rot90(array[:, ::-1] if mirror else array, quarters) for array in arrays)


def balanced_corner(mask: Pixels, side: int, generator: np.random.Generator) -> tuple[int, int]:
    """Top left corner of a patch whose middle is of either class with the same probability."""
    reach = side // 2
    inner = mask[reach : mask.shape[0] - reach + 1, reach : mask.shape[1] - reach + 1]
    rows, columns = np.nonzero(inner == generator.integers(2))
    chosen = int(generator.integers(len(rows)))
    return int(rows[chosen]), int(columns[chosen])


def batches(slices: Slices, weights: Array, variant: Variant, steps: int, seed: int) -> Iterator[tuple[Array, ...]]:
    """Image, mask and weights of each step: one whole slice, or as many patches as have its pixels."""
    order: list[int] = []
    for step in range(steps):
        generator = np.random.default_rng([seed, step])
        parts = []
        for _ in range((SIDE // PATCH) ** 2 if variant.patches else 1):
            order = order or np.random.default_rng([seed, step, 1]).permutation(len(slices.images)).tolist()
            chosen = order.pop()
            arrays: tuple[Any, ...] = (slices.images[chosen], slices.masks[chosen], weights[chosen])
            if variant.elastic:
                arrays = deform(arrays, generator)
            if variant.patches:
                top, left = balanced_corner(arrays[1], PATCH, generator)
                arrays = tuple(array[top : top + PATCH, left : left + PATCH] for array in arrays)
            parts.append(turned(arrays, generator))
        images, masks, amounts = (np.stack([part[place] for part in parts]) for place in range(3))
        yield images[..., None].astype(np.float32) / 255, masks.astype(np.int32), amounts.astype(np.float32)


# -- answers -------------------------------------------------------------------------------------------------------


def measure(answers: npt.NDArray[np.bool_], masks: Pixels) -> dict[str, float]:
    """Pixel error and intersection over union of both classes."""
    confusion = Confusion(2)
    for answer, mask in zip(answers, masks, strict=True):
        confusion.add(mask, answer.astype(np.uint8))
    found = confusion.accuracy()
    return {
        "pixel_error": 1 - found.pixel_accuracy,
        "miou": found.miou,
        **{f"iou_{CLASSES[index]}": iou for index, iou in found.by_class},
    }


def best_threshold(values: npt.NDArray[Any], masks: Pixels, levels: int = 256) -> tuple[float, float]:
    """The value from which on a pixel is called cell, with the fewest wrong pixels; and their share.

    Values are uint8, or in 0..1; the histogram of each class says it for all thresholds at once.
    """
    scaled = values if values.dtype == np.uint8 else np.clip(values * levels, 0, levels - 1)
    cells, others = (
        np.bincount(scaled[masks == index].astype(np.int64), minlength=levels)[:levels] for index in (1, 0)
    )
    # With threshold t, cells below t and membranes from t on are wrong.
    wrong = np.concatenate([[0], np.cumsum(cells)]) + np.concatenate([[0], np.cumsum(others)])[-1]
    wrong = wrong - np.concatenate([[0], np.cumsum(others)])
    best = int(wrong.argmin())
    return best if values.dtype == np.uint8 else best / levels, float(wrong[best] / masks.size)


def blurred(images: Pixels, sigma: float) -> Pixels:
    import cv2

    return images if sigma == 0 else np.stack([cv2.GaussianBlur(image, (0, 0), sigma) for image in images])


def baselines(learned: Slices, held_out: Slices) -> list[dict[str, Any]]:
    """Otsu's threshold of each slice, and the best global one with the best blur."""
    import cv2

    rows = []
    fits = {sigma: best_threshold(blurred(learned.images, sigma), learned.masks) for sigma in BLURS}
    sigma = min(fits, key=lambda blur: fits[blur][1])
    soft = blurred(held_out.images, sigma)
    otsu = np.stack([image >= cv2.threshold(image, 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU)[0] for image in soft])
    rows.append({"name": f"Otsu, blur {sigma:g}", **measure(otsu, held_out.masks)})
    rows.append(
        {
            "name": f"threshold {fits[sigma][0]:g}, blur {sigma:g}",
            **measure(soft >= fits[sigma][0], held_out.masks),
        }
    )
    return rows


def build(filters: int, side: int) -> Any:
    import keras

    import edgecv

    model = edgecv.create_model("unet_same", (side, side, 1), filters=filters, classifier_activation=None)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.9  # a few hundred steps
    return model


def probabilities(model: Any, images: Pixels) -> Array:
    """(N, H, W): of being inside a cell."""
    logits = [np.asarray(model(image[None, ..., None].astype(np.float32) / 255, training=False)) for image in images]
    scores = np.concatenate(logits).astype(np.float64)
    found: Array = (1 / (1 + np.exp(scores[..., 0] - scores[..., 1]))).astype(np.float32)
    return found


def train(variant: Variant, learned: Slices, weights: Array, options: argparse.Namespace) -> tuple[Any, float]:
    """The trained network at full size, and the seconds it took."""
    import keras

    from edgecv.losses import PixelCrossEntropy

    keras.utils.clear_session()
    keras.utils.set_random_seed(options.seed)
    model = build(options.filters, PATCH if variant.patches else SIDE)
    rate = keras.optimizers.schedules.CosineDecay(options.learning_rate, options.steps)
    model.compile(keras.optimizers.Adam(rate), PixelCrossEntropy(from_logits=True), jit_compile=False)
    started, losses = time.perf_counter(), []
    for step, batch in enumerate(batches(learned, weights, variant, options.steps, options.seed), start=1):
        images, masks, amounts = batch
        losses.append(float(model.train_on_batch(images, masks, sample_weight=amounts)))
        model.reset_metrics()
        if step % 50 == 0 or step == options.steps:
            spent = time.perf_counter() - started
            print(
                f"{variant.name}: step {step}, loss {np.mean(losses):.4f}, {spent:.0f} s", file=sys.stderr, flush=True
            )
            losses = []
    full = build(options.filters, SIDE)
    full.set_weights(model.get_weights())
    return full, time.perf_counter() - started


def plot(held_out: Slices, answers: dict[str, npt.NDArray[Any]], path: Path, side: int = 256) -> None:
    """A corner of the first held-out slice as every method sees it: red are membranes it missed, blue invented ones."""
    import cv2

    from edgecv.explain.pictures import grid

    truth = held_out.masks[0][:side, :side] == 1
    tiles = []
    for answer in answers.values():
        cell = answer[0][:side, :side]
        tile = np.where(cell, 255, 0).astype(np.uint8)[..., None].repeat(3, axis=2)
        tile[cell & ~truth], tile[~cell & truth] = (220, 40, 40), (60, 90, 230)
        tiles.append(tile)
    drawn = cv2.cvtColor(grid(tiles, columns=math.ceil(len(tiles) / 2)), cv2.COLOR_RGB2BGR)
    cv2.imwrite(str(path), drawn, [cv2.IMWRITE_PNG_COMPRESSION, 9])


# -- command line --------------------------------------------------------------------------------------------------


def arguments_of(command_line: list[str] | None = None) -> argparse.Namespace:
    made = parser(__doc__ or "")
    made.add_argument("--filters", type=positive, default=8, help="channels of the first level (default: 8)")
    made.add_argument("--steps", type=positive, default=200, help="of each training, 512×512 pixels each")
    made.add_argument("--learning-rate", type=float, default=2e-3)
    made.add_argument("--seed", type=int, default=0)
    made.add_argument("--plot", type=Path, metavar="FILE.png", help="right and wrong answers to a part of a slice")
    return made.parse_args(command_line)


def main(command_line: list[str] | None = None) -> int:
    options = arguments_of(command_line)
    from edgecv.losses import border_weights, class_balance

    learned, held_out = read_slices(data_folder())
    balance = class_balance(learned.masks, 2)
    plain = balance[learned.masks]
    border = np.stack(
        [border_weights(mask, border=BORDER, sigma=SIGMA, class_weights=balance.tolist()) for mask in learned.masks]
    )
    rows = baselines(learned, held_out)
    answers = {}
    for variant in VARIANTS:
        model, seconds = train(variant, learned, border if variant.border else plain, options)
        threshold, _ = best_threshold(probabilities(model, learned.images), learned.masks)
        answer = probabilities(model, held_out.images) >= threshold
        rows.append(
            {
                "name": f"U-Net, {variant.name}",
                **measure(answer, held_out.masks),
                "threshold": threshold,
                "seconds": seconds,
            }
        )
        answers[variant.name] = answer
    print(machine_line())
    print(
        f"{len(learned.images)} slices learned, {len(held_out.images)} held out; U-Net of {options.filters} filters, "
        f"{options.steps} steps\n"
    )
    print("| method | pixel error | IoU membrane | IoU cell | mIoU | seconds |")
    print("|---|---|---|---|---|---|")
    for row in rows:
        spent = f"{row['seconds']:.0f}" if "seconds" in row else ""
        print(
            f"| {row['name']} | {row['pixel_error']:.2%} | {row['iou_membrane']:.3f} | {row['iou_cell']:.3f} | "
            f"{row['miou']:.3f} | {spent} |"
        )
    write_json(options.json, {"benchmark": "train_membranes", "steps": options.steps, "rows": rows})
    if options.plot is not None:
        plot(held_out, answers, options.plot)
    best = max(row["miou"] for row in rows[:2])
    least = min(row["pixel_error"] for row in rows[:2])
    return 0 if all(row["miou"] > best and row["pixel_error"] < least for row in rows[2:]) else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except BenchmarkError as error:
        sys.exit(f"train_membranes: {error}")
