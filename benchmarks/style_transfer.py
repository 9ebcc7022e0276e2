"""Style transfer by optimisation and by a small network: do both losses fall, and what comes of it?

    python benchmarks/style_transfer.py [--size 128] [--steps 80] [--train-size 96] [--train-steps 400]
                                        [--json FILE] [--plot FILE.png] [--picture FILE.png] [--export] [--weights FILE]

The style is a stained-glass window that this script draws; the judge is MobileNet v1 with the weights of EDGECV_DATA.
Losses are in the units of `edgecv.style`: content 1 is as far from the content picture as the style picture is, style 1
as far from the style as the content pictures are.

Optimisation (Gatys et al. 2016) paints the bird of EDGECV_DATA from white noise by L-BFGS, and from the content
picture. The feed-forward network (Johnson et al. 2016, as small as the registry's) learns from the ImageNet samples of
EDGECV_DATA and is measured on every tenth of them, which it never sees. --export makes bundles of it and says how far
their pictures are from Keras's.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import numpy.typing as npt
from _common import BenchmarkError, data_folder, machine_line, parser, positive, write_json

JUDGE = "mobilenet_v1"
JUDGE_WEIGHTS = Path("models", "classification", "mobilenet_v1_1.0_224_dequant.weights.h5")
CONTENT = Path("segmentation-pairs", "bird_segmentation.bmp")
HELD_OUT_EVERY = 10
EXPORTS = (("tflite", "fp32"), ("tflite", "int8"), ("onnx", "fp32"), ("onnx", "int8"), ("openvino", "int8"))

Array = npt.NDArray[np.float32]

_GLASS = np.array(
    [[20, 40, 120], [230, 170, 30], [200, 40, 30], [30, 130, 110], [240, 230, 200], [70, 20, 70]], np.float64
)


def stained_glass(side: int = 256, panes: int = 60, seed: int = 3) -> npt.NDArray[np.uint8]:
    """(side, side, 3): panes of colour around random points, waves in the glass, lead between them."""
    generator = np.random.default_rng(seed)
    places = generator.uniform(0, side, (panes, 2))
    colors = _GLASS[generator.integers(0, len(_GLASS), panes)]
    y, x = np.mgrid[:side, :side]
    apart = np.hypot(y[..., None] - places[:, 0], x[..., None] - places[:, 1])
    nearest = np.sort(apart, axis=-1)
    picture = colors[apart.argmin(axis=-1)] + 25 * np.sin(0.9 * nearest[..., 0])[..., None]
    picture[nearest[..., 1] - nearest[..., 0] < 3] = 15
    return np.clip(picture, 0, 255).astype(np.uint8)


def judge(data: Path, size: int) -> Any:
    import edgecv
    from edgecv.models.registry import get_record
    from edgecv.style.perception import PerceptualNetwork

    model = edgecv.create_model(JUDGE, (size, size, 3), weights=data / JUDGE_WEIGHTS)
    return PerceptualNetwork(model, get_record(JUDGE).preprocessing)


def optimise(data: Path, style: Any, options: argparse.Namespace) -> dict[str, Any]:
    """Both starts: their losses, histories and pictures."""
    from edgecv.style.optimise import STARTS, transfer_style
    from edgecv.style.perception import as_pixels
    from edgecv_runtime.images import read_image

    network, content = judge(data, options.size), read_image(data / CONTENT)
    found: dict[str, Any] = {"picture": as_pixels(network.fit(content))}
    for start in STARTS:
        begun = time.perf_counter()
        transfer = transfer_style(network, content, style, steps=options.steps, start=start, seed=options.seed)
        found[start] = {"transfer": transfer, "seconds": time.perf_counter() - begun}
        print(f"from {start}: {transfer.to_dict()}", file=sys.stderr, flush=True)
    return found


def pictures_of(data: Path, size: int) -> tuple[Array, Array]:
    """Learned and held-out ImageNet samples, (N, size, size, 3) in 0..1."""
    from edgecv.style.perception import fit
    from edgecv_runtime.images import list_images, read_image

    paths = list_images(data / "imagenet-samples" / "images")
    images = np.stack([fit(read_image(path), (size, size)) for path in paths])
    held_out = np.arange(len(paths)) % HELD_OUT_EVERY == HELD_OUT_EVERY - 1
    return images[~held_out], images[held_out]


def teach(data: Path, style: Any, options: argparse.Namespace) -> dict[str, Any]:
    """Train the transfer network; its losses on held-out pictures before and after."""
    import keras

    import edgecv
    from edgecv.style.feed_forward import paint, train_transfer
    from edgecv.style.perception import PARTS, Goal

    learned, held_out = pictures_of(data, options.train_size)
    network = judge(data, options.train_size)
    keras.utils.set_random_seed(options.seed)
    model = edgecv.create_model(
        "style_transfer", (options.train_size,) * 2 + (3,), filters=options.filters, norm=options.norm
    )
    fresh = paint(model, held_out)
    history: list[list[float]] = []

    def note(step: int, losses: Mapping[str, float]) -> None:
        history.append([losses[part] for part in PARTS])
        if step % 50 == 0:
            recent = np.mean(history[-50:], axis=0)
            print(f"step {step}: content {recent[0]:.3f}, style {recent[1]:.3f}", file=sys.stderr, flush=True)

    begun = time.perf_counter()
    goal: Goal = train_transfer(
        model, network, learned, style, steps=options.train_steps, batch=options.batch, seed=options.seed, notify=note
    )
    seconds = time.perf_counter() - begun
    painted = paint(model, held_out)
    return {
        "model": model,
        "history": history,
        "before": goal.of(fresh, held_out),
        "after": goal.of(painted, held_out),
        "seconds": seconds,
        "held_out": held_out,
        "calibration": (learned[:64] * 255).astype(np.uint8),
    }


def export(model: Any, calibration: npt.NDArray[np.uint8]) -> list[dict[str, Any]]:
    """Bundles of the trained network, proven against Keras."""
    import edgecv
    from edgecv_runtime.errors import EdgecvError

    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for format, precision in EXPORTS:
            row: dict[str, Any] = {"format": format, "precision": precision}
            try:
                path = Path(folder) / f"{format}_{precision}.edgecv"
                report = edgecv.export(model, path, format=format, precision=precision, calibration=calibration).report
            except EdgecvError as error:
                rows.append({**row, "refused": str(error)})
                continue
            rows.append(
                {**row, "bytes": report["size"], "parity": report["parity"], "p50_ms": report["latency"]["p50_ms"]}
            )
    return rows


# -- pictures ------------------------------------------------------------------------------------------------------


def write_picture(path: Path, tiles: Sequence[Any]) -> None:
    import cv2

    from edgecv.explain.pictures import grid

    drawn = grid(tiles, columns=len(tiles))
    cv2.imwrite(str(path), cv2.cvtColor(drawn, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_PNG_COMPRESSION, 9])


def plot(optimised: dict[str, Any], taught: dict[str, Any], path: Path) -> None:
    """Weighed losses over the steps of each way."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    from edgecv.style.perception import PARTS

    figure, axes = pyplot.subplots(1, 3, figsize=(10, 3.2), dpi=110, layout="constrained")
    titles = ("from noise, L-BFGS", "from the content, L-BFGS", "network, batches")
    recent = np.array(taught["history"])
    width = max(1, len(recent) // 40)
    smooth = np.stack([np.convolve(recent[:, part], np.ones(width) / width, "valid") for part in range(2)], axis=1)
    histories = (optimised["noise"]["transfer"].history, optimised["content"]["transfer"].history, smooth)
    for axis, title, history in zip(axes, titles, histories, strict=True):
        for part, name in enumerate(PARTS[:2]):
            axis.plot(history[:, part], label=name)
        axis.set(title=title, xlabel="steps", yscale="log")
        axis.grid(alpha=0.3)
    axes[0].set(ylabel="weighed loss")
    axes[0].legend()
    figure.savefig(path)
    pyplot.close(figure)


# -- command line --------------------------------------------------------------------------------------------------


def arguments_of(command_line: list[str] | None = None) -> argparse.Namespace:
    made = parser(__doc__ or "")
    made.add_argument("--size", type=positive, default=128, help="side of the optimised picture (default: 128)")
    made.add_argument("--steps", type=positive, default=80, help="of the optimisation (default: 80)")
    made.add_argument("--train-size", type=positive, default=96, help="side of the network's pictures (default: 96)")
    made.add_argument("--train-steps", type=positive, default=400)
    made.add_argument("--filters", type=positive, default=16, help="width of the network (default: 16)")
    made.add_argument("--norm", choices=("batch", "instance"), default="batch")
    made.add_argument("--batch", type=positive, default=4)
    made.add_argument("--seed", type=int, default=0)
    made.add_argument("--export", action="store_true", help="make bundles of the network")
    made.add_argument("--weights", type=Path, metavar="FILE", help="keep the network's weights: *.weights.h5")
    made.add_argument("--plot", type=Path, metavar="FILE.png", help="draw the losses")
    made.add_argument("--picture", type=Path, metavar="FILE.png", help="the style, and all three paintings")
    return made.parse_args(command_line)


def main(command_line: list[str] | None = None) -> int:
    options = arguments_of(command_line)
    data = data_folder()
    if data is None or not (data / JUDGE_WEIGHTS).is_file():
        raise BenchmarkError(f"EDGECV_DATA must be a folder that holds {JUDGE_WEIGHTS}; received {data}")
    from edgecv.style.feed_forward import paint
    from edgecv.style.perception import as_pixels, fit

    style = stained_glass()
    optimised = optimise(data, style, options)
    taught = teach(data, style, options)
    bundles = export(taught["model"], taught["calibration"]) if options.export else []
    print(machine_line())
    print(f"judge {JUDGE}; {len(taught['held_out'])} held-out pictures for the network\n")
    print("| way | steps | content loss | style loss | seconds |")
    print("|---|---|---|---|---|")
    rows = []
    for start in ("noise", "content"):
        transfer = optimised[start]["transfer"]
        rows.append(
            {
                "way": f"optimisation from {start}",
                "steps": len(transfer.history) - 1,
                "before": dict(transfer.start),
                "after": dict(transfer.end),
                "seconds": optimised[start]["seconds"],
            }
        )
    rows.append(
        {
            "way": f"network, {options.norm} norm",
            "steps": options.train_steps,
            "before": taught["before"],
            "after": taught["after"],
            "seconds": taught["seconds"],
        }
    )
    for row in rows:
        losses = " | ".join(f"{row['before'][part]:.3f} → {row['after'][part]:.3f}" for part in ("content", "style"))
        print(f"| {row['way']} | {row['steps']} | {losses} | {row['seconds']:.0f} |")
    for row in bundles:
        print(row)
    write_json(options.json, {"benchmark": "style_transfer", "rows": rows, "bundles": bundles})
    if options.weights is not None:
        taught["model"].save_weights(options.weights)
    if options.plot is not None:
        plot(optimised, taught, options.plot)
    if options.picture is not None:
        side = options.train_size
        painted = as_pixels(paint(taught["model"], fit(optimised["picture"], (side, side))[None])[0])
        tiles = [style, *(optimised[start]["transfer"].image for start in ("noise", "content"))]
        shown = [as_pixels(fit(tile, (options.size, options.size))) for tile in (*tiles, painted)]
        write_picture(options.picture, shown)
    fell = [all(row["after"][part] < row["before"][part] for part in ("content", "style")) for row in rows]
    return 0 if fell[0] and fell[2] else 1  # from the content picture, the content loss can only rise


if __name__ == "__main__":
    try:
        sys.exit(main())
    except BenchmarkError as error:
        sys.exit(f"style_transfer: {error}")
