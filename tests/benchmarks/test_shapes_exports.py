"""The cells of the table of exported detectors, and what counts as accepted."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
FIGURES = {"map50": 0.96, "map": 0.62, "mask_ap50": 0.95}


@pytest.fixture
def benchmark_module(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "3")
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    for known in ("_common", "_results", "_shapes", "train_shapes", "train_shapes_two_stage", "shapes_exports"):
        monkeypatch.delitem(sys.modules, known, raising=False)
    return importlib.import_module("shapes_exports")


def test_rows_of_the_table(benchmark_module: ModuleType) -> None:
    row = {
        "family": "mask-rcnn", "format": "onnx", "precision": "int8", "keras": FIGURES,
        "bundle": {**FIGURES, "map50": 0.9549}, "lost": 0.51, "size": 1_567_400, "in_float": 7, "passed": True,
    }  # fmt: skip
    cells = benchmark_module._cells(row)
    assert len(cells) == len(benchmark_module._HEADER)
    assert cells[3:6] == ["96.00", "95.49", "0.51"] and cells[-3:] == ["1567", "7", "yes"]
    assert benchmark_module._cells({**row, "passed": False})[-1] == "NO"
    refused = {"family": "rcnn", "format": "onnx", "precision": "fp16", "keras": FIGURES, "refused": "why"}
    cells = benchmark_module._cells(refused)
    assert len(cells) == len(benchmark_module._HEADER) and cells[-1] == "refused"


def test_every_trained_family_can_be_exported(benchmark_module: ModuleType) -> None:
    assert set(benchmark_module.FAMILIES) >= {"ssd", "yolo-v1", "overfeat", "rcnn", "fast-rcnn", "mask-rcnn"}
    assert benchmark_module.calibration_of("rcnn").shape == (200, 32, 32, 3)
    assert benchmark_module.calibration_of("overfeat").shape == (100, 288, 288, 3)
