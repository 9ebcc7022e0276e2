"""Close a graph of layers into a model, however deep it is; build one without weights; find its last feature map."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from edgecv_runtime.errors import InputError

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


def last_feature_map(model: keras.Model) -> Any:
    """The last tensor of a classifier that still has positions: what class activation maps are drawn from.

    Parameters
    ----------
    model : keras.Model
        A graph of layers from an image, a signal or a volume to one vector.

    Returns
    -------
    (N, ..., C) tensor
        (N, H, W, C) of an image: what global pooling or flattening takes in.
        ``keras.Model(model.input, last_feature_map(model))`` computes it.

    Raises
    ------
    InputError
        No layer of the model joins all positions into a vector.

    Examples
    --------
    >>> from edgecv import create_model
    >>> last_feature_map(create_model("resnet18", (64, 64, 3))).shape
    (None, 2, 2, 512)
    """
    rank = len(model.input.shape)
    tensor, flattened = model.output, None
    while True:
        layer, index, _ = tensor._keras_history
        sources = layer._inbound_nodes[index].input_tensors
        if len(sources) != 1:
            break
        tensor, kind = sources[0], type(layer).__name__
        if kind.startswith("Global") and len(tensor.shape) == rank:
            return tensor
        if kind == "Flatten" and len(tensor.shape) == rank:
            flattened = tensor  # unless global pooling comes before it
    if flattened is None:
        raise InputError(f"{model.name} has no layer that joins all positions of a feature map into one vector")
    return flattened
