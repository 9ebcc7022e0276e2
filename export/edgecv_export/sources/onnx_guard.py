"""What of an ONNX file stays in float for int8 to be worth having: found in the graph, and measured.

Two things ruin a detector in eight bits. Its head ends in a list in which coordinates, logits and scores share one
tensor: one scale for all leaves the small ones nothing. And now and then a convolution takes small differences of large
numbers, most often near the image: what rounding leaves of them is noise.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

_WEIGHTED = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
_ELEMENTWISE = frozenset({"Sigmoid", "Mul", "Relu", "LeakyRelu", "PRelu", "Clip", "HardSigmoid", "HardSwish", "Tanh"})

_IMAGES = 6
# Decibels of a convolution's output over what the rounding of its input alone makes of it. An even grid of 256 levels
# gives 28 to 40 behind an ordinary convolution.
LEAST_SIGNAL = 25.0
# Share of the picture's rows from which on a map is an early one. What is lost there is lost for all that follows: of
# YOLOX-nano's mAP50 of 51.4 % OpenVINO kept 38.4, 50.0, 51.3 and 51.6 with the first 1, 2, 3 and 6 convolutions in
# float.
EARLY = 0.25
_ALL_EARLY = "/early/"


def head_tail(model: Any) -> list[str]:
    """Names of the last convolutions and of what is behind them, where several tensors are joined there; else none.

    The last convolutions are few and small, and nothing behind them makes up for what rounding does to a coordinate.

    Parameters
    ----------
    model : onnx.ModelProto
        Every node has a name of its own.
    """
    readers = _readers(model.graph)
    before: set[str] = set()  # nodes that a convolution still follows
    for node in reversed(model.graph.node):
        following = [after for name in node.output for after in readers.get(name, [])]
        if any(after.op_type in _WEIGHTED or after.name in before for after in following):
            before.add(node.name)
    tail = [node for node in model.graph.node if node.name not in before]
    return [node.name for node in tail] if any(node.op_type == "Concat" for node in tail) else []


def fragile_convolutions(
    model: Any, values: Sequence[npt.NDArray[np.float32]], least_signal: float = LEAST_SIGNAL
) -> list[str]:
    """Names of the convolutions that the rounding of their input drowns, and of those that make that input.

    Parameters
    ----------
    model : onnx.ModelProto
        Float; batch norms folded; every node has a name of its own.
    values : sequence of arrays
        Calibration inputs; a few are looked at.
    least_signal : float
        Decibels.

    Notes
    -----
    For every convolution its input is rounded to 256 levels between the smallest and the largest value seen; measured
    is how far its own output moves, over all channels together. A convolution that must see its input unrounded needs
    the one before it, across the activation, in float, too: that would round before the activation. Where it is an
    early one, all early ones stay in float.
    """
    graph = model.graph
    convolutions = [node for node in graph.node if node.op_type == "Conv"]
    chosen = [values[index] for index in np.linspace(0, len(values) - 1, min(_IMAGES, len(values))).astype(int)]
    tensors = _observe(model, sorted({node.input[0] for node in convolutions}), chosen)
    makers = {name: node for node in graph.node for name in node.output}
    constants = {tensor.name: tensor for tensor in graph.initializer}
    image = graph.input[0].name
    rows = max(values[0].shape[1:3])
    found: list[str] = []
    early: list[str] = []
    for node in convolutions:
        if node.input[0] == image or not all(name in constants for name in node.input[1:]):
            continue
        signal, height = _signal(model, node, constants, tensors[node.input[0]])
        is_early = height >= EARLY * rows
        if is_early:
            early.append(node.name)
        if signal < least_signal:
            found += [node.name, *_makers_before(node, makers), *([_ALL_EARLY] if is_early else [])]
    if _ALL_EARLY in found:
        found = [name for name in (*found, *early) if name != _ALL_EARLY]
    return list(dict.fromkeys(found))


def _signal(
    model: Any, node: Any, constants: dict[str, Any], inputs: Sequence[npt.NDArray[np.float32]]
) -> tuple[float, int]:
    """Decibels of a convolution's output (its variance) over the change that rounding its input makes; its height."""
    import onnxruntime
    from onnx import TensorProto, helper

    graph = helper.make_graph(
        [node],
        "one",
        [helper.make_tensor_value_info(node.input[0], TensorProto.FLOAT, None)],
        [helper.make_tensor_value_info(node.output[0], TensorProto.FLOAT, None)],
        [constants[name] for name in node.input[1:]],
    )
    alone = helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)
    session = onnxruntime.InferenceSession(alone.SerializeToString(), providers=["CPUExecutionProvider"])
    low = min(0.0, *(float(array.min()) for array in inputs))
    step = (max(0.0, *(float(array.max()) for array in inputs)) - low) / 255
    power = noise = 0.0
    height = 0
    for array in inputs:
        rounded = (np.rint((array - low) / (step or 1.0)) * (step or 1.0) + low).astype(np.float32)
        exact, moved = (session.run(None, {node.input[0]: value})[0] for value in (array, rounded))
        height = exact.shape[2]
        power += float(exact.var(axis=(2, 3)).sum())
        noise += float(np.square(exact - moved).mean(axis=(2, 3)).sum())
    return 10 * float(np.log10(max(power, 1e-30) / max(noise, 1e-30))), height


def _makers_before(node: Any, makers: dict[str, Any]) -> list[str]:
    """The convolutions whose sums reach this one across activations alone."""
    found, waiting = [], [node.input[0]]
    while waiting:
        maker = makers.get(waiting.pop())
        if maker is None:
            continue
        if maker.op_type == "Conv":
            found.append(maker.name)
        elif maker.op_type in _ELEMENTWISE:
            waiting.extend(maker.input)
    return found


def _observe(
    model: Any, names: Sequence[str], values: Sequence[npt.NDArray[np.float32]]
) -> dict[str, list[npt.NDArray[np.float32]]]:
    """These tensors for every input."""
    import onnx
    import onnxruntime

    exposed = onnx.ModelProto()
    exposed.CopyFrom(model)
    image = model.graph.input[0].name
    present = {value.name for value in model.graph.output}
    wanted = [name for name in names if name != image]
    exposed.graph.output.extend(
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in wanted if name not in present
    )
    session = onnxruntime.InferenceSession(exposed.SerializeToString(), providers=["CPUExecutionProvider"])
    rows = [session.run(wanted, {image: value}) for value in values]
    return dict(zip(wanted, map(list, zip(*rows, strict=True)), strict=True)) | ({image: list(values)})


def _readers(graph: Any) -> dict[str, list[Any]]:
    readers: dict[str, list[Any]] = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    return readers


def name_nodes(model: Any) -> None:
    """Give every node without a name, or with another's, one of its own, in place."""
    taken: set[str] = set()
    for index, node in enumerate(model.graph.node):
        if not node.name or node.name in taken:
            node.name = f"{node.op_type}_edgecv_{index}"
        taken.add(node.name)
