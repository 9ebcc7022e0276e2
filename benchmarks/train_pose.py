"""Train both kinds of pose network on drawn figures, and measure them on figures they never saw.

    python benchmarks/train_pose.py [--family regression|heatmap|all] [--weights DIR] [--json FILE] [--plot FILE.png]

Figures come from ``edgecv.data.figures``. An answer is read by the decoder that the device has; its error is the mean
distance of the joints that are to be seen, in percent of the picture's side. At most 3 % are accepted.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import numpy.typing as npt
from _common import machine_line, parser, positive, write_json

from edgecv.data.figures import FigureSample, generate_figures
from edgecv.pose.joints import JOINTS
from edgecv.pose.targets import encode_heatmaps, encode_points
from edgecv_runtime.cli.output import table
from edgecv_runtime.decoders import Decoder, make_decoder
from edgecv_runtime.manifest import DecoderSpec, InputSpec, Manifest, TensorSpec
from edgecv_runtime.preprocess import Geometry
from edgecv_runtime.results import Pose

LIMIT = 3.0  # percent
SIZE = 96
SEEDS = {"learned": 11, "held out": 12}
SHIFT = 6  # pixels by which a learned picture is moved, at most
HELD_OUT = 500


@dataclass(frozen=True)
class Family:
    """A network, and how it is trained."""

    model: str
    epochs: int
    learning_rate: float
    batch: int = 32


FAMILIES = {
    "regression": Family("deeppose_small", epochs=16, learning_rate=3e-3),
    "heatmap": Family("hourglass_small", epochs=6, learning_rate=4e-3),
}


def targets(model: Any, samples: Sequence[FigureSample], joints: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """What a network should answer, by the shape of its answer."""
    visible = np.stack([sample.visible for sample in samples])
    if len(model.output_shape) == 2:
        return encode_points(joints, visible, (SIZE, SIZE))
    return encode_heatmaps(joints, visible, (SIZE, SIZE), model.output_shape[1:3])


def as_input(images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    return (images.astype(np.float32) - 127.5) / 127.5


def varied(
    samples: Sequence[FigureSample], rng: np.random.Generator
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]]:
    """The pictures moved a little, their colours exchanged and made lighter or darker; and the joints with them.

    They are not mirrored: a figure's left limbs are the darker ones.
    """
    images, joints = [], []
    for sample in samples:
        right, down = rng.integers(-SHIFT, SHIFT + 1, 2)
        padded = np.pad(sample.image, ((SHIFT, SHIFT), (SHIFT, SHIFT), (0, 0)), mode="edge")
        moved = padded[SHIFT - down :, SHIFT - right :][:SIZE, :SIZE, rng.permutation(3)]
        images.append(np.clip(moved * rng.uniform(0.8, 1.15), 0, 255).astype(np.uint8))
        joints.append(sample.joints + np.array([right, down], np.float32))
    return np.stack(images), np.stack(joints).astype(np.float32)


def train(model: Any, family: Family, samples: Sequence[FigureSample], seed: int, tell: Callable[[str], None]) -> float:
    """Train in place; seconds that it took."""
    import keras

    from edgecv.pose.losses import HeatmapLoss, PointLoss

    class Batches(keras.utils.PyDataset):
        """The samples in a new order and varied anew in every epoch, by the seed alone."""

        epoch = 0

        def __len__(self) -> int:
            return len(samples) // family.batch

        def __getitem__(self, index: int) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
            order = np.random.default_rng([seed, self.epoch]).permutation(len(samples))
            chosen = [samples[i] for i in order[index * family.batch :][: family.batch]]
            images, joints = varied(chosen, np.random.default_rng([seed, self.epoch, index]))
            return as_input(images), targets(model, chosen, joints)

        def on_epoch_end(self) -> None:
            self.epoch += 1

    class Tell(keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
            tell(f"  epoch {epoch + 1}/{family.epochs}: loss {(logs or {}).get('loss', float('nan')):.5f}")

    batches = Batches()
    rate = keras.optimizers.schedules.CosineDecay(family.learning_rate, family.epochs * len(batches))
    loss = PointLoss() if len(model.output_shape) == 2 else HeatmapLoss(weight=10.0)
    model.compile(keras.optimizers.Adam(rate), loss)
    started = time.perf_counter()
    model.fit(batches, epochs=family.epochs, shuffle=False, callbacks=[Tell()], verbose=0)
    return time.perf_counter() - started


def decoder_of(model: Any, name: str) -> Decoder:
    """The decoder that a bundle of this network would have."""
    from edgecv.models.registry import get_record

    recipe = get_record(name).decoder
    if recipe is None:
        raise SystemExit(f"{name} has no decoder")
    shape = model.input_shape[1:]
    return make_decoder(
        Manifest(
            name=name,
            task="pose",
            architecture={"name": name},
            format="tflite",
            precision="fp32",
            inputs=(InputSpec("image", (1, *shape), "uint8"),),
            outputs=(TensorSpec("output", (1, *model.output_shape[1:]), "float32"),),
            decoder=DecoderSpec(*recipe(shape, len(JOINTS), {})),
            labels=JOINTS,
        )
    )


def answers(model: Any, decoder: Decoder, samples: Sequence[FigureSample]) -> list[Pose]:
    """The poses that the network sees, in pixels of each picture."""
    raw = model.predict(as_input(np.stack([sample.image for sample in samples])), batch_size=64, verbose=0)
    geometry = Geometry((SIZE, SIZE), (1.0, 1.0), (0.0, 0.0))
    return [decoder.decode([row], geometry) for row in raw]


def errors(poses: Sequence[Pose], samples: Sequence[FigureSample]) -> dict[str, float]:
    """Percent of the picture's side, of joints in sight: the mean, the worst joint's mean; and the share within 5 %."""
    away = np.stack([np.hypot(*(pose.keypoints - s.joints).T) for pose, s in zip(poses, samples, strict=True)])
    away = 100 * np.where(np.stack([sample.visible for sample in samples]), away / SIZE, np.nan)
    by_joint = np.nanmean(away, axis=0)
    return {
        "error": float(np.nanmean(away)),
        "worst_joint_error": float(by_joint.max()),
        "within_5": float(100 * np.nanmean(np.where(np.isnan(away), np.nan, away <= 5))),
    }


def picture(poses: Sequence[Pose], samples: Sequence[FigureSample], path: Path) -> None:
    """Figures of the held-out ones with what the network answers, drawn as on the device."""
    import cv2

    from edgecv_runtime.drawing import draw

    tiles = []
    for pose, sample in zip(poses[:8], samples, strict=False):
        large = cv2.resize(sample.image, (2 * SIZE, 2 * SIZE), interpolation=cv2.INTER_CUBIC)
        tiles.append(draw(large, Pose(2 * pose.keypoints, np.ones(len(pose), np.float32), None, pose.skeleton)))
    rows = [np.hstack(tiles[start : start + 4]) for start in (0, 4)]
    cv2.imwrite(str(path), np.vstack(rows)[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 9])


def run(name: str, options: Any) -> dict[str, Any]:
    """Train and measure one family."""
    import keras

    import edgecv
    from edgecv.complexity import complexity

    family = FAMILIES[name]
    learned = generate_figures(options.samples, SIZE, SEEDS["learned"])
    held_out = generate_figures(HELD_OUT, SIZE, SEEDS["held out"])
    keras.utils.set_random_seed(options.seed)
    model = edgecv.create_model(family.model)
    if options.epochs is not None:
        family = Family(family.model, options.epochs, family.learning_rate)
    print(f"{name}: {family.model}, {len(learned)} figures, {family.epochs} epochs", file=sys.stderr)
    seconds = train(model, family, learned, options.seed, lambda line: print(line, file=sys.stderr, flush=True))
    poses = answers(model, decoder_of(model, family.model), held_out)
    if options.weights is not None:
        options.weights.mkdir(parents=True, exist_ok=True)
        model.save_weights(options.weights / f"{family.model}.weights.h5")
    if options.plot is not None:
        picture(poses, held_out, options.plot.with_stem(f"{options.plot.stem}_{name}"))
    return {
        "family": name,
        "model": family.model,
        "parameters": model.count_params(),
        "macs": complexity(model).macs,
        "figures": len(learned),
        "epochs": family.epochs,
        "seconds": seconds,
        **errors(poses, held_out),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    made = parser(__doc__ or "")
    made.add_argument("--family", choices=(*FAMILIES, "all"), default="all")
    made.add_argument("--samples", type=positive, default=6000, help="figures that are learned (default: 6000)")
    made.add_argument("--epochs", type=positive, help="default: what each family needs")
    made.add_argument("--seed", type=int, default=0)
    made.add_argument("--weights", type=Path, metavar="DIR", help="keep the weights there")
    made.add_argument("--plot", type=Path, metavar="FILE.png", help="draw answers: FILE_regression.png and so on")
    options = made.parse_args(arguments)
    rows = [run(name, options) for name in (FAMILIES if options.family == "all" else (options.family,))]
    print(f"{HELD_OUT} held-out figures, {SIZE}×{SIZE}; {machine_line()}")
    print(table(_HEADER, [_row(row) for row in rows]))
    write_json(options.json, {"benchmark": "train_pose", "limit": LIMIT, "rows": rows})
    return 0 if all(row["error"] <= LIMIT for row in rows) else 1


_HEADER = ("family", "model", "parameters", "MACs", "epochs", "seconds", "mean error %", "worst joint %", "within 5 %")


def _row(row: dict[str, Any]) -> list[str]:
    return [
        row["family"],
        row["model"],
        f"{row['parameters']:,}",
        f"{row['macs']:,}",
        str(row["epochs"]),
        f"{row['seconds']:.0f}",
        f"{row['error']:.2f}",
        f"{row['worst_joint_error']:.2f}",
        f"{row['within_5']:.1f}",
    ]


if __name__ == "__main__":
    sys.exit(main())
