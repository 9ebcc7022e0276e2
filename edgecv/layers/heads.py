"""The end of a classifier. The softmax is always a layer of its own, so that the logits are one step away."""

from __future__ import annotations

from typing import Any

from edgecv_runtime.errors import InputError


def softmax(x: Any, activation: str | None, name: str) -> Any:
    """The last step of a classifier: (N, classes) logits to probabilities, or the logits themselves.

    Parameters
    ----------
    x : (N, classes) tensor
    activation : {"softmax", None}
    name : str
        Of the softmax layer.

    Raises
    ------
    InputError
        Another activation.
    """
    import keras

    if activation is None:
        return x
    if activation != "softmax":
        raise InputError(f"classifier_activation must be 'softmax' or None; received {activation!r}")
    return keras.layers.Activation("softmax", name=name)(x)
