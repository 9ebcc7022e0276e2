"""Bring your own model: a TFLite, ONNX or OpenVINO file becomes a bundle that knows how to be fed and read."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from edgecv_export import contract
from edgecv_export.calibration import contract_pictures, load_calibration
from edgecv_export.exporter import Exported, made_with
from edgecv_export.graph_nms import append_suppression, check_suppressible
from edgecv_export.metadata import embed
from edgecv_export.plan import Plan
from edgecv_export.presets import PRESETS, choose_decoder
from edgecv_runtime.artefact import Artefact
from edgecv_runtime.backends import open_backend
from edgecv_runtime.bundle import GOLDEN_MEMBER, REPORT_MEMBER, check_output_path, write_bundle
from edgecv_runtime.decoders import make_decoder
from edgecv_runtime.errors import BundleError, InputError, UnsupportedError
from edgecv_runtime.golden import Golden, differences
from edgecv_runtime.images import Image
from edgecv_runtime.manifest import (
    DecoderSpec,
    InputSpec,
    Layout,
    Manifest,
    Normalization,
    Resize,
    TensorSpec,
)
from edgecv_runtime.model import Model

ACTIVATIONS = ("none", "softmax", "sigmoid")

_CHANNELS = {"RGB": 3, "BGR": 3, "GRAY": 1}


def wrap(
    source: str | Path,
    path: str | Path,
    *,
    task: str | None = None,
    decoder: str | None = None,
    parameters: Mapping[str, Any] | None = None,
    activation: str | None = None,
    color: str | None = None,
    layout: Layout | None = None,
    resize: Resize | None = None,
    normalization: Normalization | None = None,
    labels: Sequence[str] | None = None,
    precision: str | None = None,
    images: Any = None,
    name: str | None = None,
    nms_in_graph: bool = False,
) -> Exported:
    """Wrap a model file from elsewhere as a bundle.

    Parameters
    ----------
    source : str or Path
        ``model.tflite``, ``model.onnx``, or ``model.xml`` with its ``.bin`` beside it. One image input.
    path : str or Path
        Ends in ``.edgecv``.
    task : {"classification", "detection", "segmentation", "pose", "embedding"}, optional
        Default: the decoder's; classification where no decoder is named either.
    decoder : str, optional
        How the outputs are read: ``"yolox"``, ``"ssd-postprocessed"`` and so on. Default: the task's usual one;
        a detector's must be named. It brings what its models usually expect of a picture (see `presets.PRESETS`);
        what is given here goes before that.
    parameters : mapping, optional
        Of the decoder: ``{"score_threshold": 0.3}``. Those that the outputs tell need not be given.
    activation : {"none", "softmax", "sigmoid"}, optional
        What the device must still apply to the output: the decoder's parameter of that name.
    color : {"RGB", "BGR", "GRAY"}, optional
        Default: the decoder's usual one, mostly RGB.
    layout : {"NHWC", "NCHW"}, optional
        Default: read off the input's shape where that leaves no doubt.
    resize : Resize, optional
        Default: the decoder's usual one; for most stretch, bilinear.
    normalization : Normalization, optional
        ``(pixel - mean) / std``; required where the model takes floats and the decoder does not bring it. Integer
        models take pixels as they are.
    labels : sequence of str, optional
    precision : str, optional
        Default: read off the file.
    images : folder, or sequence of images or paths, optional
        For the parity contract, which then holds this machine's own answers. Default: generated pictures.
    name : str, optional
    nms_in_graph : bool
        Of a detector in ONNX: append decoding and suppression to the graph, with the decoder's thresholds; the file
        then gives a list of objects.

    Raises
    ------
    InputError, MissingFileError, UnsupportedError, OutputError, BackendError

    Examples
    --------
    >>> wrap("mobilenet_v2_quant.tflite", "mobilenet_v2.edgecv")  # doctest: +SKIP
    """
    source, path = Path(source), Path(path)
    chosen = choose_decoder(task or ("classification" if decoder is None else None), decoder)
    preset = PRESETS[chosen]
    if activation is not None and activation not in ACTIVATIONS:
        raise InputError(f"activation must be one of {', '.join(ACTIVATIONS)}; received {activation!r}")
    check_output_path(path)
    pictures = None if images is None else load_calibration(images)
    artefact = Artefact.from_file(source)
    if nms_in_graph:
        check_suppressible(artefact.format, chosen)
    with open_backend(artefact) as backend:
        inputs, outputs = backend.inputs, backend.outputs
    if chosen == "classification" and (len(inputs) != 1 or len(outputs) != 1):
        raise UnsupportedError(
            f"a classification model has one input and one output; {source.name} has {len(inputs)} and {len(outputs)}"
        )
    if len(inputs) != 1:
        raise UnsupportedError(f"a model must have one image input; {source.name} has {len(inputs)}")
    color = color or preset.color
    if normalization is None and np.dtype(inputs[0].dtype).kind == "f":
        normalization = preset.normalization(_CHANNELS.get(color, 3))
    spec = _input(inputs[0], color, layout, resize or preset.resize, normalization)
    settings = {**preset.parameters(outputs, spec.size), **(parameters or {})}
    if activation is not None or chosen == "classification":
        settings["activation"] = activation or settings.get("activation", "none")
    names = preset.labels if labels is None else tuple(labels)
    found = precision or read_precision(artefact)
    plan = Plan(artefact.format, found)
    manifest = Manifest(
        name=name or path.stem,
        task=preset.task,
        architecture={"name": "foreign", "file": source.name},
        format=artefact.format,
        precision=found,
        inputs=(spec,),
        outputs=outputs,
        decoder=DecoderSpec(chosen, settings),
        labels=names,
        made_with=made_with(),
    )
    _check_decoder(manifest)
    if nms_in_graph:
        artefact, manifest = _suppressing(artefact, manifest)
    artefact = embed(artefact, manifest)
    with Model(artefact, manifest) as model:
        pool = contract_pictures(spec.size) if pictures is None else pictures.images
        few = contract.choose_images(pool, spec.size)
        golden = _own_answers(model, plan, few, "generated" if pictures is None else "calibration")
    report = {"size": artefact.size, "parity": {"images": len(few), "origin": golden.origin}}
    members = {**artefact.members(), GOLDEN_MEMBER: golden.to_bytes(), REPORT_MEMBER: json.dumps(report).encode()}
    return Exported(path, write_bundle(path, manifest, members), report)


def _suppressing(artefact: Artefact, manifest: Manifest) -> tuple[Artefact, Manifest]:
    """The same detector with decoding and suppression in its graph."""
    import onnx

    model, decoder = append_suppression(onnx.load_from_string(artefact.model), manifest)
    artefact = Artefact("onnx", model.SerializeToString())
    with open_backend(artefact) as backend:
        outputs = backend.outputs
    return artefact, replace(manifest, outputs=outputs, decoder=decoder)


def _check_decoder(manifest: Manifest) -> None:
    """That the decoder can read this file, before any work is done.

    Raises
    ------
    InputError
        A parameter is missing or wrong, or the outputs are not what it reads.
    """
    try:
        make_decoder(manifest)
    except BundleError as error:
        raise InputError(str(error).replace("the manifest says", "received")) from None


# The least tolerance of decisions (an argmax, a suppression in the graph) where they are compared in a steadier form:
# a few pixels or one unsure detection may go the other way on another CPU, a class or an object may not.
_DECISION_FLOORS = (0.35, 0.05)


def _own_answers(model: Model, plan: Plan, images: Sequence[Image], origin: str) -> Golden:
    """The parity contract of a model that is its own source: what the file answered here, for other machines."""
    rows = [model.raw_outputs(image) for image in images]
    answers = [np.concatenate([np.atleast_1d(row[index]) for row in rows]) for index in range(len(rows[0]))]
    if model.task == "classification":
        return contract.prove(model, plan, images, answers, origin).golden
    steady = model.comparable(answers)
    decides = make_decoder(model.manifest).decides
    floors = [
        np.array(_DECISION_FLOORS) * max(1.0, float(np.abs(output).max(initial=0)))
        if decides
        else contract.floors(plan, output)
        for output in steady
    ]
    measured = differences(model, images, answers)
    if not np.isfinite(measured).all():
        raise InputError("the model answers with numbers that are not finite: is this how it is to be fed?")
    return Golden(tuple(images), tuple(answers), np.maximum(measured, floors), origin)


def _input(
    found: TensorSpec, color: str, layout: Layout | None, resize: Resize, normalization: Normalization | None
) -> InputSpec:
    """The image input of a foreign model.

    Raises
    ------
    InputError
        Its layout is in doubt, or a float input has no normalisation.
    """
    if color not in _CHANNELS:
        raise InputError(f"color must be one of {', '.join(_CHANNELS)}; received {color!r}")
    if np.dtype(found.dtype).kind == "f" and normalization is None:
        raise InputError(
            f"input {found.name!r} takes {found.dtype}: what it expects of a pixel must be given: "
            "--mean 127.5 --std 127.5, say, or --mean 0 --std 1 for pixels 0..255"
        )
    return InputSpec(
        name=found.name,
        shape=found.shape,
        dtype=found.dtype,
        quantization=found.quantization,
        layout=layout or _layout(found, _CHANNELS[color]),
        color=color,  # type: ignore[arg-type]  # checked above
        resize=resize,
        normalization=normalization,
    )


def _layout(found: TensorSpec, channels: int) -> Layout:
    shape = found.shape
    last, first = len(shape) == 4 and shape[3] == channels, len(shape) == 4 and shape[1] == channels
    if last == first:
        raise InputError(
            f"input {found.name!r} has shape {list(shape)}: which dimension holds the {channels} channel(s) is not "
            "clear; say --layout NHWC or NCHW"
        )
    return "NHWC" if last else "NCHW"


def read_precision(artefact: Artefact) -> str:
    """The precision of a foreign file: int8 where it computes in integers, else by its weights' type."""
    reader = {"tflite": _tflite_precision, "onnx": _onnx_precision, "openvino": _openvino_precision}[artefact.format]
    return reader(artefact.model)


def _tflite_precision(content: bytes) -> str:
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(content, 0)
    kinds = schema.TensorType
    weights, activations = set(), set()
    for tensor in model.subgraphs[0].tensors:
        data = model.buffers[tensor.buffer].data
        if data is not None and len(data):
            weights.add(tensor.type)
        elif tensor.quantization is not None and tensor.quantization.scale is not None:
            activations.add(tensor.type)
    if kinds.INT16 in activations:
        return "int16x8"
    if activations & {kinds.INT8, kinds.UINT8}:
        return "int8"
    if kinds.INT8 in weights:
        return "dynamic"
    return "fp16" if kinds.FLOAT16 in weights else "fp32"


def _onnx_precision(content: bytes) -> str:
    import onnx

    model = onnx.load_from_string(content)
    kinds = {node.op_type for node in model.graph.node}
    if kinds & {"QuantizeLinear", "QLinearConv", "QLinearMatMul", "ConvInteger", "MatMulInteger"}:
        return "int8"
    if "DequantizeLinear" in kinds:
        return "dynamic"
    half = any(tensor.data_type == onnx.TensorProto.FLOAT16 for tensor in model.graph.initializer)
    return "fp16" if half else "fp32"


def _openvino_precision(content: bytes) -> str:
    if b'type="FakeQuantize"' in content:
        return "int8"
    if b'element_type="i8"' in content or b'element_type="u8" shape' in content:
        return "dynamic"
    return "fp16" if b'element_type="f16"' in content else "fp32"
