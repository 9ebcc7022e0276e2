"""``edgecv advise``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest


def test_text(edgecv_command: Callable[..., Any]) -> None:
    ran = edgecv_command("advise", "efficientnet_b0", "--input-size", "64", "--format", "tflite", "--precision", "int8")
    assert (ran.status, ran.err) == (0, "")
    lines = ran.out.splitlines()
    assert lines[0].startswith("HIGH    Swish activations: stem_activation, ")
    assert lines[0].endswith(" and 45 more")
    assert any(line.startswith("MEDIUM  Squeeze-and-excitation gates: ") for line in lines)
    assert lines[-1] == "efficientnet_b0: 2 pieces of advice; without --weights nothing is known of its channel ranges"
    assert max(len(line) for line in lines if line.startswith(" ")) <= 100


def test_nothing_to_advise(edgecv_command: Callable[..., Any]) -> None:
    ran = edgecv_command("advise", "mobilenet_v1", "--alpha", "0.5", "--input-size", "96", "--classes", "10")
    said = "mobilenet_v1: nothing to advise; without --weights nothing is known of its channel ranges"
    assert (ran.status, ran.out.strip()) == (0, said)


def test_json(edgecv_command: Callable[..., Any]) -> None:
    ran = edgecv_command("advise", "lenet5", "--weights", "digits", "--json")
    assert ran.status == 0
    assert [advice["rule"] for advice in ran.json] == ["few_channels", "heavy_head"]
    assert edgecv_command("advise", "mobilenet_v1", "--json").json == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("lenet9",), "lenet9"),
        (("lenet5", "--format", "caffe"), "format must be one of tflite, onnx, openvino; received 'caffe'"),
        (("lenet5", "--precision", "int4"), "precision must be one of"),
        (("lenet5", "--alpha", "0.5"), "alpha"),
        (("lenet5", "--weights", "nowhere.h5"), "nowhere.h5"),
    ],
)
def test_bad_input(edgecv_command: Callable[..., Any], words: tuple[str, ...], said: str) -> None:
    ran = edgecv_command("advise", *words)
    assert (ran.status, ran.out) == (2, "")
    assert ran.err.startswith("edgecv advise: ")
    assert said in ran.err
    assert ran.err.count("\n") == 1
