"""Append decoding and non-maximum suppression to a detector's ONNX graph.

What remains is ``NonMaxSuppression``, which ONNX Runtime and OpenVINO compute, and a list of fixed length. It keeps the
boxes that `edgecv_runtime.nms` keeps: each candidate counts for its best class, and boxes of one class strike out each
other.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from edgecv_export.graph_nms.graph import Writer
from edgecv_export.graph_nms.heads import HEADS, class_count
from edgecv_runtime.decoders import make_decoder
from edgecv_runtime.errors import BundleError, InputError, UnsupportedError
from edgecv_runtime.manifest import DecoderSpec, Manifest

OUTPUTS = ("boxes", "classes", "scores", "count")
_SUPPORTED = ("yolox", "yolov5", "yolov8", "ultraface", "ssd")
_LEAST_OPSET = 11  # TopK and NonMaxSuppression as they are written here; older files are converted


def check_suppressible(format: str, decoder: str) -> None:
    """Refuse a format or a head that cannot suppress in the graph.

    Raises
    ------
    UnsupportedError
    """
    if format == "tflite":
        raise UnsupportedError(
            "TFLite_Detection_PostProcess, TFLite's only suppression, counts a box for several classes or suppresses "
            "across classes, so its answers would not be those of the runtime: leave out --nms-in-graph, or take onnx "
            "or openvino"
        )
    if decoder not in _SUPPORTED:
        raise UnsupportedError(
            f"suppression in the graph is written for decoder {', '.join(_SUPPORTED)}; received {decoder!r}"
        )


def append_suppression(model: Any, manifest: Manifest) -> tuple[Any, DecoderSpec]:
    """A copy of a model that ends in a list of objects, and the decoder that reads it.

    Parameters
    ----------
    model : onnx.ModelProto
        Of batch 1; its outputs are those that the manifest names.
    manifest : Manifest
        Input size, and the decoder with its parameters: thresholds and the number of detections go into the graph.

    Returns
    -------
    model : onnx.ModelProto
        Outputs ``boxes`` (1, M, 4), ``classes`` (1, M), ``scores`` (1, M) and ``count`` (1,), as
        TFLite_Detection_PostProcess orders them: y1, x1, y2, x2 as fractions of the input; M the most detections.
    decoder : DecoderSpec
        ``ssd-postprocessed``.

    Raises
    ------
    UnsupportedError
        A decoder or a method of suppression that is not written for the graph.
    InputError
        The decoder cannot read the outputs.
    """
    import onnx
    import onnx.version_converter
    from onnx import helper

    spec = manifest.decoder
    check_suppressible("onnx", spec.name)
    try:
        decoder: Any = make_decoder(manifest)
    except BundleError as error:
        raise InputError(str(error).replace("the manifest says", "received")) from None
    if decoder.values["method"] != "hard":
        raise UnsupportedError(
            f"in the graph boxes are suppressed hard only; received method {decoder.values['method']!r}: leave out "
            "--nms-in-graph, and the device does it"
        )
    opset = next(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
    result = onnx.ModelProto()
    result.CopyFrom(model if opset >= _LEAST_OPSET else onnx.version_converter.convert_version(model, _LEAST_OPSET))
    graph = result.graph
    write = Writer(graph)
    boxes, scores = HEADS[type(decoder)](write, decoder, _set_aside(result))
    _list(write, boxes, scores, decoder, class_count(manifest, decoder))
    del graph.output[:]
    most = decoder.values["max_detections"]
    for name, shape in zip(OUTPUTS, ([1, most, 4], [1, most], [1, most], [1]), strict=True):
        graph.output.append(helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape))
    del graph.value_info[:]
    onnx.checker.check_model(result, full_check=True)
    kept = {name: decoder.values[name] for name in ("score_threshold", "max_detections")}
    return result, DecoderSpec("ssd-postprocessed", {"outputs": dict(zip(OUTPUTS, OUTPUTS, strict=True)), **kept})


def _set_aside(model: Any) -> list[str]:
    """Free the names that the new outputs bear; the names of the old ones."""
    from edgecv_export.formats.onnx import rename

    taken = {name for node in model.graph.node for name in node.output} & set(OUTPUTS)
    for name in sorted(taken):
        rename(model, name, f"{name}/raw")
    return [output.name for output in model.graph.output]


def _list(write: Writer, boxes: str, scores: str, decoder: Any, kinds_of: int) -> None:
    """From all candidates to the list."""
    values = decoder.values
    most = values["max_detections"]
    limit, every = write.constant([most], np.int64), write.constant([-1], np.int64)
    best, classes = write.pair("TopK", scores, write.constant([1], np.int64), axis=2)  # (1, N, 1) each
    # The operator leaves out what scores the threshold exactly, the runtime does not.
    threshold = np.nextafter(np.float32(values["score_threshold"]), np.float32(-np.inf))
    chosen = write.node(
        "NonMaxSuppression",
        boxes,
        _by_class(write, best, classes, 1 if values["class_agnostic"] else kinds_of),
        limit,
        write.constant([values["iou_threshold"]]),
        write.constant([threshold]),
    )  # (K, 3): image, class, candidate
    index = write.node("Reshape", write.part(chosen, 2, 3, axis=1), every)
    reached = write.node("Gather", write.node("Reshape", best, every), index)
    # As many nothings behind them as the list is long, so that it always finds enough.
    padded = write.node("Concat", reached, write.constant(np.full(most, -1)), axis=0)
    candidates = write.node("Concat", index, write.constant(np.zeros(most), np.int64), axis=0)
    top, place = write.pair("TopK", padded, limit, axis=0)
    rows = write.node("Gather", candidates, place)
    there = write.node("Cast", write.node("Greater", top, write.constant(-0.5)), to=1)
    shape = write.constant([1, most], np.int64)
    kinds = write.node("Cast", write.node("Gather", write.node("Reshape", classes, every), rows), to=1)
    for name, value in (("scores", top), ("classes", kinds)):
        write.node("Reshape", write.node("Mul", value, there), shape, output=name)
    write.node("ReduceSum", there, output="count", keepdims=1)
    corners = write.node("Gather", boxes, rows, axis=1)  # (1, M, 4) x1, y1, x2, y2
    turned = write.node("Gather", corners, write.constant([1, 0, 3, 2], np.int64), axis=2)
    fractions = write.constant([1 / decoder.height, 1 / decoder.width] * 2)
    write.node("Mul", turned, fractions, output="boxes")


def _by_class(write: Writer, best: str, classes: str, count: int) -> str:
    """(1, count, N): each candidate's score in the row of its class, and less than nothing in the others."""
    columns = write.node("Transpose", best, perm=[0, 2, 1])
    if count == 1:
        return columns
    rows = write.constant(np.arange(count)[None, :, None], np.int64)
    own = write.node("Equal", write.node("Transpose", classes, perm=[0, 2, 1]), rows)
    return write.node("Where", own, columns, write.constant(-1.0))
