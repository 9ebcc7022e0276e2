"""Export from a float ONNX file of elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import edgecv_runtime as ert
from edgecv.models.registry import Preprocessing
from edgecv_export.calibration import generated_images
from edgecv_export.exporter import export
from edgecv_export.sources import source_of
from edgecv_runtime.errors import CheckFailedError, InputError, MissingFileError, UnsupportedError

HALF = Preprocessing(mean=(127.5,) * 3, std=(127.5,) * 3)
TORCH = Preprocessing(mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375))
PRECISIONS = ("fp32", "fp16", "dynamic", "int8")
COMBINATIONS = [(format, precision) for format in ("onnx", "openvino") for precision in PRECISIONS]


@pytest.fixture(scope="module")
def pictures() -> list[np.ndarray]:
    return list(generated_images(8, (20, 18), seed=3))


@pytest.fixture(scope="module")
def onnx_file(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """A convolution, a rectifier, a mean and a classifier, as other trainers write them: channels first."""

    def build(*, batch: Any = "N", opset: int = 17, kind: str = "FLOAT", layout: str = "NCHW") -> Path:
        import onnx
        from onnx import TensorProto, helper, numpy_helper

        generator = np.random.default_rng(0)
        constants = {
            "kernel": generator.normal(0, 0.3, (8, 3, 3, 3)),
            "bias": generator.normal(0, 0.3, 8),
            "dense": generator.normal(0, 0.7, (8, 5)),
            "offset": generator.normal(0, 0.3, 5),
        }
        nodes = [
            helper.make_node("Conv", ["x", "kernel", "bias"], ["c"], name="conv", strides=[2, 2]),
            helper.make_node("Relu", ["c"], ["r"], name="relu"),
            helper.make_node("GlobalAveragePool", ["r"], ["g"], name="pool"),
            helper.make_node("Flatten", ["g"], ["f"], name="flat"),
            helper.make_node("Gemm", ["f", "dense", "offset"], ["logits"], name="dense_layer"),
        ]
        if kind != "FLOAT":
            nodes.insert(0, helper.make_node("Cast", ["image"], ["x"], to=TensorProto.FLOAT, name="first"))
        shape = [batch, 3, 16, 16]
        if layout == "NHWC":
            nodes.insert(0, helper.make_node("Transpose", ["image"], ["x"], perm=[0, 3, 1, 2], name="first"))
            shape = [batch, 16, 16, 3]
        graph = helper.make_graph(
            nodes,
            "small",
            [helper.make_tensor_value_info(nodes[0].input[0], getattr(TensorProto, kind), shape)],
            [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [batch, 5])],
            [numpy_helper.from_array(value.astype(np.float32), name) for name, value in constants.items()],
        )
        path = tmp_path_factory.mktemp("onnx") / "small.onnx"
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=7)
        onnx.checker.check_model(model)
        onnx.save(model, path)
        return path

    return build


def by_hand(path: Path, preprocessing: Preprocessing, pictures: list[np.ndarray]) -> np.ndarray:
    """What the file itself answers to the pictures."""
    import cv2
    import onnxruntime

    session = onnxruntime.InferenceSession(path)
    (there,) = session.get_inputs()
    answers = []
    for picture in pictures:
        pixels = cv2.resize(picture, (16, 16), interpolation=cv2.INTER_LINEAR).astype(np.float32)
        values = ((pixels - np.float32(preprocessing.mean)) / np.float32(preprocessing.std))[None]
        values = values if there.shape[3] == 3 else np.ascontiguousarray(values.transpose(0, 3, 1, 2))
        answers.append(session.run(None, {there.name: values})[0])
    return np.concatenate(answers)


@pytest.mark.parametrize("preprocessing", [HALF, TORCH], ids=["one mean", "per channel"])
@pytest.mark.parametrize(("format", "precision"), COMBINATIONS)
def test_every_combination(
    format: str,
    precision: str,
    preprocessing: Preprocessing,
    onnx_file: Callable[..., Path],
    pictures: list[np.ndarray],
    tmp_path: Path,
) -> None:
    source, path = onnx_file(), tmp_path / "small.edgecv"
    exported = export(
        source, path, format=format, precision=precision, calibration=pictures, preprocessing=preprocessing
    )
    (spec,) = exported.manifest.inputs
    assert (spec.name, spec.shape, spec.dtype, spec.layout) == ("image", (1, 16, 16, 3), "uint8", "NHWC")
    assert exported.manifest.architecture == {"name": "foreign", "file": "small.onnx"}
    assert exported.report["parameters"] == 8 * 27 + 8 + 40 + 5
    expected = by_hand(source, preprocessing, pictures)
    with ert.load(path) as model:
        answers = np.concatenate([model.outputs(picture)[0] for picture in pictures])
    limit = {"fp32": 1e-5, "fp16": 5e-3, "dynamic": 2e-2, "int8": 5e-2}[precision] * np.ptp(expected)
    assert np.abs(answers - expected).max() <= limit
    assert ert.verify(path).passed


@pytest.mark.parametrize(
    "options", [{"layout": "NHWC"}, {"batch": 1}, {"batch": 4}, {"opset": 11}], ids=["NHWC", "one", "four", "opset 11"]
)
@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_ways_of_writing_it(
    options: dict[str, Any], precision: str, onnx_file: Callable[..., Path], pictures: list[np.ndarray], tmp_path: Path
) -> None:
    path = tmp_path / "small.edgecv"
    export(onnx_file(**options), path, format="onnx", precision=precision, calibration=pictures, preprocessing=HALF)
    expected = by_hand(onnx_file(layout=options.get("layout", "NCHW")), HALF, pictures)
    with ert.load(path) as model:
        answers = np.concatenate([model.outputs(picture)[0] for picture in pictures])
    assert np.abs(answers - expected).max() <= {"fp32": 1e-5, "int8": 5e-2}[precision] * np.ptp(expected)


def test_the_source_itself(onnx_file: Callable[..., Path], pictures: list[np.ndarray]) -> None:
    path = onnx_file()
    source = source_of(path, HALF)
    assert (source.size, source.classes) == ((16, 16), 5)
    np.testing.assert_allclose(source.predict(pictures), by_hand(path, HALF, pictures), atol=1e-5)


def in_float(**options: Any) -> Any:
    return export(options.pop("model"), options.pop("path"), preprocessing=HALF, precision="mixed", **options)


@pytest.mark.parametrize("format", ["onnx", "openvino"])
def test_nodes_that_stay_in_float(
    format: str, onnx_file: Callable[..., Path], pictures: list[np.ndarray], tmp_path: Path
) -> None:
    """A file has nodes instead of layers; they go by their own names."""
    source, path = onnx_file(), tmp_path / "m.edgecv"
    exported = in_float(
        model=source, path=path, format=format, calibration=pictures, float_layers=("conv", "dense_layer")
    )
    assert exported.manifest.precision == "mixed"
    assert exported.report["recipe"] == {"float_layers": ["conv", "dense_layer"]}
    assert exported.report["layers"] == []
    expected = by_hand(source, HALF, pictures)
    with ert.load(path) as model:
        answers = np.concatenate([model.outputs(picture)[0] for picture in pictures])
    assert np.abs(answers - expected).max() <= 1e-2 * np.ptp(expected)
    if format == "onnx":
        import onnx

        graph = onnx.load_from_string(ert.Bundle(path).artefact().model).graph
        kinds = {tensor.name: tensor.data_type for tensor in graph.initializer}
        weights = [kinds.get(node.input[1]) for node in graph.node if node.op_type in ("Conv", "Gemm")]
        assert weights == [onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT]


def test_nodes_that_are_not_there(onnx_file: Callable[..., Path], pictures: list[np.ndarray], tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError) as caught:
        in_float(
            model=onnx_file(), path=tmp_path / "m.edgecv", format="onnx", calibration=pictures,
            float_layers=("conv", "konv"),
        )  # fmt: skip
    assert str(caught.value) == "ONNX has no operation of its own for 'konv', so it cannot stay in float"
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def labelled(onnx_file: Callable[..., Path], pictures: list[np.ndarray], tmp_path: Path) -> Path:
    """The pictures, labelled as the file itself answers: float is always right."""
    import cv2

    classes = by_hand(onnx_file(), HALF, pictures).argmax(1)
    for index, (picture, number) in enumerate(zip(pictures, classes.tolist(), strict=True)):
        (tmp_path / "labelled" / str(number)).mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(tmp_path / "labelled" / str(number) / f"{index}.png"), picture[..., ::-1])
    return tmp_path / "labelled"


def test_a_search_tries_ranges_alone(
    onnx_file: Callable[..., Path],
    pictures: list[np.ndarray],
    labelled: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What the file holds is not changed: no equalization, no layers by sensitivity, no training."""
    from edgecv_export.search import Search

    options = {
        "preprocessing": HALF, "format": "onnx", "calibration": pictures, "evaluation": labelled, "max_drop": 0.0,
    }  # fmt: skip
    report = export(onnx_file(), tmp_path / "m.edgecv", precision="int8", **options).report
    assert [entry["name"] for entry in report["search"]] == ["minmax ranges"]
    assert report["accuracy"]["float"]["top1"] == report["accuracy"]["artefact"]["top1"] == 1.0
    with pytest.raises(UnsupportedError, match="^mixed within a budget needs a Keras model"):
        export(onnx_file(), tmp_path / "n.edgecv", precision="mixed", **options)
    tried = Search._try
    monkeypatch.setattr(Search, "_try", lambda self, candidate: replace(tried(self, candidate), drop=9.0, met=False))
    with pytest.raises(CheckFailedError, match="^none of 4 candidates is within 0 points: .*; what may help: more cal"):
        export(onnx_file(), tmp_path / "n.edgecv", precision="int8", **options)
    assert not (tmp_path / "n.edgecv").exists()


def test_refused(onnx_file: Callable[..., Path], tmp_path: Path) -> None:
    path = onnx_file()
    for arguments, kind, message in (
        ({"format": "tflite"}, UnsupportedError, "TFLite cannot be made from ONNX; use --format onnx or openvino"),
        ({"preprocessing": None}, InputError, "what small.onnx expects of a pixel must be given: --mean and --std"),
        (
            {"preprocessing": Preprocessing(mean=(0.0,), std=(1.0,), color="GRAY")},
            InputError,
            "the input must have a fixed height and width and 1 channel(s); small.onnx has [None, 3, 16, 16]",
        ),
        (
            {"task": "detection"},
            InputError,
            "how a detector's outputs are read must be said: decoder=",
        ),
        ({"model": tmp_path / "no.onnx"}, MissingFileError, "no model file at"),
        (
            {"model": onnx_file(kind="UINT8")},
            UnsupportedError,
            "one float32 image input is required; small.onnx has 1 input(s) (uint8)",
        ),
        ({"labels": ["one"]}, InputError, "there must be one label per class: 5 classes, 1 labels"),
    ):
        options = {"format": "onnx", "preprocessing": HALF, "model": path, **arguments}
        with pytest.raises(kind) as caught:
            export(options.pop("model"), tmp_path / "o.edgecv", **options)
        assert str(caught.value).startswith(message), str(caught.value)
        assert list(tmp_path.iterdir()) == []
