"""What the benchmarks share: the data folder, options, bundles to measure, time and memory of other processes."""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecv_runtime import cpu

ROOT = Path(__file__).resolve().parents[1]
FORMATS = {"litert": "tflite", "onnxruntime": "onnx", "openvino": "openvino"}  # back end -> what it is measured on
WEIGHTS = Path("models", "classification", "mobilenet_v2_1.0_224_dequant.weights.h5")

_WARM_UP = 10  # rounds that are not counted

_RUN_COMMAND = "import sys; from edgecv_runtime.cli import main; sys.exit(main())"


class BenchmarkError(Exception):
    """A step of the benchmark failed; the message is for the person who started it."""


def parser(description: str) -> argparse.ArgumentParser:
    """With the options that every benchmark takes."""
    made = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--json", type=Path, metavar="FILE", help="write the figures as JSON, too")
    made.add_argument(
        "--bundles", type=Path, metavar="DIR", help="keep the exported bundles there and use those that are there"
    )
    return made


def positive(text: str) -> int:
    """An option's value that must be a whole number from 1 on."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1; received {value}")
    return value


def write_json(path: Path | None, document: dict[str, Any]) -> None:
    if path is not None:
        path.write_text(json.dumps({"machine": machine(), **document}, indent=2) + "\n", encoding="utf-8")


def machine() -> dict[str, Any]:
    return {
        "cpu": cpu.describe(),
        "cores": cpu.available_cores(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "numpy": np.__version__,
    }


def machine_line() -> str:
    about = machine()
    return f"{about['cpu']}, {about['cores']} cores, Python {about['python']}, numpy {about['numpy']}"


# -- data ----------------------------------------------------------------------------------------------------------


def data_folder() -> Path | None:
    """EDGECV_DATA, or shared/data beside the checkout; None where there is none."""
    folder = Path(os.environ.get("EDGECV_DATA") or ROOT.parent / "shared" / "data")
    return folder if folder.is_dir() else None


def video_frame() -> tuple[npt.NDArray[np.uint8], str]:
    """One (1080, 1920, 3) uint8 RGB frame, and where it is from."""
    from edgecv_runtime import open_stream

    data = data_folder()
    video = None if data is None else data / "video" / "faces.mp4"
    if video is not None and video.is_file():
        with open_stream(video) as frames:
            image = next(iter(frames)).image
        if image.shape == (1080, 1920, 3):
            return image, f"a frame of {video.name}"
    return np.random.default_rng(0).integers(0, 256, (1080, 1920, 3), np.uint8), "noise"


def bundle(format: str, precision: str, folder: Path) -> Path:
    """A MobileNetV2 bundle in `folder`, exported in a process of its own unless it is there.

    The weights are those of the data folder. Without one they are random and the calibration pictures noise: the
    same work for the processor, answers without a meaning.
    """
    path = folder / f"mobilenet_v2_{format}_{precision}.edgecv"
    if path.is_file():
        return path
    command = ["export", "mobilenet_v2", "--format", format, "--precision", precision, "-o", str(path)]
    data = data_folder()
    if data is not None and (data / WEIGHTS).is_file():
        command += ["--weights", str(data / WEIGHTS)]
    if precision.startswith("int"):
        command += ["--calibrate", str(_calibration_images(data, folder))]
    print(f"exporting {path.name} …", file=sys.stderr, flush=True)
    finished = run([sys.executable, "-c", _RUN_COMMAND, *command])
    if finished.returncode != 0:
        raise BenchmarkError(f"the export of {path.name} failed: {last_line(finished)}")
    return path


def _calibration_images(data: Path | None, folder: Path) -> Path:
    images = None if data is None else data / "imagenet-samples" / "images"
    if images is not None and images.is_dir():
        return images
    import cv2

    noise = folder / "noise"
    noise.mkdir(exist_ok=True)
    generator = np.random.default_rng(0)
    for index in range(16):
        blocks = generator.integers(0, 256, (8, 8, 3), np.uint8)
        cv2.imwrite(str(noise / f"{index}.png"), cv2.resize(blocks, (256, 256), interpolation=cv2.INTER_CUBIC))
    return noise


# -- other processes -----------------------------------------------------------------------------------------------


def run(
    command: Sequence[str | Path], *, env: dict[str, str] | None = None, cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, check=False, env=env, cwd=cwd
    )


def last_line(finished: subprocess.CompletedProcess[str]) -> str:
    lines = (finished.stderr or finished.stdout).strip().splitlines()
    return lines[-1] if lines else f"exit status {finished.returncode}"


def import_times(python: Path | str, modules: Sequence[str], runs: int, cwd: Path | None = None) -> dict[str, float]:
    """Milliseconds that importing each module adds to a bare interpreter: medians of differences, interleaved."""
    statements = ["pass", *(f"import {module}" for module in modules)]
    seconds: list[list[float]] = [[] for _ in statements]
    for turn in range(-1, runs):  # the first turn writes byte code and warms the file cache
        for statement, collected in zip(statements, seconds, strict=True):
            started = time.perf_counter()
            finished = run([python, "-c", statement], cwd=cwd)
            elapsed = time.perf_counter() - started
            if finished.returncode != 0:
                raise BenchmarkError(f"{statement!r} failed with {python}: {last_line(finished)}")
            if turn >= 0:
                collected.append(elapsed)
    bare = seconds[0]
    times = {"bare": 1e3 * statistics.median(bare)}
    for module, collected in zip(modules, seconds[1:], strict=True):
        times[module] = 1e3 * statistics.median(a - b for a, b in zip(collected, bare, strict=True))
    return times


# -- timing --------------------------------------------------------------------------------------------------------


def time_in_turn(loops: dict[str, Callable[[], Any]], rounds: int) -> dict[str, npt.NDArray[np.float64]]:
    """Seconds of each loop's second call in each round. The loop that begins changes from round to round."""
    names = list(loops)
    seconds = np.zeros((rounds, len(names)))
    for turn in range(-_WARM_UP, rounds):
        for place in range(len(names)):
            chosen = (place + turn) % len(names)
            loop = loops[names[chosen]]
            loop()
            started = time.perf_counter()
            loop()
            elapsed = time.perf_counter() - started
            if turn >= 0:
                seconds[turn, chosen] = elapsed
    return {name: seconds[:, column] for column, name in enumerate(names)}
