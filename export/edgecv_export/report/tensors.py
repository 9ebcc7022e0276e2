"""The tensors inside an artefact that hold the outputs of Keras layers, made outputs of the artefact itself.

The copy that shows them is opened like any artefact, by the device's own back end: what is read is what the device
computes. Where a library fuses an activation into the convolution before it, only the activation's tensor is shown:
the convolution's own exists nowhere, and asking for it would keep the two apart.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgecv_export.formats.layer_names import layers_in
from edgecv_runtime.artefact import Artefact

# What libraries compute inside the convolution before it, by the name of each format.
_FUSED = frozenset({"Relu", "Clip", "Clamp"})

# What only moves, casts or scales the image before the first layer.
_PIXEL_OPERATIONS = frozenset(
    {"Transpose", "Cast", "Convert", "QuantizeLinear", "DequantizeLinear", "Multiply", "Add", "Subtract"}
)

# A layer's class, and an operation that it never ends with: where the last one is fused into the next layer, this one
# alone would bear the layer's name.
_HALFWAY = frozenset({("BatchNormalization", "Mul"), ("BatchNormalization", "Multiply")})


@dataclass(frozen=True)
class Exposed:
    """An artefact that gives its layers' tensors too.

    Attributes
    ----------
    artefact : Artefact
        Its own outputs come first.
    tensors : Mapping of str to str
        Name of the output tensor, by scope of the layer.
    """

    artefact: Artefact
    tensors: Mapping[str, str]


def expose(artefact: Artefact, layers: Mapping[str, str]) -> Exposed:
    """A copy of an artefact with the outputs of layers among its own.

    Parameters
    ----------
    artefact : Artefact
    layers : mapping of str to str
        The layers that are wanted: their classes by their scopes (`edgecv_export.formats.layer_names.scope_of`).
        Those without a tensor of their own are left out.
    """
    reader = {"tflite": _expose_tflite, "onnx": _expose_onnx, "openvino": _expose_openvino}[artefact.format]
    return reader(artefact, layers)


@dataclass(frozen=True)
class _Operation:
    """One operation of any format: what it is, and the names of its tensors ("" for one without a name)."""

    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


def _layer_tensors(operations: Iterable[_Operation], image: str, layers: Mapping[str, str]) -> dict[str, str]:
    """The last tensor of each layer, by the layer's scope.

    Behind a quantize-dequantize pair that is the dequantized one, which keeps the name of the tensor before it.
    """
    operations = list(operations)
    readers: dict[str, list[str]] = {}
    for operation in operations:
        for name in operation.inputs:
            readers.setdefault(name, []).append(operation.kind)
    pixels, alive = {image}, {image}
    found: dict[str, str] = {}
    for operation in operations:
        if alive.isdisjoint(operation.inputs):
            continue  # made of weights alone
        alive.update(operation.outputs)
        moving = [name for name in operation.inputs if name in alive]
        if operation.kind in _PIXEL_OPERATIONS and pixels.issuperset(moving):
            pixels.update(operation.outputs)
            continue
        if operation.kind == "QuantizeLinear":
            continue
        for name in operation.outputs:
            scope = next(iter(layers_in(name)), "")
            kinds = readers.get(name, [])
            fused = len(kinds) == 1 and kinds[0] in _FUSED
            if scope in layers and not fused and (layers[scope], operation.kind) not in _HALFWAY:
                found[scope] = name
    return found


# -- TFLite ------------------------------------------------------------------------------------------------------------


def _expose_tflite(artefact: Artefact, layers: Mapping[str, str]) -> Exposed:
    from tensorflow.lite.tools import flatbuffer_utils

    model = flatbuffer_utils.convert_bytearray_to_object(bytearray(artefact.model))
    graph = model.subgraphs[0]
    names = [_unique_name(tensor.name, index) for index, tensor in enumerate(graph.tensors)]

    def operations() -> Iterator[_Operation]:
        for operator in graph.operators:
            inputs = tuple(names[index] for index in operator.inputs if index >= 0)
            yield _Operation("", inputs, tuple(names[index] for index in operator.outputs))

    tensors = _layer_tensors(operations(), names[graph.inputs[0]], layers)
    indices = {name: index for index, name in enumerate(names)}
    extra = [indices[name] for name in tensors.values() if indices[name] not in set(graph.outputs)]
    for index in extra:
        graph.tensors[index].name = names[index].encode()
    graph.outputs = np.array([*graph.outputs, *extra], np.int32)
    model.signatureDefs = None  # it speaks of the original outputs
    shown = {scope: name for scope, name in tensors.items() if indices[name] in set(extra)}
    return Exposed(Artefact("tflite", bytes(flatbuffer_utils.convert_object_to_bytearray(model))), shown)


def _unique_name(name: Any, index: int) -> str:
    """TFLite tells tensors apart by number, and several may have one name."""
    return f"{(name or b'').decode()}#{index}"


# -- ONNX --------------------------------------------------------------------------------------------------------------


def _expose_onnx(artefact: Artefact, layers: Mapping[str, str]) -> Exposed:
    import onnx

    model = onnx.load_from_string(artefact.model)
    graph = model.graph
    operations = (_Operation(node.op_type, tuple(node.input), tuple(node.output)) for node in graph.node)
    own = {value.name for value in graph.output}
    found = _layer_tensors(operations, graph.input[0].name, layers)
    tensors = {scope: name for scope, name in found.items() if name not in own}
    graph.output.extend(onnx.ValueInfoProto(name=name) for name in tensors.values())
    return Exposed(Artefact("onnx", bytes(model.SerializeToString())), tensors)


# -- OpenVINO ----------------------------------------------------------------------------------------------------------


def _expose_openvino(artefact: Artefact, layers: Mapping[str, str]) -> Exposed:
    import openvino

    weights = openvino.Tensor(np.frombuffer(artefact.weights or b"", np.uint8))
    model = openvino.Core().read_model(model=artefact.model, weights=weights)
    ports: dict[str, Any] = {}

    def name_of(port: Any) -> str:
        name = min(port.get_names(), default=f"{port.get_node().get_friendly_name()}:{port.get_index()}?")
        ports[name] = port
        return str(name)

    own = {min(port.get_names()) for port in model.outputs}
    operations = [
        _Operation(
            operation.get_type_name(),
            tuple(name_of(port.get_source_output()) for port in operation.inputs()),
            tuple(name_of(port) for port in operation.outputs()),
        )
        for operation in model.get_ordered_ops()
    ]
    found = _layer_tensors(operations, min(model.input(0).get_names()), layers)
    tensors = {scope: name for scope, name in found.items() if name not in own and not name.endswith("?")}
    model.add_outputs([ports[name] for name in tensors.values()])
    return Exposed(_saved(openvino, model), tensors)


def _saved(openvino: Any, model: Any) -> Artefact:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.xml")
        openvino.save_model(model, path, compress_to_fp16=False)
        return Artefact("openvino", path.read_bytes(), path.with_suffix(".bin").read_bytes())
