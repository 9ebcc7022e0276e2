"""Which tensors an aware network rounds: those that the artefacts store, but never the logits."""

from __future__ import annotations

from collections.abc import Collection

from edgecv_export.quantize.graph import Graph
from edgecv_export.quantize.simulate import StoredTensors

# Layers that leave values as they are.
_SHAPING = frozenset({"Reshape", "Flatten", "Permute", "Identity", "Dropout"})


def stored_layers(graph: Graph, float_layers: Collection[str] = ()) -> dict[int, str]:
    """The stored tensors and the names of the layers that give them, in order of computation.

    Logits decide the answer and keep all their precision, also behind a reshaping at the very end.
    """
    stored = StoredTensors(graph, float_layers).layers
    return {tensor: name for tensor, name in stored.items() if not _is_output(graph, tensor)}


def _is_output(graph: Graph, tensor: int) -> bool:
    if tensor in graph.outputs:
        return True
    follower = graph.only_consumer(tensor)
    if follower is None or type(follower.layer).__name__ not in _SHAPING:
        return False
    return _is_output(graph, follower.outputs[0])
