"""The benchmark of estimates starts, and shows its figures rightly."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


def test_help() -> None:
    ran = subprocess.run(
        [sys.executable, str(BENCHMARKS / "latency_estimates.py"), "--help"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0
    assert "--markdown" in ran.stdout


def test_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    for name in ("_common", "latency_estimates"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    module = importlib.import_module("latency_estimates")
    row = {
        "target": "pi-4", "model": "mobilenet_v2", "precision": "fp32", "where": "cpu", "published_ms": 46,
        "estimated_ms": 49.7, "error": 49.7 / 46 - 1, "lower_bound": False, "source": "XNNPACK, README; https://x",
    }  # fmt: skip
    cells = ("pi-4", "mobilenet_v2", "fp32", "cpu", "46", "49.7", "+8 %", "XNNPACK, README")
    assert module._row(row) == cells
    assert module._row({**row, "estimated_ms": None, "error": None})[5:7] == ("–", "")
    assert module._row({**row, "lower_bound": True})[6] == "+8 % (bound)"
    rows = [
        {**row, "error": 0.08},
        {**row, "error": -0.2, "target": "pi-3"},
        {**row, "error": 0.04},
        {**row, "error": 0.5, "model": "mobilenet_v1"},  # the rate comes from it
        {**row, "error": -0.3, "lower_bound": True},
        {**row, "error": 0.1, "lower_bound": True},
        {**row, "error": None},
    ]
    assert module.summary(rows) == (
        "3 predictions: off by 8 % in the median, the worst pi-3 mobilenet_v2 fp32 by -20 %; 1 of 2 lower bounds hold"
    )
    assert module.summary([]) == "nothing is predicted"
