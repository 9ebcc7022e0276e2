"""``edgecv wrap``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import edgecv_runtime as ert


@pytest.fixture
def model(made: Callable[..., Any]) -> Path:
    return made("lenet", "tflite", "int8").bare


@pytest.fixture
def float_model(tmp_path: Path) -> Path:
    """The mean colour of an 8×8 picture."""
    import onnx
    from onnx import TensorProto, helper

    graph = helper.make_graph(
        [helper.make_node("ReduceMean", ["pixels"], ["scores"], axes=[2, 3], keepdims=0)],
        "mean",
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, [1, 3, 8, 8])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, 3])],
    )
    opset = helper.make_opsetid("", 13)
    onnx.save(helper.make_model(graph, opset_imports=[opset], ir_version=8), tmp_path / "mean.onnx")
    return tmp_path / "mean.onnx"


def test_text(edgecv_command: Callable[..., Any], model: Path, tmp_path: Path) -> None:
    out = tmp_path / "w.edgecv"
    words = ("--task", "classification", "--color", "GRAY", "--activation", "softmax", "-o", out)
    ran = edgecv_command("wrap", model, *words)
    assert (ran.status, ran.err) == (0, "")
    size = ert.Bundle(out).artefact().size
    assert ran.out.splitlines() == [
        'classification, decoder classification: activation "softmax"',
        f"tflite int8, {size / 1e3:,.0f} kB",
        "input 32x32 GRAY NHWC uint8, resize stretch, pixels as they are",
        f"wrote {out}",
    ]
    assert edgecv_command("verify", out).status == 0


def test_json_and_every_option(edgecv_command: Callable[..., Any], float_model: Path, tmp_path: Path) -> None:
    out, names = tmp_path / "w.edgecv", tmp_path / "names.txt"
    names.write_text("red\ngreen\nblue\n")
    ran = edgecv_command(
        "wrap", float_model, "--task", "classification", "--decoder", "classification", "--activation", "softmax",
        "--color", "BGR", "--layout", "NCHW", "--resize", "crop", "--crop-fraction", "0.875", "--interpolation", "area",
        "--mean", "10", "20", "30", "--std", "2", "--precision", "fp32", "--labels", names, "--json", "-o", out,
    )  # fmt: skip
    assert ran.status == 0, ran.err
    bundle = ert.Bundle(out)
    assert ran.json == {"bundle": str(out), "manifest": bundle.manifest.to_dict(), "report": bundle.report()}
    (spec,) = ran.json["manifest"]["inputs"]
    assert spec["normalization"] == {"mean": [10.0, 20.0, 30.0], "std": [2.0, 2.0, 2.0]}
    assert (spec["layout"], spec["color"]) == ("NCHW", "BGR")
    assert (spec["resize"]["mode"], spec["resize"]["crop_fraction"]) == ("crop", 0.875)
    assert spec["resize"]["interpolation"] == "area"
    assert ran.json["manifest"]["labels"] == ["red", "green", "blue"]
    assert ran.json["manifest"]["decoder"]["parameters"] == {"activation": "softmax"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "input 'pixels' takes float32: what it expects of a pixel must be given: "),
        (("--mean", "0"), "--mean and --std belong together; received only one of them"),
        (("--mean", "0", "1", "--std", "1"), "--mean and --std take one value or 3; received 2 and 3"),
        (("--mean", "0", "--std", "0"), "std must be positive; received (0.0, 0.0, 0.0)"),
        (("--layout", "CHW"), "--layout must be NHWC or NCHW; received 'CHW'"),
        (("--resize", "fit"), "resize mode must be stretch, letterbox or crop; received 'fit'"),
        (("--crop-fraction", "0.9"), "crop_fraction applies to mode 'crop' only; received 0.9 with mode 'stretch'"),
        (("--decoder", "yolo"), "decoder must be one of classification, yolox, yolov5, yolov8, "),
        (("--decoder", "yolox"), "task 'classification' is read by decoder classification; received 'yolox'"),
        (("--set", "activation"), "--set takes NAME=VALUE; received 'activation'"),
        (("--pad", "0"), "--align and --pad are for --resize letterbox; received --resize stretch"),
        (("--activation", "relu"), "activation must be one of none, softmax, sigmoid; received 'relu'"),
        (("--labels", "absent.txt"), "no label file at absent.txt"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_bad_input_is_one_line_and_status_2(
    words: tuple[str, ...], message: str, edgecv_command: Callable[..., Any], float_model: Path, tmp_path: Path
) -> None:
    ran = edgecv_command("wrap", float_model, "--task", "classification", *words, "-o", tmp_path / "w.edgecv")
    assert ran.status == 2
    assert ran.out == ""
    assert ran.err.startswith(f"edgecv wrap: {message}")
    assert ran.err.count("\n") == 1
    assert not (tmp_path / "w.edgecv").exists()


def test_another_task(edgecv_command: Callable[..., Any], float_model: Path, tmp_path: Path) -> None:
    ran = edgecv_command("wrap", float_model, "--task", "tracking", "-o", tmp_path / "w.edgecv")
    assert (ran.status, ran.err) == (
        2,
        "edgecv wrap: this version wraps classification, detection, segmentation, pose, embedding models; "
        "received task 'tracking'\n",
    )
    ran = edgecv_command("wrap", float_model, "-o", tmp_path / "w.edgecv")
    assert ran.status == 2 and "--task or --decoder is required" in ran.err
    ran = edgecv_command("wrap", float_model, "--task", "detection", "-o", tmp_path / "w.edgecv")
    assert ran.status == 2 and "--decoder, one of yolox, " in ran.err


def test_an_embedder_with_parameters_and_a_letterbox(
    edgecv_command: Callable[..., Any], float_model: Path, tmp_path: Path
) -> None:
    words = ("--decoder", "embedding", "--set", "normalize=false", "--mean", "0", "--std", "1")
    frame = ("--resize", "letterbox", "--align", "top-left", "--pad", "7")
    ran = edgecv_command("wrap", float_model, *words, *frame, "-o", tmp_path / "w.edgecv", "--json")
    assert ran.status == 0, ran.err
    manifest = ran.json["manifest"]
    assert manifest["task"] == "embedding"
    assert manifest["decoder"] == {"name": "embedding", "parameters": {"normalize": False}}
    rule = manifest["inputs"][0]["resize"]
    assert (rule["mode"], rule["align"], rule["pad_value"]) == ("letterbox", "top-left", 7)
