"""Which tensors an aware network rounds: those that the artefact stores, but never the logits."""

from __future__ import annotations

from collections.abc import Collection

from edgecv_export.quantize.graph import Graph, Step
from edgecv_export.quantize.simulate import StoredTensors

# Layers that leave values as they are.
_SHAPING = frozenset({"Reshape", "Flatten", "Permute", "Identity", "Dropout"})
_CONVOLUTIONS = frozenset({"Conv2D", "DepthwiseConv2D"})


def stored_layers(graph: Graph, float_layers: Collection[str] = (), *, fused_sums: bool = False) -> dict[int, str]:
    """The stored tensors and the names of the layers that give them, in order of computation.

    Logits decide the answer and keep all their precision, also behind a reshaping at the very end. With `fused_sums`
    a convolution that is added to something is not rounded before: OpenVINO computes both in one kernel, which leaves
    out the rounding between them although the graph asks for it. Of two convolutions it is the first input of the
    sum; a convolution of the very tensor that it is added to is computed, and rounded, apart.
    """
    stored = StoredTensors(graph, float_layers).layers
    exact = {_summed(graph, step) for step in graph.steps if type(step.layer).__name__ == "Add"} if fused_sums else ()
    return {tensor: name for tensor, name in stored.items() if not (_is_output(graph, tensor) or tensor in exact)}


def _summed(graph: Graph, addition: Step) -> int | None:
    """The input of a sum that is computed in the same kernel with it."""
    for tensor in addition.inputs:
        before = graph.producer(tensor)
        while before is not None and type(before.layer).__name__ in ("Dropout", "Identity"):
            tensor = before.inputs[0]
            before = graph.producer(tensor)
        if before is None or type(before.layer).__name__ not in _CONVOLUTIONS or not graph.only_consumer(tensor):
            continue
        if set(before.inputs).isdisjoint(addition.inputs):
            return tensor
    return None


def _is_output(graph: Graph, tensor: int) -> bool:
    if tensor in graph.outputs:
        return True
    follower = graph.only_consumer(tensor)
    if follower is None or type(follower.layer).__name__ not in _SHAPING:
        return False
    return _is_output(graph, follower.outputs[0])
