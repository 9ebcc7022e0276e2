"""Close a graph of layers into a model, however deep it is; build one without weights."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
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


@contextmanager
def without_weights() -> Iterator[None]:
    """Build models whose weights have a shape and no values.

    For counting parameters, multiply-accumulates and memory: a network of 500 MB is built in a second or two and
    takes no memory. Such a model cannot be called, saved or given weights.

    Examples
    --------
    >>> from edgecv import create_model
    >>> with without_weights():
    ...     model = create_model("vgg16")
    >>> model.count_params()
    138357544
    """
    import keras
    from keras.src.backend.common import global_state

    # Keras notes every weight it has put off and would fill them all when the next scope ends.
    waiting = global_state.get_global_attribute("uninitialized_variables", [], set_to_default=True)
    known = len(waiting)
    try:
        with keras.StatelessScope(initialize_variables=False):
            yield
    finally:
        del waiting[known:]
