"""A float detector from elsewhere: fed as ``edgecv wrap`` feeds it, quantized, and suppressing in its graph."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

import edgecv_runtime as ert

CLASSES, CELLS = 3, 8  # a grid of 8x8 cells of 8 pixels


@pytest.fixture
def detector(tmp_path: Path) -> Path:
    """A head as YOLOX has it, over one convolution with random weights."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(4)
    weights = {
        "stem": rng.normal(0, 0.002, (8, 3, 8, 8)),
        "boxes_w": rng.normal(0, 0.3, (4, 8, 1, 1)),
        "object_w": rng.normal(0, 1, (1, 8, 1, 1)),
        "class_w": rng.normal(0, 1, (CLASSES, 8, 1, 1)),
        "flat": np.array([1, 5 + CLASSES, CELLS**2]),
    }
    nodes = [
        helper.make_node("Conv", ["images", "stem"], ["features"], strides=[8, 8], name="first"),
        helper.make_node("Relu", ["features"], ["active"]),
        helper.make_node("Conv", ["active", "boxes_w"], ["boxes"]),
        helper.make_node("Conv", ["active", "object_w"], ["object_logits"]),
        helper.make_node("Sigmoid", ["object_logits"], ["object"]),
        helper.make_node("Conv", ["active", "class_w"], ["class_logits"]),
        helper.make_node("Sigmoid", ["class_logits"], ["kinds"]),
        helper.make_node("Concat", ["boxes", "object", "kinds"], ["joined"], axis=1),
        helper.make_node("Reshape", ["joined", "flat"], ["rows"]),
        helper.make_node("Transpose", ["rows"], ["output"], perm=[0, 2, 1]),
    ]
    graph = helper.make_graph(
        nodes,
        "head",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, 64, 64])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, [1, CELLS**2, 5 + CLASSES])],
        [
            numpy_helper.from_array(array.astype(np.int64 if name == "flat" else np.float32), name)
            for name, array in weights.items()
        ],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(made, tmp_path / "detector.onnx")
    return tmp_path / "detector.onnx"


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for index in range(8):
        coarse = np.random.default_rng(index).integers(0, 256, (6, 8, 3), np.uint8)
        cv2.imwrite(str(folder / f"{index}.png"), cv2.resize(coarse, (96, 72), interpolation=cv2.INTER_CUBIC))
    return folder


STRIDES = ("--set", "strides=[8]", "--set", "score_threshold=0.3")


@pytest.mark.parametrize("format", ["onnx", "openvino"])
def test_int8_reads_and_is_fed_as_the_wrapped_one(
    format: str, detector: Path, photos: Path, tmp_path: Path, edgecv_command: Callable[..., Any]
) -> None:
    words = ("--task", "detection", "--decoder", "yolox", *STRIDES)
    plain, small = tmp_path / "w.edgecv", tmp_path / "q.edgecv"
    assert edgecv_command("wrap", detector, *words, "-o", plain).status == 0
    ran = edgecv_command(
        "export", detector, *words, "--format", format, "--precision", "int8", "--calibrate", photos, "-o", small
    )  # fmt: skip
    assert (ran.status, ran.err) == (0, "")
    wrapped, made = (ert.Bundle(path).manifest for path in (plain, small))
    assert made.precision == "int8" and made.decoder == wrapped.decoder
    assert made.inputs[0].resize == wrapped.inputs[0].resize and made.inputs[0].color == "BGR"
    (kept,) = [entry["layers"] for entry in ert.Bundle(small).report()["advice"]]
    assert "first" not in kept and len(kept) == 3  # the head's own convolutions
    with ert.load(plain) as float_model, ert.load(small) as model:
        for path in sorted(photos.iterdir()):
            np.testing.assert_allclose(model.outputs(path)[0], float_model.outputs(path)[0], atol=0.03)
    assert ert.verify(small).passed


@pytest.mark.parametrize("format", ["onnx", "openvino"])
def test_suppression_in_the_graph(
    format: str, detector: Path, photos: Path, tmp_path: Path, edgecv_command: Callable[..., Any]
) -> None:
    words = ("--decoder", "yolox", *STRIDES)
    plain, listing = tmp_path / "w.edgecv", tmp_path / "n.edgecv"
    assert edgecv_command("wrap", detector, *words, "-o", plain).status == 0
    ran = edgecv_command("export", detector, *words, "--nms-in-graph", "--format", format, "-o", listing)
    assert (ran.status, ran.err) == (0, "")
    assert ert.Bundle(listing).manifest.decoder.name == "ssd-postprocessed"
    with ert.load(plain) as one, ert.load(listing) as other:
        for path in sorted(photos.iterdir()):
            expected, found = one(path), other(path)
            assert len(expected) > 0 and found.labels == expected.labels
            np.testing.assert_allclose(found.boxes, expected.boxes, atol=0.02)
            np.testing.assert_allclose(found.scores, expected.scores, atol=1e-4)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("lenet5", "--decoder", "yolox"), "--decoder is for a float model.onnx from elsewhere; received lenet5"),
        (("lenet5", "--nms-in-graph"), "--nms-in-graph is for a float model.onnx from elsewhere; received lenet5"),
        (("no.onnx", "--set", "strides=[8]"), "--set is for the decoder that --decoder names; received it alone"),
    ],
)
def test_refused(words: tuple[str, ...], message: str, tmp_path: Path, edgecv_command: Callable[..., Any]) -> None:
    ran = edgecv_command("export", *words, "--format", "onnx", "-o", tmp_path / "o.edgecv")
    assert ran.status == 2 and ran.err.splitlines()[-1].endswith(message)


def test_tflite_does_not_suppress_as_the_runtime(tmp_path: Path, edgecv_command: Callable[..., Any]) -> None:
    (tmp_path / "m.tflite").write_bytes(b"\x1c\x00\x00\x00TFL3")
    ran = edgecv_command(
        "wrap", tmp_path / "m.tflite", "--decoder", "ssd", "--nms-in-graph", "-o", tmp_path / "o.edgecv"
    )
    assert ran.status == 2 and "TFLite_Detection_PostProcess" in ran.err
