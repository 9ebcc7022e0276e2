"""Artefacts without what a device does not read: in a small network, names and layout weigh as much as the weights."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping
from typing import Any

# Attributes that OpenVINO's reader takes for granted.
_USUAL = {"auto_broadcast": "numpy", "auto_pad": "explicit", "transpose_a": "false", "transpose_b": "false"}

# The same, of convolutions: one for each spatial axis, however many there are.
_CONVOLUTIONS = ("Convolution", "GroupConvolution")
_USUAL_EACH = {"strides": "1", "dilations": "1", "pads_begin": "0", "pads_end": "0"}

# Words that ONNX Runtime's quantizer adds to a tensor's name, and what stands for them.
_SHORTER = (
    ("_DequantizeLinear_Output", "_dq"),
    ("_QuantizeLinear_Output", "_q"),
    ("_quantized_scale", ":s"),
    ("_quantized_zero_point", ":z"),
    ("_scale", ":s"),
    ("_zero_point", ":z"),
    ("_quantized", ":q"),
)


def compact_onnx(model: Any) -> Any:
    """A quantized ONNX model with shorter names inside, and without the zero points of weights, which are zero.

    The names of the input, of the output and of what layers compute stay. The weights of dense layers keep their zero
    points: where ONNX Runtime turns int8 weights into uint8 (``session.x64quantprecision``), it invents a scalar one
    for a dense layer that has none, and then refuses its own graph.
    """
    from onnx import numpy_helper

    graph = model.graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    dense = {name for node in graph.node if node.op_type in ("Gemm", "MatMul") for name in node.input}
    for node in graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            node.name = ""
        of_weights = node.op_type == "DequantizeLinear" and len(node.input) > 2 and node.input[0] in constants
        if not of_weights or (node.output[0] in dense and not _is_bias(constants[node.input[0]])):
            continue
        if not numpy_helper.to_array(constants[node.input[2]]).any():
            del node.input[2:]
    used = {name for node in graph.node for name in node.input}
    kept = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)
    _rename(graph)
    return model


def _is_bias(tensor: Any) -> bool:
    from onnx import TensorProto

    return bool(tensor.data_type == TensorProto.INT32)


def _rename(graph: Any) -> None:
    fixed = {value.name for value in (*graph.input, *graph.output)}
    names = {name: name for name in fixed}
    taken = set(fixed)

    def shorter(name: str) -> str:
        if name not in names:
            short = name
            for word, stand_in in _SHORTER:
                short = short.replace(word, stand_in)
            while short in taken:
                short += "'"
            taken.add(short)
            names[name] = short
        return names[name]

    for node in graph.node:
        node.input[:] = [shorter(name) if name else "" for name in node.input]
        node.output[:] = [shorter(name) for name in node.output]
    for entry in (*graph.initializer, *graph.value_info):
        entry.name = shorter(entry.name)


def serialize_tflite(model: Any) -> bytes:
    """The bytes of a TFLite model (`flatbuffer_utils`' object form), equal zero points and shapes stored once.

    A quantized convolution has one zero point of eight bytes for each channel, and its bias too, all of them zero:
    in a small network a sixth of the file.
    """
    import flatbuffers
    import numpy as np

    class SharingBuilder(flatbuffers.Builder):
        def __init__(self) -> None:
            super().__init__(1024)
            self._known: dict[tuple[str, bytes], int] = {}

        def CreateNumpyVector(self, x: Any) -> int:  # noqa: N802  # the library's name
            if x.dtype == np.uint8:  # content of a buffer
                return int(super().CreateNumpyVector(x))
            key = x.dtype.str, x.tobytes()
            if key not in self._known:
                self._known[key] = int(super().CreateNumpyVector(x))
            return self._known[key]

    builder = SharingBuilder()
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def compact_ir(content: bytes) -> bytes:
    """OpenVINO's XML without white space, without the shapes that its reader finds out itself and the names of weights.

    Constants that are the same bytes of the ``.bin`` become one. What is left for each quantized convolution is nine
    operations and thirteen edges, about 2.6 kB, of which 2.3 kB are words that the reader insists on: every edge has
    four attributes, every operation a version and numbered ports. Below some 10 kB of weights for each, text is what an
    int8 file is made of (ResNet-8: 35 of 115 kB; `edgecv_export.report.size` tells the user). Not done, since it is not
    worth its price: constants without names, scalars without shapes and layers numbered without gaps save another
    1.3 %; all scales, biases and limits as pieces of one constant a tenth, but constants that come out of a Split hide
    from OpenVINO that the network is quantized: it then computes in float.
    """
    root = ElementTree.fromstring(content)
    _merge_constants(root)
    computed = _computed_from_image(root)
    for element in root.iter():
        if element.text is not None and not element.text.strip():
            element.text = None
        element.tail = None
    for layer in root.iter("layer"):
        for port in layer.iter("port"):
            if layer.get("type") not in ("Parameter", "Result"):
                for shape in port.findall("dim"):
                    port.remove(shape)
            if layer.get("id") not in computed:
                port.attrib.pop("names", None)
        for port in layer.findall("input/port"):
            port.attrib.pop("precision", None)
        data = layer.find("data")
        if data is not None:
            _without_usual(data, each=_USUAL_EACH if layer.get("type") in _CONVOLUTIONS else {})
            if not data.attrib:
                layer.remove(data)
        if layer.get("id") not in computed:
            layer.set("name", f"w{layer.get('id')}")
    return ElementTree.tostring(root, short_empty_elements=True).replace(b" />", b"/>")


def _without_usual(data: ElementTree.Element, each: Mapping[str, str]) -> None:
    """Drop attributes that say what the reader takes for granted, and the blanks in lists of numbers."""
    for attribute, value in list(data.attrib.items()):
        values = value.split(", ")
        if _USUAL.get(attribute) == value or (attribute in each and set(values) == {each[attribute]}):
            del data.attrib[attribute]
        elif all(part.lstrip("-").isdigit() for part in values):
            data.set(attribute, ",".join(values))


def _merge_constants(root: ElementTree.Element) -> None:
    """Let equal constants be one layer with several readers."""
    layers, edges = root.find("layers"), root.find("edges")
    if layers is None or edges is None:
        return
    first: dict[tuple[str, ...], str] = {}
    stand_in: dict[str, str] = {}
    for layer in layers.findall("layer"):
        data = layer.find("data")
        if layer.get("type") != "Const" or data is None:
            continue
        key = tuple(data.get(name, "") for name in ("element_type", "shape", "offset", "size"))
        kept = first.setdefault(key, layer.get("id", ""))
        if kept != layer.get("id"):
            stand_in[layer.get("id", "")] = kept
            layers.remove(layer)
    for edge in edges.findall("edge"):
        source = edge.get("from-layer", "")
        edge.set("from-layer", stand_in.get(source, source))


def _computed_from_image(root: ElementTree.Element) -> set[str]:
    """Identities of the layers that depend on the image: the others are made of weights alone."""
    readers: dict[str, list[str]] = {}
    for edge in root.iter("edge"):
        readers.setdefault(edge.get("from-layer", ""), []).append(edge.get("to-layer", ""))
    waiting = [layer.get("id", "") for layer in root.iter("layer") if layer.get("type") == "Parameter"]
    found: set[str] = set()
    while waiting:
        identity = waiting.pop()
        if identity not in found:
            found.add(identity)
            waiting.extend(readers.get(identity, ()))
    return found
