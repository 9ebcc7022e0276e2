"""Signals and volumes through the whole export, in every format."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import edgecv
import edgecv_runtime as ert
from edgecv.models.registry import Preprocessing
from edgecv_export.array_calibration import generated_arrays, load_arrays
from edgecv_export.exporter import Exported, export
from edgecv_export.formats.job import ArrayGrid
from edgecv_export.sources import source_of
from edgecv_runtime.errors import InputError, UnsupportedError
from edgecv_runtime.manifest import InputSpec, Normalization
from edgecv_runtime.parity import verify

MEAN, STD = 20.0, 4.0
COMBINATIONS = [(format, precision) for format in ("tflite", "onnx", "openvino") for precision in ("fp32", "int8")]


def ramps(count: int, shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    """(count, *shape) values around `MEAN`: each with an offset and noise of its own."""
    generator = np.random.default_rng(seed)
    offsets = generator.normal(0, 1, (count, *[1] * len(shape)))
    return (MEAN + STD * (offsets + generator.normal(0, 0.5, (count, *shape)))).astype(np.float32)


@pytest.fixture(scope="module")
def signals() -> Any:
    """(24, 2) → 5 classes, with everything that 1-D networks are made of."""
    import keras
    from keras import layers

    keras.utils.set_random_seed(3)
    signal = keras.Input((24, 2))
    x = layers.Conv1D(8, 5, strides=2, padding="same", use_bias=False, name="first")(signal)
    x = layers.ReLU()(layers.BatchNormalization(name="norm")(x))
    x = layers.MaxPooling1D(2)(x)
    x = layers.Conv1D(8, 3, padding="same", activation="relu", name="second")(x)
    x = layers.GlobalAveragePooling1D()(x)
    return keras.Model(signal, layers.Softmax()(layers.Dense(5, name="last")(x)), name="signals")


@pytest.fixture(scope="module")
def volumes() -> Any:
    """(5, 6, 7, 1) → 4 classes; the pooling leaves an odd plane over."""
    import keras
    from keras import layers

    keras.utils.set_random_seed(4)
    volume = keras.Input((5, 6, 7, 1))
    x = layers.Conv3D(6, 3, padding="same", name="first")(volume)
    x = layers.MaxPooling3D(2, name="pool")(layers.LeakyReLU(0.1)(x))
    x = layers.Dense(8, activation="relu", name="hidden")(layers.Flatten()(x))
    return keras.Model(volume, layers.Softmax()(layers.Dense(4, name="last")(x)), name="volumes")


def exported(network: Any, path: Path, kind: str, format: str, precision: str, **more: Any) -> Exported:
    return export(
        network,
        path,
        format=format,
        precision=precision,
        calibration=ramps(12, network.input_shape[1:]),
        task=f"{kind}-classification",
        preprocessing=Preprocessing((MEAN,), (STD,)),
        **more,
    )


@pytest.fixture(scope="module")
def made(signals: Any, volumes: Any, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Exported]:
    folder = tmp_path_factory.mktemp("arrays")
    done: dict[tuple[str, ...], Exported] = {}

    def make(kind: str, format: str, precision: str) -> Exported:
        key = kind, format, precision
        if key not in done:
            model = signals if kind == "signal" else volumes
            done[key] = exported(model, folder / f"{'_'.join(key)}.edgecv", kind, format, precision)
        return done[key]

    return make


@pytest.mark.parametrize("kind", ["signal", "volume"])
@pytest.mark.parametrize(("format", "precision"), COMBINATIONS)
def test_proven_and_answering_as_keras(
    made: Callable[..., Exported], kind: str, format: str, precision: str, request: pytest.FixtureRequest
) -> None:
    bundle = made(kind, format, precision)
    network = request.getfixturevalue(f"{kind}s")
    fresh = ramps(6, network.input_shape[1:], seed=9)
    wanted = np.asarray(network((fresh - MEAN) / STD, training=False))
    with ert.load(bundle.path) as model:
        assert model.task == f"{kind}-classification"
        answers = np.concatenate([model.outputs(array)[0] for array in fresh])
        (first, *_) = model(list(fresh))
    np.testing.assert_allclose(answers, wanted, atol=1e-5 if precision == "fp32" else 0.05)
    assert first.indices[0] == answers[0].argmax()
    assert verify(bundle.path).passed


@pytest.mark.parametrize("kind", ["signal", "volume"])
def test_tflite_int8_is_integers_throughout(made: Callable[..., Exported], kind: str) -> None:
    from ai_edge_litert.interpreter import Interpreter

    bundle = made(kind, "tflite", "int8")
    (spec,) = bundle.manifest.inputs
    assert spec.dtype == "int8" and spec.quantization is not None
    assert spec.normalization == Normalization((MEAN,) * spec.shape[-1], (STD,) * spec.shape[-1])
    interpreter = Interpreter(model_content=ert.Bundle(bundle.path).artefact().model)
    interpreter.allocate_tensors()
    kinds = {np.dtype(detail["dtype"]).name for detail in interpreter.get_tensor_details()}
    assert kinds <= {"int8", "int32"}
    names = {operation["op_name"] for operation in interpreter._get_ops_details()}
    assert "CONV_2D" in names and names.isdisjoint({"CONV_3D", "QUANTIZE", "DEQUANTIZE"})


def test_the_report_sees_the_layers(made: Callable[..., Exported]) -> None:
    rows = made("signal", "onnx", "int8").report["layers"]
    assert {"first", "second", "last"} <= {row["name"] for row in rows}
    assert all(row["sqnr_db"] > 15 for row in rows)
    assert made("signal", "tflite", "int8").report["layers"]


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp16", "dynamic", "int16x8", "mixed"])
@pytest.mark.parametrize("kind", ["signal", "volume"])
def test_the_other_precisions(kind: str, precision: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    network = request.getfixturevalue(f"{kind}s")
    formats = ("tflite",) if precision == "int16x8" else ("tflite", "onnx", "openvino")
    for format in formats:
        path, layers = tmp_path / f"{format}.edgecv", ("last",) if precision == "mixed" else ()
        found = exported(network, path, kind, format, precision, float_layers=layers)
        assert found.report["parity"]["max_abs"] < 0.05
        assert verify(found.path).passed


def test_a_registered_network_needs_no_word_and_no_pictures(tmp_path: Path) -> None:
    model = edgecv.create_model("signal_fcn", (32, 3), classes=4, alpha=0.1)
    found = edgecv.export(model, tmp_path / "s.edgecv", format="onnx", labels=["a", "b", "c", "d"])
    assert found.manifest.task == "signal-classification"
    assert found.manifest.inputs == (InputSpec("input", (1, 32, 3), "float32", layout="NWC"),)
    assert found.report["parity"]["origin"] == "generated"
    assert found.report["parity"]["max_abs"] < 1e-5


def test_the_command_line(
    made: Callable[..., Exported], signals: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from edgecv_runtime.cli.main import main

    bundle = made("signal", "onnx", "fp32").path
    stack = ramps(3, (24, 2), seed=5)
    np.save(tmp_path / "clip.npy", stack)
    wanted = np.asarray(signals((stack - MEAN) / STD, training=False))
    assert main(["run", str(bundle), "--source", str(tmp_path / "clip.npy"), "--top", "2", "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["source"] for line in lines] == [f"{tmp_path / 'clip.npy'}[{number}]" for number in range(3)]
    assert [line["indices"] for line in lines] == np.argsort(-wanted)[:, :2].tolist()
    np.testing.assert_allclose([line["scores"] for line in lines], -np.sort(-wanted)[:, :2], atol=1e-5)
    assert main(["info", str(bundle)]) == 0
    assert "input 1×24×2 float32, NWC, normalisation mean [20.0, 20.0] std [4.0, 4.0]" in capsys.readouterr().out
    assert main(["bench", str(bundle), "--runs", "2", "--cold-starts", "0"]) == 0
    assert main(["run", str(bundle), "--source", str(tmp_path), "--save", str(tmp_path)]) == 2
    assert "--save is for pictures; this is a signal-classification bundle" in capsys.readouterr().err


# -- accuracy ------------------------------------------------------------------------------------------------------


def labelled(network: Any, folder: Path, wrong: int) -> Path:
    """Thirty signals in folders of what the network says of them; of the first so many, the folder of another class."""
    stack = ramps(30, network.input_shape[1:], seed=7)
    classes = np.asarray(network((stack - MEAN) / STD, training=False)).argmax(axis=1)
    classes[:wrong] = (classes[:wrong] + 1) % network.output_shape[-1]
    for label in range(network.output_shape[-1]):
        (folder / str(label)).mkdir(parents=True)
        own = stack[classes == label]
        np.save(folder / str(label) / "stack.npy", own[1:])
        if len(own):
            np.savez(folder / str(label) / "one.npz", own[0])
    return folder


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_accuracy_before_and_after(
    signals: Any, precision: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from edgecv_export.report.page import write_page
    from edgecv_runtime.cli.main import main

    data = labelled(signals, tmp_path / "data", wrong=6)
    found = exported(signals, tmp_path / "a.edgecv", "signal", "onnx", precision, evaluation=data)
    before, after = found.report["accuracy"]["float"], found.report["accuracy"]["artefact"]
    assert (before["top1"], before["n"], before["skipped"]) == (pytest.approx(24 / 30), 30, 0)
    assert after["agreement"] >= (1.0 if precision == "fp32" else 0.8)
    assert abs(after["top1"] - before["top1"]) <= 1 - after["agreement"] + 1e-9
    write_page(tmp_path / "page.html", found.report, manifest=found.manifest, images=data)  # without a warning
    assert main(["eval", str(found.path), "--data", str(data), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {name: after[name] for name in ("top1", "top5", "n", "skipped")}
    assert main(["eval", str(found.path), "--data", str(data)]) == 0
    assert capsys.readouterr().out.endswith("(30 signals)\n")


def test_an_accuracy_budget(signals: Any, tmp_path: Path) -> None:
    data = labelled(signals, tmp_path / "data", wrong=0)
    found = exported(signals, tmp_path / "a.edgecv", "signal", "onnx", "int8", evaluation=data, max_drop=100.0)
    assert found.report["search"][0]["chosen"] and found.report["accuracy"]["float"]["top1"] == 1.0


# -- devices -------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["signal", "volume"])
@pytest.mark.parametrize(("target", "format"), [("pi-4", "tflite"), ("stm32h7", "tflite"), ("intel-n100", "openvino")])
def test_for_a_device(kind: str, target: str, format: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    found = for_device(request.getfixturevalue(f"{kind}s"), kind, target, tmp_path / "a.edgecv")
    assert (found.manifest.target, found.manifest.format) == (target, format)
    assert verify(found.path).passed


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["signal", "volume"])
def test_for_an_npu(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    pytest.importorskip("ethosu.vela")
    network = request.getfixturevalue(f"{kind}s")
    found = for_device(network, kind, "ethos-u55-128", tmp_path / "a.edgecv")
    device = found.report["device"]
    assert device["micro"]["operators"] and device["compiler"]["configuration"] == "ethos-u55-128"


def for_device(network: Any, kind: str, target: str, path: Path) -> Exported:
    return export(
        network,
        path,
        target=target,
        calibration=ramps(12, network.input_shape[1:]),
        task=f"{kind}-classification",
        preprocessing=Preprocessing((MEAN,), (STD,)),
    )


# -- what is refused -----------------------------------------------------------------------------------------------


def test_what_no_signal_network_can_have(signals: Any, tmp_path: Path) -> None:
    how: dict[str, Any] = {"task": "signal-classification", "preprocessing": Preprocessing((0.0,), (1.0,))}
    path = tmp_path / "x.edgecv"
    with pytest.raises(InputError, match=r"input of a volume must be \(N, depth, height, width, channels\)"):
        export(signals, path, task="volume-classification", preprocessing=how["preprocessing"])
    with pytest.raises(InputError, match=r"must be \(N, length, 3\); received \(None, 24, 2\)"):
        export(signals, path, task=how["task"], preprocessing=Preprocessing((0.0,) * 3, (1.0,) * 3))
    with pytest.raises(InputError, match=r"must be \(N, height, width, 1\)"):
        export(signals, path, preprocessing=how["preprocessing"])
    with pytest.raises(InputError, match=r"calibration: a signal must have shape \(24, 2\); received \(9, 9\)"):
        export(signals, path, calibration=np.zeros((9, 9)), **how)
    with pytest.raises(InputError, match="the 0 class folders of .* cannot be matched to the model's 5 classes"):
        export(signals, path, evaluation=tmp_path, **how)
    with pytest.raises(UnsupportedError, match="leave out --train for task 'signal-classification'"):
        calibration, more = ramps(2, (24, 2)), {"evaluation": tmp_path, "training": tmp_path, "max_drop": 1.0}
        export(signals, path, precision="int8", calibration=calibration, **more, **how)
    assert not path.exists()


# -- calibration ---------------------------------------------------------------------------------------------------


def test_calibration_of_a_folder(tmp_path: Path) -> None:
    spec = InputSpec("input", (1, 4, 1), "float32", layout="NWC")
    np.save(tmp_path / "a.npy", np.arange(12.0).reshape(3, 4))
    np.savez(tmp_path / "b.npz", one=np.full(4, 7.0))
    (tmp_path / "c.npy").write_bytes(b"damaged")
    with pytest.warns(RuntimeWarning, match=r"calibration signal skipped: .*c\.npy is not"):
        found = load_arrays(tmp_path, spec)
    assert found.skipped == 1
    np.testing.assert_array_equal(
        np.stack(found.images)[..., 0], [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11], [7, 7, 7, 7]]
    )
    limited = load_arrays([tmp_path / "a.npy", np.zeros((4, 1))], spec, limit=2)
    np.testing.assert_array_equal(np.stack(limited.images)[..., 0], [[0, 1, 2, 3], [0, 0, 0, 0]])
    with pytest.raises(InputError, match="at least one signal"):
        load_arrays([], spec)


def test_generated_arrays_are_of_the_normalised_scale() -> None:
    spec = InputSpec(
        "input", (1, 6, 8, 10, 2), "float32", layout="NDHWC", normalization=Normalization((5.0, -5.0), (2.0, 3.0))
    )
    values = np.stack(generated_arrays(8, spec))
    assert values.shape == (8, 6, 8, 10, 2)
    # A sine has mean 0 and variance 1/2, the noise a variance of 0.09.
    np.testing.assert_allclose(values.mean(axis=(0, 1, 2, 3)), [5, -5], atol=0.5)
    np.testing.assert_allclose(values.std(axis=(0, 1, 2, 3)), np.sqrt(0.59) * np.array([2, 3]), rtol=0.2)
    np.testing.assert_array_equal(values, np.stack(generated_arrays(8, spec)))


def test_the_grid_of_an_input_by_hand() -> None:
    # (x - 1) / 2 reaches from -1 to 4: 255 steps of 5/255, and zero at level 51.
    grid = ArrayGrid.of(np.array([[-1.0], [9.0]], np.float32), (1.0,), (2.0,))
    assert grid.scale == pytest.approx(5 / 255)
    assert grid.zero_point == 51
    real = grid.to_real(np.array([[-1.0], [1.0], [9.0], [1.06], [99.0]], np.float32))
    # 0.03 lies between levels 1 and 2 of 0.0196: it becomes 0.0392; what lies beyond is cut.
    np.testing.assert_allclose(real[:, 0], [-1, 0, 4, 2 * 5 / 255, 4], atol=1e-6)


def test_pixels_of_signals_are_their_values(signals: Any) -> None:
    source = source_of(signals, Preprocessing((MEAN,), (STD,)), "signal-classification")
    values = ramps(2, (24, 2))
    np.testing.assert_array_equal(source.pixels(list(values)), values)
    np.testing.assert_allclose(source.normalize(values), (values - 20) / 4, rtol=1e-6)
