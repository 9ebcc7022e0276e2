from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import edgecv_runtime as ert
from edgecv_runtime.bench import (
    Latency,
    _summary,
    measure_cold_start,
    measure_latency,
    median_ratio,
    noise_image,
    to_dict,
)
from edgecv_runtime.errors import BackendError, InputError


def test_percentiles_by_hand() -> None:
    """0..100 ms: the 50th, 90th and 99th percentile are 50, 90 and 99 ms."""
    latency = _summary([index / 1000 for index in range(101)])
    assert to_dict(latency) == {
        "p50_ms": pytest.approx(50),
        "p90_ms": pytest.approx(90),
        "p99_ms": pytest.approx(99),
        "n": 101,
    }
    assert median_ratio(latency, Latency(25.0, 1.0, 1.0, 3)) == pytest.approx(2)


def test_models_are_timed_in_turn(bundle: Path) -> None:
    calls: list[str] = []
    models: Any = [lambda image: calls.append("a"), lambda image: calls.append("b")]
    image = np.zeros((2, 2, 3), np.uint8)
    latencies = measure_latency(models, [image, image], 3)
    assert calls[10:] == ["a", "b"] * 3  # after five warm-up calls of each
    assert [latency.n for latency in latencies] == [3, 3]
    with pytest.raises(InputError, match="runs must be at least 1; received 0"):
        measure_latency(models, [image, image], 0)


def test_noise_is_of_the_input_s_size_and_repeats(bundle: Path) -> None:
    with ert.load(bundle) as model:
        image = noise_image(model)
        assert image.shape == (6, 8, 3) and image.dtype == np.uint8 and len(np.unique(image)) > 50
        np.testing.assert_array_equal(image, noise_image(model))


def test_cold_start_of_a_fresh_process(bundle: Path) -> None:
    start = measure_cold_start(bundle, threads=1, runs=1)
    assert all(math.isfinite(value) and value > 0 for value in to_dict(start).values())
    assert 10 < start.peak_memory_mb < 10_000


def test_cold_start_quotes_what_went_wrong(tmp_path: Path, one_line: Any) -> None:
    with pytest.raises(BackendError) as caught:
        measure_cold_start(tmp_path / "none.edgecv", runs=1)
    assert "a fresh process could not run" in one_line(caught)
    assert f"no bundle at {tmp_path / 'none.edgecv'}" in one_line(caught)
