"""Close a graph of layers into a model, however deep it is."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import keras

_FRAMES = 20_000


def functional(inputs: Any, outputs: Any, name: str) -> keras.Model:
    """``keras.Model(inputs, outputs)`` for graphs of thousands of layers too.

    Keras walks the graph recursively, with one frame per layer; Python's limit of 1,000 frames ends that
    at an EfficientNet of φ = 8. The limit is raised for this one call.
    """
    import keras

    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(max(limit, _FRAMES))
    try:
        return keras.Model(inputs, outputs, name=name)
    finally:
        sys.setrecursionlimit(limit)
