"""The matrix of models and devices: pictures by class, models with their weights, and the summary."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from edgecv_export.matrix import Matrix, Row

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def benchmark_module(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    for known in ("_common", "targets"):
        monkeypatch.delitem(sys.modules, known, raising=False)
    return importlib.import_module("targets")


def test_calibration_and_evaluation_share_no_picture(benchmark_module: Any, data_dir: Path, tmp_path: Path) -> None:
    calibration, evaluation = benchmark_module.sort_pictures(data_dir / "imagenet-samples", tmp_path, 30)
    used = {path.name for path in calibration.iterdir()}
    measured = {path.name for path in evaluation.rglob("*.*") if path.is_file()}
    assert (len(used), len(measured)) == (50, 30)
    assert not used & measured
    assert all(folder.name.isdigit() for folder in evaluation.iterdir())


def test_every_model_has_its_weights(benchmark_module: Any, data_dir: Path) -> None:
    found = benchmark_module.networks(list(benchmark_module._MODELS), data_dir / "models" / "classification")
    assert [network.name for network in found] == ["mobilenet_v1_0.25", "mobilenet_v1", "mobilenet_v2"]
    assert all(Path(network.weights).is_file() for network in found)
    assert found[0].options == {"alpha": 0.25}


def test_the_summary_counts(benchmark_module: Any, tmp_path: Path) -> None:
    rows = (Row("a", "x", "X", "board", "ready"), Row("a", "y", "Y", "board", "refused"))
    lines = benchmark_module.summary(Matrix(rows, 1, tmp_path)).splitlines()
    assert lines[0].split() == ["model", "ready", "refused"]
    assert lines[2].split() == ["a", "1", "1"]
