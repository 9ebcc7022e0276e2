"""A network in a format's own converter and runtime, without a bundle: for inputs that are no images."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecv_export.formats.tracing import freeze, run_in_scopes
from edgecv_export.quantize.graph import functional

Array = npt.NDArray[np.float32]

OPSET = 17


def difference(model: Any, format: str, values: Array) -> float:
    """Convert a Keras model in float32, run it, and compare.

    Parameters
    ----------
    model : keras.Model
        Functional, one input and one output.
    format : {"tflite", "onnx", "openvino"}
    values : (1, ...) float32
        One input.

    Returns
    -------
    float
        Largest absolute difference of an output from Keras.
    """
    import tensorflow as tf

    network = functional(model)

    @tf.function(input_signature=[tf.TensorSpec(values.shape, tf.float32, name="input")])
    def serve(inputs: Any) -> Any:
        return run_in_scopes(network, inputs)

    run = {"tflite": _tflite, "onnx": _onnx, "openvino": _openvino}[format]
    return float(np.abs(run(freeze(serve), values) - np.asarray(model(values, training=False))).max())


def _tflite(frozen: Any, values: Array) -> Array:
    import tensorflow as tf
    from ai_edge_litert.interpreter import Interpreter

    content = tf.lite.TFLiteConverter.from_concrete_functions([frozen]).convert()
    interpreter = Interpreter(model_content=content)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], values)
    interpreter.invoke()
    found: Array = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    return found


def _to_onnx(frozen: Any) -> Any:
    import tf2onnx

    (first,), (last,) = frozen.inputs, frozen.outputs
    model, _ = tf2onnx.convert.from_graph_def(
        frozen.graph.as_graph_def(), input_names=[first.name], output_names=[last.name], opset=OPSET
    )
    return model


def _onnx(frozen: Any, values: Array) -> Array:
    import onnxruntime

    session = onnxruntime.InferenceSession(_to_onnx(frozen).SerializeToString(), providers=["CPUExecutionProvider"])
    found: Array = session.run(None, {session.get_inputs()[0].name: values})[0]
    return found


def _openvino(frozen: Any, values: Array) -> Array:
    import onnx
    import openvino

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.onnx")
        onnx.save(_to_onnx(frozen), path)
        compiled = openvino.compile_model(openvino.convert_model(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        found: Array = compiled([values])[0]
        return found.copy()
