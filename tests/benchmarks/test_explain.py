"""What the benchmarks of explaining and of dense prediction measure with, by hand; and a short run of the second."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def explain(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    monkeypatch.delitem(sys.modules, "_common", raising=False)
    monkeypatch.delitem(sys.modules, "explain", raising=False)
    return importlib.import_module("explain")


def test_overlap_by_hand(explain: Any) -> None:
    assert explain.overlap((0, 0, 2, 2), (1, 1, 3, 3)) == pytest.approx(1 / 7)
    assert explain.overlap((0, 0, 2, 2), (2, 0, 3, 3)) == 0
    assert explain.overlap((1, 1, 3, 4), (1, 1, 3, 4)) == 1


def test_single_large_object(explain: Any, tmp_path: Path) -> None:
    labels = tmp_path / "a.txt"
    labels.write_text("16 0.5 0.4 0.6 0.4\n0 0.1 0.1 0.1 0.2\n")  # 0.24, and 0.02 beside it
    kind, box = explain.single_large_object(labels)
    assert kind == 16 and box == pytest.approx(np.array([0.2, 0.2, 0.8, 0.6]))
    labels.write_text("16 0.5 0.4 0.6 0.4\n0 0.1 0.1 0.2 0.2\n")  # 0.04 is more than a tenth of 0.24
    assert explain.single_large_object(labels) is None
    labels.write_text("16 0.5 0.4 0.2 0.2\n")
    assert explain.single_large_object(labels) is None
    labels.write_text("")
    assert explain.single_large_object(labels) is None


def test_classes_are_the_things_they_stand_for(explain: Any, data_dir: Path) -> None:
    names = (data_dir / "imagenet-samples" / "imagenet_labels.txt").read_text("utf-8").splitlines()
    wanted = {4: "plane", 5: "bus", 20: "elephant", 21: "bear", 22: "zebra", 61: "toilet", 74: "clock"}
    for kind, word in wanted.items():
        found = [names[index] for index in explain.IMAGENET[kind]]
        assert any(word in name for name in found)
    assert [names[index].split(",")[0] for index in (151, 268, 281, 285)] == [
        "Chihuahua",
        "Mexican hairless",
        "tabby",
        "Egyptian cat",
    ]


@pytest.mark.slow
def test_dense_prediction(tmp_path: Path) -> None:
    written = tmp_path / "figures.json"
    command = [sys.executable, str(BENCHMARKS / "dense_prediction.py"), "--size", "64", "--json", str(written)]
    done = subprocess.run([*command, "--rounds", "1"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    facts = json.loads(written.read_text())
    # 64 pixels: 9×9 windows. LeNet-5 needs 416,520 multiply-accumulates for each of them.
    assert facts["windows"] == 81 and facts["macs"][0] == 81 * 416_520
    assert facts["difference"] < 1e-5
