"""What the training benchmark of two-stage detectors measures, on answers that are known."""

from __future__ import annotations

import importlib
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from edgecv.data.shapes import ShapesSample, generate_shapes
from edgecv_runtime.results import Detections

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def benchmark_module(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "3")
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    for known in ("_common", "_results", "_shapes", "train_shapes_two_stage"):
        monkeypatch.delitem(sys.modules, known, raising=False)
    return importlib.import_module("train_shapes_two_stage")


def perfect(sample: ShapesSample) -> Detections:
    return Detections(
        sample.boxes, np.full(len(sample), 0.9, np.float32), sample.classes, None, sample.masks, sample.keypoints
    )


def test_figures_of_perfect_answers(benchmark_module: ModuleType) -> None:
    samples = generate_shapes(6, 96, seed=7)
    figures = benchmark_module.figures_of([perfect(sample) for sample in samples], samples)
    for name in ("map50", "map", "mask_ap50", "mask_ap", "keypoints_within"):
        assert figures[name] == pytest.approx(1), name
    assert figures["keypoint_distance"] == 0 and benchmark_module.passed(figures)


def test_what_is_a_little_off(benchmark_module: ModuleType) -> None:
    samples = generate_shapes(6, 96, seed=7)
    shift = np.float32([3, 4, 0])  # five pixels of 96
    moved = [replace(answer, keypoints=answer.keypoints + shift) for answer in map(perfect, samples)]
    figures = benchmark_module.figures_of(moved, samples)
    assert figures["keypoint_distance"] == pytest.approx(5 / 96, rel=1e-5)
    assert figures["keypoints_within"] == 0 and not benchmark_module.passed(figures)
    empty = [replace(answer, masks=np.zeros_like(answer.masks)) for answer in map(perfect, samples)]
    figures = benchmark_module.figures_of(empty, samples)
    assert figures["mask_ap50"] == 0 and figures["map50"] == pytest.approx(1) and not benchmark_module.passed(figures)
    boxes = [replace(answer, masks=None, keypoints=None) for answer in map(perfect, samples)]
    assert set(benchmark_module.figures_of(boxes, samples)) == {"map50", "map"}


def test_objects_that_are_not_found_have_no_keypoints(benchmark_module: ModuleType) -> None:
    samples = generate_shapes(4, 96, seed=8)
    unsure = [replace(answer, scores=answer.scores * 0.5) for answer in map(perfect, samples)]
    assert benchmark_module.keypoint_distances(unsure, samples).tolist() == [1]
    others = [replace(answer, classes=answer.classes + 1) for answer in map(perfect, samples)]
    assert benchmark_module.keypoint_distances(others, samples).tolist() == [1]


def test_rows_of_the_table(benchmark_module: ModuleType) -> None:
    row = {"family": "rcnn", "input": 32, "parameters": 12345, "pictures": 10, "epochs": 2, "seconds": 90.0,
           "map50": 0.91234, "map": 0.5}  # fmt: skip
    cells = benchmark_module.row_of(row)
    assert len(cells) == len(benchmark_module.HEADER)
    assert cells[:8] == ["rcnn", "32×32", "12,345", "10", "2", "1.5", "0.912", "0.500"] and cells[8:] == [""] * 4
