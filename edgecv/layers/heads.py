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


def classifier(x: Any, classes: int, activation: str | None, dropout: float = 0.0) -> Any:
    """Global average pooling, dropout, a dense layer and the softmax.

    The layers are called ``avg_pool``, ``dropout``, ``predictions`` and ``probabilities`` in every network that ends
    so: the map that ``avg_pool`` takes in is the one that class activation maps are drawn from, with the weights of
    ``predictions``.

    Parameters
    ----------
    x : (N, H, W, C) tensor
        Or (N, L, C) of a signal.
    classes : int
    activation : {"softmax", None}
        None ends with the logits.
    dropout : float in [0, 1)
        Share of the means dropped while training; 0 leaves the layer out.

    Returns
    -------
    (N, classes) tensor

    Raises
    ------
    InputError
        Another activation.
    """
    import keras

    layers = keras.layers
    pooling = {3: layers.GlobalAveragePooling1D, 4: layers.GlobalAveragePooling2D, 5: layers.GlobalAveragePooling3D}
    x = pooling[len(x.shape)](name="avg_pool")(x)
    if dropout > 0:
        x = layers.Dropout(dropout, name="dropout")(x)
    x = layers.Dense(classes, name="predictions")(x)
    return softmax(x, activation, "probabilities")


def dense_classifier(
    x: Any, classes: int, activation: str | None, *, dense_width: int = 4096, count: int = 2, dropout: float = 0.5
) -> Any:
    """Flatten, dense layers with dropout, and the softmax: the end of AlexNet and of VGG.

    Parameters
    ----------
    x : (N, H, W, C) tensor
    classes : int
    activation : {"softmax", None}
    dense_width, count : int
        Of the dense layers ``fc1``, ``fc2``, ... with ReLU.
    dropout : float in [0, 1)
        After each of them while training; 0 leaves it out.

    Returns
    -------
    (N, classes) tensor
    """
    import keras

    layers = keras.layers
    x = layers.Flatten(name="flatten")(x)
    for number in range(1, count + 1):
        x = layers.Dense(dense_width, activation="relu", name=f"fc{number}")(x)
        if dropout > 0:
            x = layers.Dropout(dropout, name=f"dropout{number}")(x)
    x = layers.Dense(classes, name="predictions")(x)
    return softmax(x, activation, "probabilities")
