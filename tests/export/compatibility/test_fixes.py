"""Safe changes to TFLite files."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from edgecv_export.compatibility import fixes, place
from edgecv_export.compatibility.fixes import apply_fixes
from edgecv_export.tflite_graph import read_graph
from edgecv_runtime.errors import CheckFailedError
from edgecv_targets import load_accelerator


@pytest.fixture
def floating_borders(tflite_file: Callable[..., bytes]) -> bytes:
    """An int8 layer between conversions, open in height."""
    open_height: dict[str, Any] = {"shape": (1, 1, 4, 3), "signature": (-1, -1, 4, 3)}
    tensors: dict[str, Any] = {
        "image": {**open_height, "dtype": "float32"},
        "a": {**open_height, "scale": 0.05, "zero": 3},
        "w": {"shape": (2, 1, 1, 3), "values": np.int8([[[[1, 2, 3]]], [[[4, 5, 6]]]]), "scale": [0.1, 0.2]},
        "bias": {"shape": (2,), "dtype": "int32", "values": np.int32([10, -10]), "scale": [0.005, 0.01]},
        "b": {"shape": (1, 1, 4, 2), "signature": (-1, -1, 4, 2), "scale": 0.5, "zero": -4},
        "answer": {"shape": (1, 1, 4, 2), "signature": (-1, -1, 4, 2), "dtype": "float32"},
    }
    options = {"strideH": 1, "strideW": 1, "dilationHFactor": 1, "dilationWFactor": 1}
    operators = [
        ("QUANTIZE", ["image"], ["a"], None, {}),
        ("CONV_2D", ["a", "w", "bias"], ["b"], "Conv2DOptions", options),
        ("DEQUANTIZE", ["b"], ["answer"], None, {}),
    ]
    return tflite_file(tensors, operators, ["image"], ["answer"])


def test_what_falls_back_before_runs_there_after(floating_borders: bytes) -> None:
    table = load_accelerator("ethos-u55")
    before = place(read_graph(floating_borders), table)
    assert [operator.where for operator in before] == ["cpu", "cpu", "cpu"]
    fixed = apply_fixes(floating_borders)
    graph = read_graph(fixed.content)
    assert [operator.where for operator in place(graph, table)] == ["accelerator"]
    assert (graph.inputs[0].dtype, graph.outputs[0].dtype) == ("int8", "int8")
    assert not any(tensor.dynamic for tensor in graph.tensors)
    assert [text.split(":")[0] for text in fixed.done] == ["static shapes", "integer input", "integer output"]


def test_the_answers_stay(floating_borders: bytes) -> None:
    """By hand: one pixel of int8 (13, 23, 33), that is 0.5, 1 and 1.5, through both filters."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=apply_fixes(floating_borders).content)
    interpreter.allocate_tensors()
    pixel = np.int8([13, 23, 33])
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], np.broadcast_to(pixel, (1, 1, 4, 3)))
    interpreter.invoke()
    found = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])[0, 0, 0]
    # 0.1·(1·0.5 + 2·1 + 3·1.5) + 0.05 = 0.75, and 0.2·(4·0.5 + 5·1 + 6·1.5) − 0.1 = 3.1; in steps of 0.5 around −4.
    assert found.tolist() in ([-4 + 2, -4 + 6], [-4 + 1, -4 + 6])


def test_nothing_to_fix_is_left_as_it_is(made: Callable[..., Any]) -> None:
    content = made("lenet", "tflite", "int8").bundle.artefact().model
    fixed = apply_fixes(content)
    assert (fixed.content, fixed.done) == (content, ())


def test_a_change_of_the_answers_is_refused(floating_borders: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    def spoil(draft: Any) -> tuple[str, ...]:
        draft.graph.tensors[draft.operators[1].inputs[1]].quantization.scale = [0.1, 0.25]
        return ("spoilt",)

    monkeypatch.setattr(fixes, "make_static", spoil)
    with pytest.raises(CheckFailedError, match="does not answer as the one before"):
        apply_fixes(floating_borders)
