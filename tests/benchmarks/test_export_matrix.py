"""The export matrix: reduced sizes, pictures, settled statistics, rows and table."""

from __future__ import annotations

import dataclasses
import importlib
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import keras
import numpy as np
import pytest

from edgecv.models.registry import get_record, records

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def benchmark_module(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "3")
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    for known in ("_common", "_fresh", "export_matrix"):
        monkeypatch.delitem(sys.modules, known, raising=False)
    return importlib.import_module("export_matrix")


@pytest.fixture
def fresh(benchmark_module: ModuleType) -> ModuleType:
    return sys.modules["_fresh"]


def test_reduced_sizes_are_ones_the_networks_take(fresh: Any) -> None:
    for record in records():
        arguments = fresh.reduced_arguments(record)
        lengths = arguments["input_shape"][:-1]
        assert len(lengths) == len(record.input_shape) - 1
        assert arguments["input_shape"][-1] == record.input_shape[-1]
        full = record.input_shape[:-1]
        pairs = zip(lengths, full, strict=True)
        assert all(min(record.minimum_size, most) <= length <= most for length, most in pairs)
        record.check_options({key: arguments[key] for key in arguments if key not in ("input_shape", "classes")})
    assert fresh.reduced_arguments(get_record("alexnet")) == {
        "input_shape": (67, 67, 3),
        "classes": 10,
        "dense_width": 64,
    }


@pytest.mark.parametrize("name", ["fast_rcnn", "faster_rcnn", "mask_rcnn"])
def test_reduced_two_stage_detectors_are_narrow(fresh: Any, name: str) -> None:
    import edgecv

    # Published ones have 70 to 137 million parameters.
    assert edgecv.create_model(name, **fresh.reduced_arguments(get_record(name))).count_params() < 1_000_000


def test_pictures_are_smooth_and_repeatable(fresh: Any) -> None:
    images = fresh.pictures((24, 32, 3))
    assert images.shape == (8, 24, 32, 3)
    assert images.dtype == np.uint8
    assert images.max() > 200
    assert images.min() < 55
    # Between four support points an axis a step of a pixel is at most 255 · 3 / 23.
    assert np.abs(np.diff(images.astype(int), axis=1)).max() <= 34
    assert np.array_equal(images, fresh.pictures((24, 32, 3)))


def test_settled_statistics_are_those_of_the_values(fresh: Any) -> None:
    image = keras.Input((2, 2, 1))
    norm = keras.layers.BatchNormalization()
    model = keras.Model(image, norm(image))
    values = np.array([1, 3, 5, 7], np.float32).reshape(1, 2, 2, 1)
    fresh.settle(model, values)
    assert float(np.asarray(norm.moving_mean)[0]) == pytest.approx(4)
    assert float(np.asarray(norm.moving_variance)[0]) == pytest.approx(5)
    assert norm.momentum == 0.99


def test_rows_json_markdown_and_keep(benchmark_module: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table, page = tmp_path / "matrix.json", tmp_path / "matrix.md"
    words = ["--formats", "tflite", "--precisions", "fp32", "--json", str(table), "--markdown", str(page), "--keep"]
    assert benchmark_module.main(["--models", "lenet5", *words]) == 0
    (row,) = json.loads(table.read_text(encoding="utf-8"))["rows"]
    assert (row["status"], row["agreement"], row["input_shape"]) == ("proven", 1.0, [32, 32, 1])
    assert row["max_abs"] <= 1e-5
    assert row["bytes"] > 4 * 61_706
    # Another network, of signals, joins the rows that are there.
    assert benchmark_module.main(["--models", "lenet5", "signal_fcn", *words]) == 0
    rows = json.loads(table.read_text(encoding="utf-8"))["rows"]
    assert [row["model"] for row in rows] == ["lenet5", "signal_fcn"]
    assert (rows[1]["status"], rows[1]["agreement"], rows[1]["input_shape"]) == ("proven", 1.0, [64, 1])
    assert "| signal_fcn | 64×1 | " in page.read_text(encoding="utf-8")
    assert "2 of 2 combinations proven" in capsys.readouterr().out


def test_what_is_refused_is_a_row_with_the_reason(benchmark_module: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from edgecv_runtime.errors import UnsupportedError

    def refuse(*_: Any, **__: Any) -> None:
        raise UnsupportedError("no such operation")

    monkeypatch.setattr(benchmark_module.edgecv, "export", refuse)
    (row,) = benchmark_module.rows_of("lenet5", [("onnx", "fp32")])
    assert (row.status, row.reason, row.max_abs) == ("refused", "no such operation", None)
    text = benchmark_module.markdown([row], {"edgecv": "0"})
    assert "| lenet5 | 32×32×1 | refused |" in text
    assert "- lenet5, onnx fp32: refused, no such operation" in text


def test_a_scaled_classifier_s_logits_have_a_spread(fresh: Any) -> None:
    image = keras.Input((2, 2, 3))
    x = keras.layers.Dense(5, kernel_initializer=keras.initializers.RandomNormal(0, 1e-6, seed=0), name="logits")(
        keras.layers.Flatten()(image)
    )
    model = keras.Model(image, keras.layers.Activation("softmax")(x))
    values = np.random.default_rng(0).normal(0, 1, (8, 2, 2, 3)).astype(np.float32)
    fresh.scale(model, values)
    logits = values.reshape(8, 12) @ np.asarray(model.get_layer("logits").kernel)
    assert logits.std() == pytest.approx(2.0, rel=1e-3)


def test_the_layers_that_make_the_outputs(fresh: Any) -> None:
    image = keras.Input((4, 4, 3))
    x = keras.layers.Conv2D(8, 3, name="body")(image)
    boxes = [keras.layers.Reshape((-1, 4))(keras.layers.Conv2D(4, 1, name=name)(x)) for name in ("near", "far")]
    scores = keras.layers.Activation("sigmoid")(keras.layers.Conv2D(2, 1, name="classes")(x))
    normed = keras.layers.BatchNormalization()(x)
    model = keras.Model(image, [keras.layers.Concatenate(axis=1)(boxes), scores, normed])
    # Values without an activation get a deviation of 1, logits one of 2; what is normalised has its own already.
    found = {layer.name: spread for layer, spread in fresh.heads(model)}
    assert found == {"near": 1.0, "far": 1.0, "classes": 2.0}
    assert fresh.heads(keras.Model(image, normed)) == []


def test_a_file_s_arena_is_told_beside_litert_s(benchmark_module: Any) -> None:
    (row,) = benchmark_module.rows_of("lenet5", [("tflite", "fp32")], full_size=True)
    # 32 x 32 x 1 pixels and 28 x 28 x 6 activations of 4 bytes live together at least.
    assert row.told_arena == row.arena >= 4 * (32 * 32 + 28 * 28 * 6)
    far = dataclasses.replace(row, model="far", told_arena=1_200_000, arena=1_000_000)
    text = benchmark_module.markdown([row, far], {"edgecv": "0"}, full_size=True)
    assert "2 files, of which 1 are within 10 %; the worst is off by +20.00 %" in text
    assert "| far | fp32 | 1,200 | 1,000 | +20.0 % |" in text


def test_a_carried_convolution_by_hand(fresh: Any) -> None:
    image = keras.Input((3, 3, 2))
    layer = keras.layers.Conv2D(3, 3, padding="same", kernel_initializer="ones", use_bias=False)
    model = keras.Model(image, layer(image))
    fresh.carry(model)
    values = np.arange(18, dtype=np.float32).reshape(1, 3, 3, 2)
    # The middle place sees all 18 values: half their sum is 76.5; the first two channels have its own, 8 and 9, too.
    np.testing.assert_allclose(np.asarray(model(values))[0, 1, 1], [84.5, 85.5, 76.5])


QUICK = ("alexnet", "autoencoder", "fcn8s", "mobilenet_v2", "signal_fcn", "voxnet", "yolo_v2_tiny")
LONG = ("anchor_free_mobilenet_v2", "cifar_resnet20", "googlenet", "nin", "resnext50", "segnet", "unet", "unet_same")


@pytest.mark.parametrize("name", [*QUICK, *(pytest.param(name, marks=pytest.mark.slow) for name in LONG)])
def test_networks_with_layers_of_their_own_are_proven_everywhere(benchmark_module: Any, name: str) -> None:
    combinations = [(format, precision) for format in ("tflite", "onnx", "openvino") for precision in ("fp32", "int8")]
    rows = benchmark_module.rows_of(name, combinations)
    assert [(row.format, row.precision, row.status) for row in rows] == [(*pair, "proven") for pair in combinations]
    assert all(row.max_abs <= 1e-4 for row in rows if row.precision == "fp32")
