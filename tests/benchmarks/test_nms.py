"""The suppression benchmark runs, and counts alike for every peer."""

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
def module(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    for known in ("_common", "nms"):
        monkeypatch.delitem(sys.modules, known, raising=False)
    return importlib.import_module("nms")


def test_small_run(tmp_path: Path) -> None:
    written = tmp_path / "figures.json"
    command = [sys.executable, str(BENCHMARKS / "nms.py"), "--counts", "60", "--runs", "2", "--worst", "50"]
    done = subprocess.run([*command, "--json", str(written)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    rows = json.loads(written.read_text())["rows"]
    for question in ("agnostic", "in classes", "apart", "the same", "chain", "crossing"):
        measured = [row for row in rows if row["question"] == question and "kept" in row]
        assert {"edgecv"} < {row["peer"] for row in measured}
        assert len({row["kept"] for row in measured}) == 1
        assert measured[0]["ratio"] == 1 and all(row["ms"] > 0 for row in measured)


def test_a_peer_that_is_not_there_is_named(module: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "supervision", None)
    boxes, scores, classes = module.clustered(40, 5)
    peers = module.aware_peers(boxes, scores, classes)
    assert "not installed" in peers["supervision"]
    rows = module.time_in_turn({name: peers[name] for name in ("edgecv", "supervision")}, 1)
    assert rows[1].keys() == {"peer", "skipped"} and rows[0]["ratio"] == 1


def test_boxes_are_what_they_are_called(module: Any) -> None:
    boxes, scores, classes = module.clustered(1000, 80)
    assert boxes.shape == (1000, 4) and boxes.dtype == np.float32 and (boxes[:, 2:] > boxes[:, :2]).all()
    assert scores.shape == (1000,) and set(classes.tolist()) <= set(range(80))
    assert [len(module.nms(module.worst_case(name, 100), scores[:100])) for name in ("apart", "the same")] == [100, 1]
