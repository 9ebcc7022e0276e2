"""What is reported, never how long it took."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

LATENCY = {"p50_ms", "p90_ms", "p99_ms", "n"}
COLD_START = {"load_ms", "first_result_ms", "peak_memory_mb"}


def check(measured: dict[str, Any], path: Path, runs: int) -> None:
    assert set(measured) == {"bundle", "model", "cold_start", "latency"}
    assert measured["bundle"] == str(path)
    assert set(measured["latency"]) == LATENCY and set(measured["cold_start"]) == COLD_START
    assert measured["latency"]["n"] == runs
    assert 0 < measured["latency"]["p50_ms"] <= measured["latency"]["p90_ms"] <= measured["latency"]["p99_ms"]
    assert all(value > 0 for value in measured["cold_start"].values())


@pytest.fixture
def one_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """One fresh process instead of three."""
    from edgecv_runtime import bench

    measure = bench.measure_cold_start
    monkeypatch.setattr(bench, "measure_cold_start", lambda path, **how: measure(path, **(how | {"runs": 1})))


def test_json(edgecv: Any, any_bundle: Path, one_start: None) -> None:
    outcome = edgecv("bench", any_bundle, "--runs", 7, "--json", "--threads", 1)
    assert outcome.status == 0 and outcome.err == ""
    check(json.loads(outcome.out), any_bundle, 7)


def test_two_bundles(edgecv: Any, tiny: Any, bundle: Path, one_start: None) -> None:
    other = tiny.write(tiny.folder / "vs.edgecv", "tflite")
    outcome = edgecv("bench", bundle, "--vs", other, "--runs", 3, "--json", "--backend", "openvino")
    answer = json.loads(outcome.out)
    assert set(answer) == {"bundles", "median_ratio"} and answer["median_ratio"] > 0
    check(answer["bundles"][0], bundle, 3)
    check(answer["bundles"][1], other, 3)
    assert "on openvino " in answer["bundles"][0]["model"]
    assert "on litert " in answer["bundles"][1]["model"]  # openvino does not run its format


def test_kernels_reach_the_fresh_process_too(edgecv: Any, bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from edgecv_runtime import bench

    asked: list[str] = []
    measure = bench.measure_cold_start

    def spy(path: Path, **how: Any) -> Any:
        asked.append(how["kernels"])
        return measure(path, **(how | {"runs": 1}))

    monkeypatch.setattr(bench, "measure_cold_start", spy)
    answer = json.loads(edgecv("bench", bundle, "--runs", 1, "--json", "--kernels", "precise").out)
    assert "precise kernels" in answer["model"] and asked == ["precise"]


def test_two_bundles_of_one_format_run_on_the_same_back_end(edgecv: Any, bundle: Path, one_start: None) -> None:
    outcome = edgecv("bench", bundle, "--vs", bundle, "--runs", 2, "--json", "--backend", "openvino")
    assert all("on openvino " in measured["model"] for measured in json.loads(outcome.out)["bundles"])


def test_table(edgecv: Any, bundle: Path, picture: Path, one_start: None) -> None:
    outcome = edgecv("bench", bundle, "--vs", bundle, "--runs", 2, "--image", picture)
    lines = outcome.out.splitlines()
    assert lines[0].startswith("<Model tiny") and lines[2].split()[:3] == ["bundle", "p50", "ms"]
    assert sum(line.startswith(str(bundle)) for line in lines) == 2
    assert lines[-1].startswith("median of the first / median of the second: ")


def test_bad_requests(edgecv: Any, bundle: Path, tmp_path: Path) -> None:
    for arguments, message in (
        ([bundle, "--runs", 0], "runs must be at least 1; received 0"),
        ([bundle, "--image", tmp_path / "none.png"], "no image at"),
        ([bundle, "--vs", tmp_path / "none.edgecv"], "no bundle at"),
        ([bundle, "--backend", "nonsense"], "backend must be one of"),
    ):
        outcome = edgecv("bench", *arguments)
        assert outcome.status == 2 and message in outcome.error


def test_without_cold_starts(edgecv: Any, bundle: Path) -> None:
    outcome = edgecv("bench", bundle, "--runs", 2, "--cold-starts", 0)
    assert outcome.status == 0 and outcome.out.splitlines()[-1].endswith("–")
    assert json.loads(edgecv("bench", bundle, "--runs", 2, "--cold-starts", 0, "--json").out)["cold_start"] is None
    outcome = edgecv("bench", bundle, "--cold-starts", -1)
    assert outcome.status == 2 and "--cold-starts must be 0 or more; received -1" in outcome.error
