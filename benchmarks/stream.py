"""How old results are, and how many there are: edgecv's pipeline, a plain OpenCV loop, OpenVINO's AsyncPipeline.

    python benchmarks/stream.py [--seconds N] [--inference-ms MS] [--json FILE]

**Freshness.** An MJPEG camera on loopback gives 30 frames a second whose pixels say when they were taken; each way of
reading it runs a model that takes --inference-ms (a real int8 network, and a wait), slower than the camera. The table
gives the age of a frame when its result is there. Allowed: the time of inference and one frame interval.

**Throughput.** The clips of EDGECV_DATA with policy "every": a plain loop (read, prepare, run, decode) with all
threads, and the pipeline with one thread for each of two workers, in turn. Two models: one that is done sooner than the
next 1080p frame is decoded, and a detector.

**Memory.** The detector on OpenVINO for several workers: loaded once for each of them, and as infer requests of one
compiled model, which is what the pipeline does. Each figure is that of a process of its own.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import _common
import cv2
import numpy as np
from _camera import Camera, age_of

import edgecv_runtime as ert
from edgecv_runtime.cli.output import table

FPS = 30.0
PARTS = ("freshness", "throughput", "memory")
Image = Any


class Sluggish:
    """A model whose every call takes the same time: a real one, and a wait."""

    def __init__(self, model: Any, seconds: float) -> None:
        self.model, self.seconds, self.manifest = model, seconds, model.manifest

    def timed(self, image: Image) -> Any:
        begun = time.monotonic()
        answer = self.model.timed(image)
        time.sleep(max(0.0, begun + self.seconds - time.monotonic()))
        return answer


def plain_loop(url: str, model: Sluggish, until: float) -> Iterator[float]:
    """Read a frame, run the model, read the next."""
    capture = cv2.VideoCapture(url)
    while time.monotonic() < until:
        there, bgr = capture.read()
        if not there:
            break
        model.timed(bgr[:, :, ::-1])
        yield age_of(bgr)
    capture.release()


def ours(url: str, model: Sluggish, until: float) -> Iterator[float]:
    with ert.Pipeline(model, url) as outcomes:  # type: ignore[arg-type]
        for outcome in outcomes:
            yield age_of(outcome.frame.image)
            if time.monotonic() >= until:
                return


def async_pipeline(url: str, model: Sluggish, until: float) -> Iterator[float]:
    """OpenVINO Model API's AsyncPipeline, driven as its documentation does, around the same model."""
    from model_api.pipelines import AsyncPipeline

    pipeline = AsyncPipeline(_ModelForAsyncPipeline(model))
    capture = cv2.VideoCapture(url)
    given = taken = 0
    while time.monotonic() < until:
        result = pipeline.get_result(taken)
        if result:
            yield age_of(result[1]["frame"])
            taken += 1
        elif pipeline.is_ready():
            there, bgr = capture.read()
            if not there:
                break
            pipeline.submit_data(bgr, given, {"frame": bgr})
            given += 1
        else:
            pipeline.await_any()
    pipeline.await_all()
    capture.release()


class _ModelForAsyncPipeline:
    """What AsyncPipeline asks of a model: here two requests, of which one computes at a time."""

    def __init__(self, model: Sluggish) -> None:
        self._model, self._pool = model, ThreadPoolExecutor(1)
        self._pending: list[Future[None]] = []
        self._callback: Callable[..., Any] = print
        self.inference_adapter = self
        self.perf = SimpleNamespace(
            **{
                stage: SimpleNamespace(update=int)
                for stage in ("preprocess_time", "inference_time", "postprocess_time")
            }
        )

    def load(self) -> None:
        """It is loaded."""

    def set_callback(self, callback: Callable[..., Any]) -> None:
        self._callback = callback

    def base_preprocess(self, image: Image) -> tuple[Image, dict[str, Any]]:
        return image, {}

    def infer_async_raw(self, image: Image, data: Any) -> None:
        self._pending.append(self._pool.submit(lambda: self._callback(self._model.timed(image[:, :, ::-1]), data)))

    def copy_raw_result(self, answer: Any) -> Any:
        return answer

    def postprocess(self, answer: Any, meta: Any) -> Any:
        return answer

    def is_ready(self) -> bool:
        self._pending = [one for one in self._pending if not one.done()]
        return len(self._pending) < 2

    def await_any(self) -> None:
        wait(self._pending, return_when=FIRST_COMPLETED)

    def await_all(self) -> None:
        wait(self._pending)


def freshness(model: Any, seconds: float, inference: float) -> list[dict[str, Any]]:
    """One row for each way of reading the camera."""
    ways: dict[str, Callable[..., Iterator[float]]] = {"edgecv, latest": ours, "plain OpenCV loop": plain_loop}
    if find_spec("model_api") is not None:
        ways["OpenVINO AsyncPipeline"] = async_pipeline
    slow, rows = Sluggish(model, inference), []
    with Camera(FPS) as camera:
        for name, way in ways.items():
            ages = list(way(camera.url, slow, time.monotonic() + seconds))
            settled = np.array(ages[3:])
            rows.append(
                {
                    "way": name,
                    "results": len(ages),
                    "p50": float(np.percentile(settled, 50)),
                    "p95": float(np.percentile(settled, 95)),
                    "last": float(settled[-5:].mean()),
                    "allowed": inference + 1 / FPS,
                }
            )
    return rows


def throughput(bundle: Path, clip: Path, frames: int, rounds: int) -> dict[str, Any]:
    """Frames a second of both, and the median ratio of the rounds."""
    with ert.load(bundle) as whole, ert.load(bundle, threads=1) as single:
        rates: dict[str, list[float]] = {"plain": [], "edgecv": []}
        for _ in range(rounds):
            begun = time.perf_counter()
            capture, count = cv2.VideoCapture(str(clip)), 0
            while count < frames:
                there, bgr = capture.read()
                if not there:
                    break
                whole(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB))
                count += 1
            capture.release()
            rates["plain"].append(count / (time.perf_counter() - begun))
            begun = time.perf_counter()
            with ert.Pipeline(single, clip, workers=2) as outcomes:
                order = [outcome.frame.index for outcome, _ in zip(outcomes, range(count), strict=False)]
            rates["edgecv"].append(count / (time.perf_counter() - begun))
            if order != list(range(count)):
                raise _common.BenchmarkError("results are out of order, or some are missing")
        model = whole.manifest
    ratios = [after / before for after, before in zip(rates["edgecv"], rates["plain"], strict=True)]
    return {
        "model": model.name,
        "clip": clip.name,
        "plain_fps": statistics.median(rates["plain"]),
        "edgecv_fps": statistics.median(rates["edgecv"]),
        "ratio": statistics.median(ratios),
        "frames": count,
    }


# MiB that further workers take, after all of them have run at the same time.
_WORKERS = """
import sys, numpy as np
from concurrent.futures import ThreadPoolExecutor
import edgecv_runtime as ert

def resident():
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024

bundle, way, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
image = np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8)
with ert.load(bundle, backend="openvino", threads=1) as model:
    model(image)
    before = resident()
    one_more = lambda: ert.load(bundle, backend="openvino", threads=1)
    more = model.replicas(count - 1) if way == "requests" else [one_more() for _ in range(count - 1)]
    with ThreadPoolExecutor(count) as pool:
        list(pool.map(lambda one: [one(image) for _ in range(10)], [model, *more]))
    print(resident() - before)
"""


def workers_memory(bundle: Path, counts: Sequence[int] = (2, 4)) -> list[dict[str, Any]]:
    """MiB more than one worker takes, for each number of them."""
    rows = []
    for count in counts:
        row: dict[str, Any] = {"workers": count}
        for way in ("models", "requests"):
            finished = _common.run([sys.executable, "-c", _WORKERS, bundle, way, str(count)])
            if finished.returncode != 0:
                raise _common.BenchmarkError(f"{count} {way}: {_common.last_line(finished)}")
            row[way] = float(finished.stdout)
        rows.append(row)
    return rows


def detector(data: Path, folder: Path) -> Path:
    """YOLOX-nano as a bundle."""
    from edgecv_export.wrapping import wrap

    bundle = folder / "yolox_nano.edgecv"
    if not bundle.is_file():
        wrap(data / "models" / "detection" / "yolox_nano.onnx", bundle, decoder="yolox")
    return bundle


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20.0, help="for each way of reading (default: %(default)s)")
    parser.add_argument("--inference-ms", type=float, default=80.0, help="of the slow model (default: %(default)s)")
    parser.add_argument("--frames", type=_common.positive, default=150, help="of the clip (default: %(default)s)")
    parser.add_argument("--rounds", type=_common.positive, default=5)
    parser.add_argument("--part", choices=PARTS, help="one of them (default: all)")
    parser.add_argument("--bundles", type=Path, metavar="DIR", help="keep the exported bundle there, or take it")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    print(_common.machine_line())
    with tempfile.TemporaryDirectory() as made:
        bundle = _common.bundle("tflite", "int8", options.bundles or Path(made))
        folder = options.bundles or Path(made)
        ways: dict[str, Callable[[], list[dict[str, Any]]]] = {
            "freshness": lambda: _fresh(bundle, options),
            "throughput": lambda: _whole_clips(bundle, folder, options),
            "memory": lambda: _further_workers(folder),
        }
        found = {part: ways[part]() for part in PARTS if options.part in (None, part)}
    _common.write_json(options.json, found)
    return 0


def _fresh(bundle: Path, options: argparse.Namespace) -> list[dict[str, Any]]:
    with ert.load(bundle) as model:
        rows = freshness(model, options.seconds, options.inference_ms / 1000)
    print(f"\nAge of a result; a camera of {FPS:g} frames a second, inference {options.inference_ms:g} ms\n")
    headings = ["way", "results", "p50 ms", "p95 ms", "at the end ms", "allowed ms"]
    print(table(headings, [_cells(row) for row in rows]))
    return rows


def _whole_clips(bundle: Path, folder: Path, options: argparse.Namespace) -> list[dict[str, Any]]:
    data = _common.data_folder()
    if data is None:
        return []
    found = [
        throughput(model_file, clip, options.frames, options.rounds)
        for model_file in (bundle, detector(data, folder))
        for clip in sorted((data / "video").glob("*.mp4"))
    ]
    print("\nFrames of a clip a second, in order and complete\n")
    headings = ["model", "clip", "frames", "plain loop", "edgecv", "ratio"]
    print(table(headings, [_throughput_cells(row) for row in found]))
    return found


def _further_workers(folder: Path) -> list[dict[str, Any]]:
    data = _common.data_folder()
    if data is None or find_spec("openvino") is None:
        return []
    rows = workers_memory(detector(data, folder))
    print("\nMiB more than one worker takes on OpenVINO\n")
    cells = [[str(row["workers"]), f"{row['models']:.0f}", f"{row['requests']:.0f}"] for row in rows]
    print(table(["workers", "a model each", "infer requests"], cells))
    return rows


def _throughput_cells(row: dict[str, Any]) -> list[str]:
    rates = [f"{row[key]:.1f}" for key in ("plain_fps", "edgecv_fps")]
    return [row["model"], row["clip"], str(row["frames"]), *rates, f"{row['ratio']:.2f} ×"]


def _cells(row: dict[str, Any]) -> list[str]:
    return [row["way"], str(row["results"]), *(f"{1000 * row[key]:.0f}" for key in ("p50", "p95", "last", "allowed"))]


if __name__ == "__main__":
    sys.exit(main())
