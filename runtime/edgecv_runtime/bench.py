"""How long one picture takes and how much memory: measured per call, from picture to result."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecv_runtime.errors import BackendError, InputError
from edgecv_runtime.model import Model
from edgecv_runtime.progress import Progress

_WARM_UP = 5  # calls that are not counted: caches, clock frequency, lazy allocation

# What a fresh process does until its first result; one JSON line comes back.
_COLD_START = """
import json, resource, sys, time
started = time.perf_counter()
import edgecv_runtime as ert
import numpy as np
options = json.loads(sys.argv[2])
model = ert.load(sys.argv[1], **options)
loaded = time.perf_counter()
spec = model.manifest.inputs[0]
model(np.zeros((*spec.size, 3), np.uint8) if spec.is_image else np.zeros(spec.shape[1:], np.float32))
done = time.perf_counter()
# ru_maxrss is inherited from the parent across fork and exec on Linux; VmHWM is this process's own.
try:
    lines = open("/proc/self/status").read().splitlines()
    peak = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024
except (OSError, StopIteration):
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
print(json.dumps({"load": loaded - started, "first": done - loaded, "peak": peak}))
"""


@dataclass(frozen=True)
class ColdStart:
    """A fresh process up to its first result.

    Attributes
    ----------
    load_ms : float
        Importing the runtime and loading the bundle, milliseconds.
    first_result_ms : float
        The first call after that.
    peak_memory_mb : float
        Peak resident memory of the whole process, MB (10⁶ bytes).
    """

    load_ms: float
    first_result_ms: float
    peak_memory_mb: float


@dataclass(frozen=True)
class Latency:
    """Milliseconds from picture to result over `n` calls."""

    p50_ms: float
    p90_ms: float
    p99_ms: float
    n: int


def noise_image(model: Model, seed: int = 0) -> npt.NDArray[Any]:
    """Noise of the input's own size, (H, W, 3) uint8 or a float32 array: the time of the model, without a resize."""
    spec, generator = model.manifest.inputs[0], np.random.default_rng(seed)
    if not spec.is_image:
        return generator.standard_normal([size or 1 for size in spec.shape[1:]], np.float32)
    return generator.integers(0, 256, (*spec.size, 3), np.uint8)


def measure_latency(models: Sequence[Model], images: Sequence[npt.NDArray[Any]], runs: int) -> list[Latency]:
    """Time several models in turn, A B A B …, so that a drifting clock hits all of them alike.

    Parameters
    ----------
    models : sequence of Model
    images : sequence of (H, W, 3) uint8 RGB
        One for each model.
    runs : int
        Counted calls of each model.

    Raises
    ------
    InputError
        `runs` is below 1.
    """
    if runs < 1:
        raise InputError(f"runs must be at least 1; received {runs}")
    for model, image in zip(models, images, strict=True):
        for _ in range(_WARM_UP):
            model(image)
    times: list[list[float]] = [[] for _ in models]
    with Progress(runs, "timing", "runs") as bar:
        for _ in range(runs):
            for model, image, collected in zip(models, images, times, strict=True):
                started = time.perf_counter()
                model(image)
                collected.append(time.perf_counter() - started)
            bar.advance()
    return [_summary(collected) for collected in times]


def median_ratio(of: Latency, to: Latency) -> float:
    """p50 of one over p50 of the other."""
    return of.p50_ms / to.p50_ms


def measure_cold_start(
    path: str | Path,
    *,
    backend: str | None = None,
    device: str | None = None,
    threads: int | None = None,
    kernels: str = "auto",
    runs: int = 3,
    **accelerator: Any,
) -> ColdStart:
    """Load and run a bundle once in `runs` fresh processes, and take the medians.

    Parameters
    ----------
    path : str or Path
    backend, device, threads, kernels
        As in `load`.
    runs : int
    accelerator
        As in `load`: ``delegate``, ``options``, ``fallback``.

    Raises
    ------
    BackendError
        The process failed; its last line is quoted.
    """
    how = {"backend": backend, "device": device, "threads": threads, "kernels": kernels}
    options = json.dumps(how | accelerator)
    samples: list[dict[str, float]] = []
    for _ in range(runs):
        process = subprocess.run(
            [sys.executable, "-c", _COLD_START, str(path), options],
            capture_output=True,
            text=True,
            check=False,
        )
        if process.returncode != 0:
            lines = process.stderr.strip().splitlines() or [f"exit status {process.returncode}"]
            raise BackendError(f"a fresh process could not run {path}: {lines[-1]}")
        samples.append(json.loads(process.stdout.splitlines()[-1]))
    return ColdStart(
        load_ms=1e3 * statistics.median(sample["load"] for sample in samples),
        first_result_ms=1e3 * statistics.median(sample["first"] for sample in samples),
        peak_memory_mb=1e-6 * statistics.median(sample["peak"] for sample in samples),
    )


def to_dict(measured: ColdStart | Latency) -> dict[str, Any]:
    """Plain JSON values."""
    return asdict(measured)


def _summary(seconds: list[float]) -> Latency:
    p50, p90, p99 = np.percentile(1e3 * np.array(seconds), (50, 90, 99)).tolist()
    return Latency(p50, p90, p99, len(seconds))
