"""``edgecv quickstart``: six bundles, and figures that can be had again."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import edgecv_runtime as ert
from edgecv.data.digits import draw_digits
from edgecv_export import quickstart as quickstart_module
from edgecv_export.quickstart import Row, quickstart

COMBINATIONS = [(format, precision) for format in ("tflite", "onnx", "openvino") for precision in ("fp32", "int8")]


@pytest.fixture(scope="module")
def walked(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Row]]:
    folder = tmp_path_factory.mktemp("walk") / "new" / "folder"
    return folder, list(quickstart(folder))


def test_six_bundles(walked: tuple[Path, list[Row]]) -> None:
    folder, rows = walked
    assert [(row.format, row.precision) for row in rows] == COMBINATIONS
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        ["digits", *(f"lenet5_{format}_{precision}.edgecv" for format, precision in COMBINATIONS)]
    )
    for row in rows:
        bundle = ert.Bundle(row.bundle)
        assert (bundle.manifest.format, bundle.manifest.precision) == (row.format, row.precision)
        assert bundle.manifest.labels == tuple("0123456789")
        assert bundle.artefact().size == row.size
        assert ert.verify(row.bundle).passed
        assert row.latency_ms > 0


def test_the_accuracies_are_what_counting_gives(walked: tuple[Path, list[Row]]) -> None:
    images, truth = draw_digits(500, seed=8)
    pictures = [np.repeat(image[:, :, None], 3, axis=2) for image in images]
    answers = {}
    for row in walked[1]:
        with ert.load(row.bundle) as model:
            answers[row.format, row.precision] = [model(picture).top(1).indices[0] for picture in pictures]
        assert row.accuracy == np.mean(np.array(answers[row.format, row.precision]) == truth)
        assert row.accuracy >= 0.95
    from edgecv.models.factory import create_model

    keras_scores = create_model("lenet5", weights="digits").predict(images[..., None] / np.float32(255), verbose=0)
    for row in walked[1]:
        agreement = np.mean(np.array(answers[row.format, row.precision]) == keras_scores.argmax(1))
        assert row.agreement == agreement
        assert agreement >= (1.0 if row.precision == "fp32" else 0.98)


def test_int8_is_a_third_of_float_or_less(walked: tuple[Path, list[Row]]) -> None:
    sizes = {(row.format, row.precision): row.size for row in walked[1]}
    for format in ("tflite", "onnx", "openvino"):
        assert sizes[format, "int8"] < 0.45 * sizes[format, "fp32"], format


def test_the_drawn_digits_can_be_run(walked: tuple[Path, list[Row]]) -> None:
    folder, rows = walked
    files = sorted((folder / "digits").glob("*.png"))
    assert len(files) == 10
    with ert.load(rows[1].bundle) as model:
        right = [model(path).top(1).labels[0] == path.stem.rpartition("_")[2] for path in files]
    assert sum(right) >= 9


# -- the command -------------------------------------------------------------------------------------------------

ROWS = [
    Row("q/a.edgecv", "tflite", "fp32", 250_123, 0.998, 1.0, 0.1234),
    Row("q/b.edgecv", "tflite", "int8", 71_500, 0.996, 0.998, 0.05),
]


@pytest.fixture
def without_work(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    asked: list[Any] = []
    monkeypatch.setattr(quickstart_module, "quickstart", lambda folder: asked.append(folder) or iter(ROWS))
    return asked


def test_table(edgecv_command: Callable[..., Any], without_work: list[Any]) -> None:
    ran = edgecv_command("quickstart", "-o", "q")
    assert ran.status == 0
    assert without_work == ["q"]
    lines = ran.out.splitlines()
    assert lines[0].split("  ")[0] == "format"
    assert lines[2].split() == ["tflite", "fp32", "250", "kB", "99.8", "%", "100.0", "%", "0.123", "ms"]
    assert lines[3].split() == ["tflite", "int8", "72", "kB", "99.6", "%", "99.8", "%", "0.050", "ms"]
    assert lines[-1] == "next: edgecv run q/b.edgecv --source q/digits"
    facts = json.loads(
        (Path(__import__("edgecv").__file__).parent / "models" / "weights" / "lenet5_digits.json").read_text()
    )
    stated = f"{100 * facts['accuracy']['real_held_out']:.2f} % on real handwritten digits held out"
    assert ran.err.startswith(f"LeNet-5, 61,706 parameters; {stated}")
    assert ran.err.splitlines()[1:] == ["made and proved q/a.edgecv", "made and proved q/b.edgecv"]


def test_json(edgecv_command: Callable[..., Any], without_work: list[Any]) -> None:
    assert edgecv_command("quickstart", "--json").json == [row.to_dict() for row in ROWS]
    assert without_work == ["quickstart"]


def test_a_folder_that_cannot_be_made(edgecv_command: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    ran = edgecv_command("quickstart", "-o", tmp_path / "taken")
    assert ran.status == 2
    assert ran.out == ""
    assert ran.err.splitlines()[-1].startswith(f"edgecv quickstart: cannot make the folder {tmp_path}/taken/digits: ")
