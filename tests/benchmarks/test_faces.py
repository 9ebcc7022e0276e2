"""The faces benchmark: its figures by hand, and a short run on real pictures."""

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
def faces(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    for known in ("_common", "faces"):
        monkeypatch.delitem(sys.modules, known, raising=False)
    return importlib.import_module("faces")


def _unit(*degrees: float) -> np.ndarray:
    angles = np.radians(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def test_figures_by_hand(faces: Any) -> None:
    """Ada at 0° and 10°, Bob at 90° and 40°: Bob's second picture is nearer to Ada's than to his own first."""
    vectors, people = _unit(0, 10, 90, 40), np.array([0, 0, 1, 1])
    assert faces.leave_one_out(vectors, people) == 0.75
    found = faces.identification(vectors, people, 2)
    # First pictures enrolled: the probe at 10° is Ada, that at 40° is taken for Ada (40° against 50°).
    # Second ones: 0° is Ada (10° against 40°), 90° is Bob (50° against 80°).
    assert found["rank1"] == 0.75
    # Strangers where only Ada is enrolled: 40° and 80° away; where only Bob is: 80° and 40°. All cos ≤ cos 40°. The
    # known: 10°, 10° for Ada, 50°, 50° for Bob, who is below cos 40° both times.
    assert found["threshold_at_fpir_0.1"] == pytest.approx(np.cos(np.radians(40)))
    assert found["fnir_at_fpir_0.1"] == 0.5


def test_without_the_data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGECV_DATA", str(tmp_path / "absent"))
    command = [sys.executable, str(BENCHMARKS / "faces.py")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and done.stderr.strip().endswith("set EDGECV_DATA")


@pytest.mark.data
@pytest.mark.slow
def test_a_few_people(data_dir: Path, tmp_path: Path) -> None:
    written, drawn = tmp_path / "figures.json", tmp_path / "drawn"
    command = [sys.executable, str(BENCHMARKS / "faces.py"), "--people", "4"]
    command += ["--json", str(written), "--save", str(drawn)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    figures = json.loads(written.read_text())
    assert figures["aligned"]["as they come"]["rank1"] == 1
    assert figures["aligned"]["as they come"]["one_enrolled"]["rank1"] > 0.9
    rows = {(row["detector"], row["set"]): row for row in figures["pipeline"] if row["second_look"]}
    for detector in ("blazeface_back", "blazeface_short_range"):
        assert rows[detector, "turned"]["tar"] > 0.8 and rows[detector, "portraits"]["rank1"] > 0.9
    assert len(list(drawn.glob("*.png"))) == 5 + 6
