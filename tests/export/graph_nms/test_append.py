"""Suppression in the graph keeps what the runtime keeps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edgecv_export.graph_nms import append_suppression
from edgecv_runtime.decoders import make_decoder
from edgecv_runtime.errors import InputError, UnsupportedError
from edgecv_runtime.manifest import DecoderSpec, InputSpec, Manifest, TensorSpec
from edgecv_runtime.preprocess import Geometry
from edgecv_runtime.results import Detections

SIZE = (64, 96)
PLAIN = Geometry(SIZE, (1.0, 1.0), (0.0, 0.0))
YOLOX_ROWS = 8 * 12 + 4 * 6 + 2 * 3
Shapes = dict[str, tuple[int, ...]]


def manifest_of(decoder: str, shapes: Shapes, parameters: dict[str, Any]) -> Manifest:
    return Manifest(
        name="m",
        task="detection",
        architecture={"name": "foreign"},
        format="onnx",
        precision="fp32",
        inputs=(InputSpec("image", (1, *SIZE, 3), "uint8"),),
        outputs=tuple(TensorSpec(name, shape, "float32") for name, shape in shapes.items()),
        decoder=DecoderSpec(decoder, parameters),
    )


def echo(shapes: Shapes, opset: int) -> Any:
    """A model whose outputs are its inputs: a head alone."""
    import onnx
    from onnx import TensorProto, helper

    graph = helper.make_graph(
        [helper.make_node("Identity", [f"{name}_in"], [name]) for name in shapes],
        "head",
        [helper.make_tensor_value_info(f"{name}_in", TensorProto.FLOAT, shape) for name, shape in shapes.items()],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    onnx.checker.check_model(model)
    return model


def both(
    decoder: str, raw: dict[str, np.ndarray], parameters: dict[str, Any], opset: int = 13
) -> tuple[Detections, Detections]:
    """What the runtime makes of a head's outputs, and what the graph does."""
    import onnxruntime

    shapes = {name: array.shape for name, array in raw.items()}
    manifest = manifest_of(decoder, shapes, parameters)
    expected = make_decoder(manifest).decode([array[0] for array in raw.values()], PLAIN)
    model, spec = append_suppression(echo(shapes, opset), manifest)
    assert spec.name == "ssd-postprocessed"
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    answers = session.run(None, {f"{name}_in": array for name, array in raw.items()})
    listed = {output.name: output.shape for output in session.get_outputs()}
    found = make_decoder(manifest_of(spec.name, {name: tuple(s) for name, s in listed.items()}, dict(spec.parameters)))
    return expected, found.decode([answer[0] if answer.ndim > 1 else answer for answer in answers], PLAIN)


def same(expected: Detections, found: Detections) -> None:
    assert found.classes.tolist() == expected.classes.tolist()
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-6)
    np.testing.assert_allclose(found.boxes, expected.boxes, atol=1e-3)


def head(decoder: str, rng: np.random.Generator, classes: int = 4) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Random outputs of a head, with many overlaps, and the parameters that read them."""
    count = YOLOX_ROWS
    if decoder == "yolox":
        raw = rng.normal(0, 1, (1, count, 5 + classes)).astype(np.float32)
        raw[..., 2:4] = rng.normal(1, 0.5, (1, count, 2))
        return {"output": raw}, {"activation": "sigmoid"}
    centres = rng.uniform(0, 1, (count, 2)) * SIZE[::-1]
    sizes = rng.uniform(5, 40, (count, 2))
    if decoder in ("yolov5", "yolov8"):
        columns = 5 if decoder == "yolov5" else 4
        scores = rng.uniform(0, 1, (count, columns - 4 + classes))
        rows = np.concatenate([centres, sizes, scores], axis=1).astype(np.float32)[None]
        return {"output": rows if decoder == "yolov5" else rows.transpose(0, 2, 1).copy()}, {}
    logits = rng.normal(0, 2, (1, count, 1 + classes)).astype(np.float32)
    roles = {"outputs": {"boxes": "boxes", "scores": "scores"}, "activation": "softmax"}
    if decoder == "ultraface":
        unit = np.tile(SIZE[::-1], 2)
        boxes = np.concatenate([centres - sizes / 2, centres + sizes / 2], axis=1) / unit
        return {"scores": logits, "boxes": boxes[None].astype(np.float32)}, roles
    anchors = (np.concatenate([centres, sizes], axis=1) / np.tile(SIZE[::-1], 2)).tolist()
    offsets = rng.normal(0, 1, (1, count, 4)).astype(np.float32)
    return {"boxes": offsets, "scores": logits}, {**roles, "anchors": anchors, "order": "yxhw"}


@pytest.mark.parametrize("opset", [9, 11, 17])
@pytest.mark.parametrize("decoder", ["yolox", "yolov5", "yolov8", "ultraface", "ssd"])
def test_equals_the_runtime(decoder: str, opset: int) -> None:
    counts = []
    for seed in range(5):
        raw, parameters = head(decoder, np.random.default_rng(seed))
        expected, found = both(decoder, raw, {**parameters, "score_threshold": 0.2}, opset)
        same(expected, found)
        counts.append(len(expected))
    assert min(counts) > 5 and max(counts) < YOLOX_ROWS  # something was found, and something struck out


def test_three_outputs_of_yolox() -> None:
    raw, parameters = head("yolox", np.random.default_rng(3))
    rows = raw["output"]
    parts = {"scores": rows[..., 5:].copy(), "boxes": rows[..., :4].copy(), "objectness": rows[..., 4:5].copy()}
    expected, found = both("yolox", parts, {**parameters, "outputs": {name: name for name in parts}})
    same(expected, found)
    alone, _ = both("yolox", raw, parameters)
    same(alone, found)


@pytest.mark.parametrize(
    "parameters",
    [
        {"class_agnostic": True},
        {"max_detections": 3},
        {"iou_threshold": 0.9},
        {"score_threshold": 1.0},
        {"score_threshold": 0.0},
    ],
)
def test_the_decoders_parameters_count(parameters: dict[str, Any]) -> None:
    raw, usual = head("yolov5", np.random.default_rng(1))
    expected, found = both("yolov5", raw, {**usual, **parameters})
    same(expected, found)
    assert (len(found) == 0) == (parameters.get("score_threshold") == 1.0)


def test_ties_and_scores_at_the_threshold() -> None:
    """By hand: of equal boxes with equal scores the first stays; a score that equals the threshold counts."""
    rows = np.zeros((1, 4, 6), np.float32)
    rows[0, :, :4] = [[20, 20, 10, 10], [20, 20, 10, 10], [50, 20, 10, 10], [50, 21, 10, 10]]
    rows[0, :, 4] = 1
    rows[0, :, 5] = [0.5, 0.5, 0.25, 0.125]
    expected, found = both("yolov5", {"output": rows}, {"score_threshold": 0.25})
    same(expected, found)
    np.testing.assert_allclose(found.boxes, [[15, 15, 25, 25], [45, 15, 55, 25]], atol=1e-4)
    assert found.scores.tolist() == [0.5, 0.25]


@pytest.mark.parametrize(
    ("decoder", "parameters", "kind", "message"),
    [
        (
            "yolo-v1",
            {},
            UnsupportedError,
            "written for decoder yolox, yolov5, yolov8, ultraface, ssd; received 'yolo-v1'",
        ),
        ("yolov5", {"method": "matrix"}, UnsupportedError, "suppressed hard only; received method 'matrix'"),
        ("yolov5", {"iou_threshold": 2}, InputError, "iou_threshold of decoder 'yolov5' must be a number in"),
    ],
)
def test_refused(decoder: str, parameters: dict[str, Any], kind: type[Exception], message: str) -> None:
    shapes = {"output": (1, 10, 7)}
    with pytest.raises(kind, match=message):
        append_suppression(echo(shapes, 13), manifest_of(decoder, shapes, parameters))
