"""Layers in float among int8 ones: looked up in the artefacts themselves, in all three formats."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

import edgecv_runtime as ert
from edgecv.models.registry import Preprocessing
from edgecv_export.exporter import export
from edgecv_export.sources import source_of
from edgecv_runtime.artefact import Artefact
from edgecv_runtime.errors import InputError, UnsupportedError

FORMATS = ("tflite", "onnx", "openvino")
# The layers with a kernel, in order of computation.
CHAIN = ("first", "depth", "point", "last")


# -- reading the formats by hand ---------------------------------------------------------------------------------------


def kernels_of(artefact: Artefact) -> list[str]:
    """How each kernel is stored, ``"int8"`` or ``"float32"``, in order of computation."""
    return {"tflite": tflite_kernels, "onnx": onnx_kernels, "openvino": openvino_kernels}[artefact.format](artefact)


def tflite_graph(artefact: Artefact) -> tuple[Any, Any, Any]:
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(artefact.model, 0)
    return schema, model, model.subgraphs[0]


def tflite_kernels(artefact: Artefact) -> list[str]:
    schema, model, graph = tflite_graph(artefact)
    kind, operator = schema.TensorType, schema.BuiltinOperator
    with_kernel = {operator.CONV_2D, operator.DEPTHWISE_CONV_2D, operator.FULLY_CONNECTED}
    names = {kind.INT8: "int8", kind.FLOAT32: "float32"}
    return [
        names[graph.tensors[step.inputs[1]].type]
        for step in graph.operators
        if model.operatorCodes[step.opcodeIndex].builtinCode in with_kernel
    ]


def onnx_kernels(artefact: Artefact) -> list[str]:
    import onnx

    graph = onnx.load_from_string(artefact.model).graph
    constants = {
        tensor.name: onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).name for tensor in graph.initializer
    }
    stored = dict(constants)
    for node in graph.node:
        if node.op_type == "DequantizeLinear" and node.input[0] in constants:
            stored[node.output[0]] = constants[node.input[0]]
    return [stored[node.input[1]] for node in graph.node if node.op_type in ("Conv", "Gemm", "MatMul")]


def openvino_graph(artefact: Artefact) -> Any:
    import openvino

    weights = openvino.Tensor(np.frombuffer(artefact.weights or b"", np.uint8))
    return openvino.Core().read_model(model=artefact.model, weights=weights)


def openvino_kernels(artefact: Artefact) -> list[str]:
    found = []
    for step in openvino_graph(artefact).get_ordered_ops():
        if step.get_type_name() in ("Convolution", "GroupConvolution", "MatMul"):
            source = step.input_value(1).get_node()
            while source.get_type_name() != "Constant":
                source = source.input_value(0).get_node()
            found.append(source.output(0).get_element_type().to_dtype().name)
    return found


def rounded_tensors(artefact: Artefact) -> int:
    """How many activations behind the image are stored in 8 bits."""
    if artefact.format == "tflite":
        schema, _, graph = tflite_graph(artefact)
        image = graph.inputs[0]
        made = {output for step in graph.operators if image not in step.inputs for output in step.outputs}
        return sum(
            tensor.type == schema.TensorType.INT8 and index in made for index, tensor in enumerate(graph.tensors)
        )
    if artefact.format == "onnx":
        import onnx

        return sum(node.op_type == "QuantizeLinear" for node in onnx.load_from_string(artefact.model).graph.node)
    return sum(step.get_type_name() == "FakeQuantize" for step in openvino_graph(artefact).get_ops())


# -- the same network, with other layers in float ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def exported(
    tmp_path_factory: pytest.TempPathFactory, chain: Any, chain_preprocessing: Preprocessing, noise: list[np.ndarray]
) -> Callable[..., Any]:
    """``exported(format, *float_layers)``: an export of `chain`, made at its first use; int8 without any."""
    folder = tmp_path_factory.mktemp("mixed")
    done: dict[tuple[str, ...], Any] = {}

    def make(format: str, *kept: str) -> Any:
        key = (format, *kept)
        if key not in done:
            done[key] = export(
                chain, folder / f"{'_'.join(key)}.edgecv", format=format, calibration=noise,
                precision="mixed" if kept else "int8", float_layers=kept, preprocessing=chain_preprocessing,
            )  # fmt: skip
        return done[key]

    return make


def artefact_of(one: Any) -> Artefact:
    return ert.Bundle(one.path).artefact()


@pytest.mark.parametrize("kept", [(), ("first",), ("depth",), ("last",), ("first", "depth", "point")], ids="+".join)
@pytest.mark.parametrize("format", FORMATS)
def test_the_named_kernels_are_float_and_the_others_int8(
    format: str, kept: tuple[str, ...], exported: Callable[..., Any]
) -> None:
    one = exported(format, *kept)
    assert kernels_of(artefact_of(one)) == ["float32" if name in kept else "int8" for name in CHAIN]
    assert one.manifest.precision == ("mixed" if kept else "int8")
    assert {row["name"] for row in one.report["layers"] if row["in_float"]} - {"first_relu", "depth_relu"} == set(kept)
    assert one.report.get("recipe", {}) == ({"float_layers": list(kept)} if kept else {})
    assert one.report["parity"]["max_abs"] < 0.01
    assert ert.verify(one.path).passed


@pytest.mark.parametrize("format", FORMATS)
def test_float_layers_hand_float_to_each_other(format: str, exported: Callable[..., Any]) -> None:
    """int8 stores the outputs of first, depth, point, the pooling and last."""
    assert rounded_tensors(artefact_of(exported(format))) == 5
    # Those of first and depth go, and point's, too, where the pooling behind it then computes in float.
    assert rounded_tensors(artefact_of(exported(format, *CHAIN[:3]))) == (3 if format == "tflite" else 2)
    # Alone, a layer in float gives its output to one that takes 8 bits.
    assert rounded_tensors(artefact_of(exported(format, "depth"))) == 5


@pytest.mark.parametrize("format", FORMATS)
def test_mixed_answers_closer_to_float(
    format: str, exported: Callable[..., Any], chain: Any, chain_preprocessing: Preprocessing, noise: list[np.ndarray]
) -> None:
    expected = source_of(chain, chain_preprocessing).predict(noise)

    def error(one: Any) -> float:
        with ert.load(one.path) as model:
            answers = np.concatenate([model.outputs(image)[0] for image in noise])
        return float(np.sqrt(np.mean((answers - expected) ** 2)))

    assert error(exported(format, "first", "point", "pool", "last")) < 0.5 * error(exported(format))


def test_the_final_layer_in_float_gives_float(exported: Callable[..., Any]) -> None:
    (spec,) = exported("tflite", "last").manifest.outputs
    assert (spec.name, spec.dtype, spec.quantization) == ("logits", "float32", None)
    (spec,) = exported("tflite", "first").manifest.outputs
    assert (spec.name, spec.dtype) == ("logits", "int8")
    for format in ("onnx", "openvino"):  # where the pooling before it computes in float, too
        assert rounded_tensors(artefact_of(exported(format, "last"))) == 5 - 2


@pytest.mark.parametrize("format", FORMATS)
def test_the_image_stays_uint8(format: str, exported: Callable[..., Any]) -> None:
    for kept in ((), ("first",), ("first", "depth", "point")):
        (spec,) = exported(format, *kept).manifest.inputs
        assert (spec.name, spec.dtype, spec.shape) == ("image", "uint8", (1, 16, 16, 3))


def test_a_first_onnx_layer_in_float_gets_the_real_pixels(exported: Callable[..., Any]) -> None:
    import onnx
    from onnx import numpy_helper

    graph = onnx.load_from_string(artefact_of(exported("onnx", "first")).model).graph
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    (reader,) = [node for node in graph.node if "image" in node.input]
    assert reader.op_type == "DequantizeLinear"
    assert constants[reader.input[1]].item() == pytest.approx(1 / 127.5, rel=1e-6)
    assert constants[reader.input[2]].item() == 128


def test_an_activation_stands_for_its_layer(exported: Callable[..., Any]) -> None:
    """ReLU6 is computed inside the convolution: named alone it takes the convolution along, as the kernels show."""
    assert kernels_of(artefact_of(exported("tflite", "depth_relu"))) == ["int8", "float32", "int8", "int8"]


# -- names that cannot be --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("format", FORMATS)
def test_an_unknown_name(
    format: str, chain: Any, chain_preprocessing: Preprocessing, noise: list[np.ndarray], tmp_path: Path
) -> None:
    with pytest.raises(InputError) as caught:
        export(
            chain, tmp_path / "c.edgecv", format=format, precision="mixed", calibration=noise,
            preprocessing=chain_preprocessing, float_layers=("first", "frist"),
        )  # fmt: skip
    assert str(caught.value) == (
        "float_layers must name layers of 'chain'; 'frist' is none: see [layer.name for layer in model.layers]"
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("format", FORMATS)
def test_a_layer_without_an_operation_of_its_own(
    format: str, chain: Any, chain_preprocessing: Preprocessing, noise: list[np.ndarray], tmp_path: Path
) -> None:
    with pytest.raises(UnsupportedError) as caught:
        export(
            chain, tmp_path / "c.edgecv", format=format, precision="mixed", calibration=noise,
            preprocessing=chain_preprocessing, float_layers=("drop",),
        )  # fmt: skip
    name = "TFLite" if format == "tflite" else "ONNX"
    assert str(caught.value) == f"{name} has no operation of its own for 'drop', so it cannot stay in float"
    assert list(tmp_path.iterdir()) == []


# -- kinds of graphs -------------------------------------------------------------------------------------------------


def head(image: Any, x: Any) -> Any:
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(image, layers.Softmax(name="softmax")(layers.Dense(5, name="last")(x)))


def shared_layer() -> Any:
    image = keras.Input((16, 16, 3))
    twice = layers.Conv2D(3, 3, padding="same", name="twice")
    return head(image, layers.ReLU(name="b")(twice(layers.ReLU(name="a")(twice(image)))))


def backbone(name: str) -> Any:
    image = keras.Input((16, 16, 3))
    return keras.Model(image, layers.ReLU()(layers.Conv2D(3, 3, padding="same", name="conv")(image)), name=name)


def nested() -> Any:
    image = keras.Input((16, 16, 3))
    return head(image, backbone("body")(image))


def two_nested_with_the_same_names() -> Any:
    image = keras.Input((16, 16, 3))
    return head(image, backbone("upper")(backbone("lower")(image)))


def residual() -> Any:
    image = keras.Input((16, 16, 3))
    x = layers.ReLU(name="a")(layers.Conv2D(4, 3, padding="same", name="stem")(image))
    y = layers.Conv2D(4, 3, padding="same", name="branch")(x)
    return head(image, layers.ReLU(name="b")(layers.Add(name="sum")([x, y])))


def odd_names() -> Any:
    """An underscore first (no name for a TensorFlow scope), names that begin alike, and in capitals."""
    image = x = keras.Input((16, 16, 3))
    for name in ("_x", "layer_x", "conv", "conv_1", "Conv"):
        x = layers.ReLU()(layers.Conv2D(4, 1, name=name)(x))
    return head(image, x)


KINDS: list[tuple[Callable[[], Any], tuple[str, ...], list[str]]] = [
    (shared_layer, ("twice",), ["float32", "float32", "int8"]),
    (nested, ("conv",), ["float32", "int8"]),
    (two_nested_with_the_same_names, ("conv",), ["float32", "int8", "int8"]),
    (two_nested_with_the_same_names, ("conv_1", "last"), ["int8", "float32", "float32"]),
    (residual, ("branch",), ["int8", "float32", "int8"]),
    (residual, ("sum",), ["int8", "int8", "int8"]),
    (odd_names, ("_x", "conv"), ["float32", "int8", "float32", "int8", "int8", "int8"]),
    (odd_names, ("conv_1",), ["int8", "int8", "int8", "float32", "int8", "int8"]),
]


@pytest.mark.parametrize(("build", "kept", "kernels"), KINDS, ids=lambda value: getattr(value, "__name__", None))
@pytest.mark.parametrize("format", ["tflite", "onnx"])
def test_kinds_of_graphs(
    format: str,
    build: Callable[[], Any],
    kept: tuple[str, ...],
    kernels: list[str],
    chain_preprocessing: Preprocessing,
    noise: list[np.ndarray],
    tmp_path: Path,
) -> None:
    keras.utils.set_random_seed(2)
    one = export(
        build(), tmp_path / "m.edgecv", format=format, precision="mixed", calibration=noise,
        preprocessing=chain_preprocessing, float_layers=kept,
    )  # fmt: skip
    assert kernels_of(artefact_of(one)) == kernels
    assert any(row["in_float"] for row in one.report["layers"])
    assert ert.verify(one.path).passed


@pytest.mark.parametrize("name", ["conv é", "two words", "層", "a:0"])
def test_names_that_keras_itself_cannot_trace(
    name: str, chain_preprocessing: Preprocessing, noise: list[np.ndarray], tmp_path: Path
) -> None:
    image = keras.Input((16, 16, 3))
    inner = keras.Model(image, layers.Conv2D(4, 3, name=name)(image), name="body")
    for model in (head(image, layers.Conv2D(4, 3, name=name)(image)), head(image, inner(image))):
        with pytest.raises(UnsupportedError) as caught:
            export(model, tmp_path / "m.edgecv", preprocessing=chain_preprocessing)
        assert str(caught.value) == (
            f"a layer's name must be letters, digits and _ - . to be traced by TensorFlow; received {name!r}: "
            "give the layer another (layer.name = ...)"
        )
        assert list(tmp_path.iterdir()) == []


def test_what_the_refusal_advises(chain_preprocessing: Preprocessing, tmp_path: Path) -> None:
    image = keras.Input((16, 16, 3))
    model = head(image, layers.Conv2D(4, 3, name="conv é")(image))
    model.get_layer("conv é").name = "conv_e"
    assert ert.verify(export(model, tmp_path / "m.edgecv", preprocessing=chain_preprocessing).path).passed


def test_keras_does_not_let_a_slash_into_a_name() -> None:
    """Scopes are told from paths by it."""
    with pytest.raises(ValueError, match="cannot contain character `/`"):
        layers.Conv2D(4, 3, name="a/b")


# -- what the device computes -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def wild_between(lamp_reader: Callable[[int], Any]) -> Any:
    """The lamps' network with its wild layer between two ordinary ones: int8 on both sides of it."""
    reader = lamp_reader(1)
    image = keras.Input((8, 8, 3))
    x = layers.ReLU()(layers.Conv2D(3, 1, name="before")(image))
    x = layers.ReLU()(layers.Conv2D(3, 1, name="wild")(x))
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(3, 1, name="behind")(x))
    model = keras.Model(image, layers.Softmax()(layers.Dense(4, name="last")(x)))
    for name, weights in (("wild", reader.get_layer("wild_0")), ("last", reader.get_layer("last"))):
        model.get_layer(name).set_weights(weights.get_weights())
    for name in ("before", "behind"):
        model.get_layer(name).set_weights([np.eye(3).reshape(1, 1, 3, 3), np.zeros(3)])
    return model


@pytest.mark.parametrize("format", FORMATS)
def test_float_weights_reach_the_kernels(
    format: str, wild_between: Any, lamps: Any, lamp_preprocessing: Preprocessing, tmp_path: Path
) -> None:
    path = tmp_path / "w.edgecv"
    export(
        wild_between, path, format=format, precision="mixed", calibration=lamps.images[:16],
        preprocessing=lamp_preprocessing, float_layers=("wild",),
    )  # fmt: skip
    with ert.load(path) as model:
        assert [model(image).indices[0] for image in lamps.images] == lamps.classes
    if format == "onnx":
        # Left to itself, ONNX Runtime stores the float weights in int8, all channels on one scale: the reason why the
        # runtime forbids it for mixed models. Once it no longer does, the ban can go.
        import onnxruntime

        session = onnxruntime.InferenceSession(ert.Bundle(path).artefact().model)
        answers = [int(session.run(None, {"image": image[None]})[0].argmax()) for image in lamps.images]
        assert len(set(answers)) == 1
