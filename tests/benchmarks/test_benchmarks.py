"""The device benchmarks start, and their arithmetic is right; what they measure is not for a test."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from edgecv_runtime.manifest import InputSpec, Resize

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Import a benchmark as its own start does: with its folder first on the path."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))

    def load(name: str) -> ModuleType:
        for known in ("_common", name):
            monkeypatch.delitem(sys.modules, known, raising=False)
        return importlib.import_module(name)

    return load


def start(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(BENCHMARKS / name), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("name", ["runtime_overhead.py", "device_install.py"])
def test_help_and_bad_usage(name: str) -> None:
    assert "--json FILE" in start(name, "--help").stdout
    assert start(name, "--extras" if name.startswith("device") else "--runs", "0").returncode == 2


@pytest.mark.parametrize(
    ("shape", "rule", "expected"),
    [
        ((1080, 1920), Resize("crop", 0.875), (67, 487, 945, 945)),
        ((256, 256), Resize("crop", 0.875), (16, 16, 224, 224)),
        ((480, 640), Resize(), (0, 0, 480, 640)),
    ],
)
def test_hand_written_region(module: Any, shape: Any, rule: Resize, expected: Any) -> None:
    spec = InputSpec("image", (1, 224, 224, 3), "uint8", resize=rule)
    assert module("runtime_overhead").region(np.zeros((*shape, 3), np.uint8), spec) == expected


def test_every_loop_is_timed_in_every_round(module: Any) -> None:
    common = module("_common")
    calls: list[str] = []
    seconds = common.time_in_turn({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, 4)
    assert {name: len(column) for name, column in seconds.items()} == {"a": 4, "b": 4}
    assert all((column > 0).all() for column in seconds.values())
    # Twice in succession, and each begins every other round.
    assert calls[-8:] == ["a", "a", "b", "b", "b", "b", "a", "a"]


def test_import_times_and_json(module: Any, tmp_path: Path) -> None:
    common = module("_common")
    times = common.import_times(sys.executable, ["json"], 1, cwd=tmp_path)
    assert set(times) == {"bare", "json"}
    assert times["bare"] > 0
    with pytest.raises(common.BenchmarkError, match="no_such_module"):
        common.import_times(sys.executable, ["no_such_module"], 1, cwd=tmp_path)
    common.write_json(tmp_path / "figures.json", {"rows": []})
    written = json.loads((tmp_path / "figures.json").read_text())
    assert written["rows"] == []
    assert written["machine"]["cores"] >= 1


def test_without_the_data_folder_the_frame_is_noise(
    module: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGECV_DATA", str(tmp_path / "absent"))
    common = module("_common")
    assert common.data_folder() is None
    frame, origin = common.video_frame()
    assert frame.shape == (1080, 1920, 3)
    assert origin == "noise"


@pytest.mark.slow
def test_runtime_overhead_from_the_export_on(tmp_path: Path) -> None:
    done = start("runtime_overhead.py", "--precisions", "fp32", "--runs", "3", "--json", str(tmp_path / "figures.json"))
    assert done.returncode == 0, done.stderr
    rows = json.loads((tmp_path / "figures.json").read_text())["rows"]
    assert [row["backend"] for row in rows] == ["litert", "onnxruntime", "openvino"]
    assert all(0.2 < row["ratio"] < 5 for row in rows)


@pytest.mark.slow
def test_device_install_from_the_wheel_on(tmp_path: Path) -> None:
    done = start("device_install.py", "--extras", "litert", "--json", str(tmp_path / "figures.json"))
    assert done.returncode == 0, done.stderr
    (row,) = json.loads((tmp_path / "figures.json").read_text())["rows"]
    assert row["verify"]["passed"]
    assert "edgecv-runtime" in row["packages"]
