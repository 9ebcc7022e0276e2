"""The detection benchmark on a few real pictures."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.mark.data
@pytest.mark.slow
def test_a_few_pictures(data_dir: Path, tmp_path: Path) -> None:
    written = tmp_path / "figures.json"
    command = [sys.executable, str(BENCHMARKS / "detection.py"), "--images", "6", "--json", str(written)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    rows = json.loads(written.read_text())["rows"]
    assert [row["model"] for row in rows] == ["yolox_nano.onnx", "ssd_mobilenet_v1_coco_quant.tflite"]
    for row in rows:
        assert row["n"] == 6 and row["verified"]
        assert 0.1 < row["map"] < row["map50"] < 1


def test_without_the_data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGECV_DATA", str(tmp_path / "absent"))
    command = [sys.executable, str(BENCHMARKS / "detection.py")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and done.stderr.strip().endswith("set EDGECV_DATA")
