"""The gallery benchmark runs, and its made people are as alike as it says."""

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
    for known in ("_common", "gallery"):
        monkeypatch.delitem(sys.modules, known, raising=False)
    return importlib.import_module("gallery")


def test_small_run(tmp_path: Path) -> None:
    written = tmp_path / "figures.json"
    command = [sys.executable, str(BENCHMARKS / "gallery.py"), "--counts", "300", "--dimensions", "32", "--runs", "2"]
    options = ["--queries", "20", "--graph-up-to", "0", "--keep", "200", "--json", str(written)]
    done = subprocess.run([*command, *options], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    figures = json.loads(written.read_text())
    rows = {row["peer"]: row for row in figures["rows"]}
    assert {"plain", "edgecv exact", "edgecv pre-filter", "edgecv graph", "faiss flat"} == rows.keys()
    assert rows["plain"]["ratio"] == 1 and rows["edgecv graph"].keys() == {"rows", "dimension", "peer", "skipped"}
    assert rows["edgecv exact"]["recall"] == 1 and rows["edgecv pre-filter"]["recall"] == 1
    assert rows["edgecv exact"]["memory"] == pytest.approx(1, abs=0.05)
    (kept,) = figures["kept"]
    assert kept["rows"] == 200 and kept["bytes_per_vector"] > 4 * 32 and kept["open_s"] > 0


def test_people_are_as_alike_as_it_says(module: Any) -> None:
    people = module.People(4000, 128)
    np.testing.assert_allclose(np.linalg.norm(people.vectors, axis=1), 1, atol=1e-5)
    cosines = people.vectors[:1000] @ people.vectors.T
    same = people.person[:1000, None] == people.person
    same[np.arange(1000), np.arange(1000)] = False
    others = cosines[~same & (cosines < 0.999)]
    assert cosines[same].mean() == pytest.approx(0.63, abs=0.02) and cosines[same].std() == pytest.approx(
        0.10, abs=0.02
    )
    assert others.mean() == pytest.approx(0, abs=0.01) and others.std() == pytest.approx(0.10, abs=0.01)
    again = module.People(4000, 128)
    np.testing.assert_array_equal(again.vectors, people.vectors)
    np.testing.assert_array_equal(again.queries(3), people.queries(3))


def test_recall_counts_the_nearest(module: Any) -> None:
    vectors = np.eye(4, dtype=np.float32)
    queries = np.array([[1, 0, 0, 0], [0, 0.6, 0.8, 0]], np.float32)
    highest = module.nearest_scores(vectors, queries)
    assert highest.tolist() == [1, pytest.approx(0.8)]

    class AlwaysFirst:
        def search(self, query: Any) -> Any:
            return np.array([0]), None

    assert module.recall(AlwaysFirst(), vectors, queries, highest) == 0.5


def test_a_peer_that_is_not_there_is_named(module: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("faiss", "usearch", "usearch.index"):
        monkeypatch.setitem(sys.modules, name, None)
    vectors = np.eye(4, dtype=np.float32)
    assert "not installed" in module.faiss_flat(vectors, 1)
    assert "not installed" in module.graph(vectors, 10)
    assert "--graph-up-to 3" in module.graph(vectors, 3)
