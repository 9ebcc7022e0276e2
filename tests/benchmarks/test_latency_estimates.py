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
    assert "--vela" in ran.stdout


def test_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    for name in ("_common", "latency_estimates"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    module = importlib.import_module("latency_estimates")
    row = {
        "target": "pi-4", "model": "mobilenet_v2", "precision": "fp32", "where": "cpu", "published_ms": 46,
        "estimated_ms": 49.7, "error": 49.7 / 46 - 1, "lower_bound": False,
    }  # fmt: skip
    assert module._row(row) == ("pi-4", "mobilenet_v2", "fp32", "cpu", "46", "49.7", "+8 %")
    assert module._row({**row, "estimated_ms": None, "error": None})[5:] == ("–", "")
    assert module._row({**row, "lower_bound": True})[6] == "+8 % (bound)"
    compiled = {
        "model": "mobilenet_v1", "npu": "ethos-u65-256", "on_npu": 1.0, "told_on_npu": 1.0, "sram_bytes": 378_976,
        "told_sram_bytes": 393_216, "vela_ms": 7.49, "least_ms": 4.71,
    }  # fmt: skip
    assert module._compiled_row(compiled)[4:7] == ("379", "393", "+3.8 %")
