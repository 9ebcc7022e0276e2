"""Heads for a backbone: pooled classifiers, classification with localization, landmarks; and the losses of points.

This module imports Keras when it is imported.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from edgecv.layers.heads import softmax
from edgecv_runtime.errors import InputError

_PACKAGE = "edgecv"
POOLINGS = ("average", "max")


def pooled_features(x: Any, pooling: str = "average") -> Any:
    """(N, H, W, C) to (N, C): global average pooling (Lin et al. 2014) or global max pooling (Oquab et al. 2015).

    The average asks how much of the picture shows a feature, the maximum whether any place does.

    Raises
    ------
    InputError
        Another pooling.
    """
    if pooling not in POOLINGS:
        raise InputError(f"pooling must be one of {', '.join(POOLINGS)}; received {pooling!r}")
    layer = keras.layers.GlobalAveragePooling2D if pooling == "average" else keras.layers.GlobalMaxPooling2D
    return layer(name=f"{pooling}_pool")(x)


def with_classifier(
    backbone: keras.Model, classes: int, pooling: str = "average", activation: str | None = "softmax"
) -> keras.Model:
    """A backbone (``include_top=False``) as a classifier, by GAP or GMP.

    Raises
    ------
    InputError
        The backbone gives no feature map, or another pooling or activation.
    """
    x = keras.layers.Dense(classes, name="predictions")(pooled_features(_map_of(backbone), pooling))
    return keras.Model(backbone.input, softmax(x, activation, "probabilities"), name=f"{backbone.name}_{pooling}")


def with_localization(backbone: keras.Model, classes: int, pooling: str = "average") -> keras.Model:
    """Classification with localization: what the one object of a picture is, and where.

    Returns
    -------
    keras.Model
        To a dict: ``classes`` (N, classes) probabilities and ``box`` (N, 4) as centre x, centre y, width and height, in
        shares of the picture. Train it with `localization_losses`.

    Raises
    ------
    InputError
        The backbone gives no feature map.
    """
    x = pooled_features(_map_of(backbone), pooling)
    scores = softmax(keras.layers.Dense(classes, name="predictions")(x), "softmax", "classes")
    box = keras.layers.Activation("sigmoid", name="box")(keras.layers.Dense(4, name="box_values")(x))
    return keras.Model(backbone.input, {"classes": scores, "box": box}, name=f"{backbone.name}_localization")


def localization_losses(alpha: float = 0.5) -> dict[str, Any]:
    """Arguments of ``model.compile`` for α · class loss + (1 − α) · box loss.

    The class loss is the cross-entropy of an index, the box loss `PointLoss`: a picture without an object has a box of
    −1 and trains its class alone.

    Raises
    ------
    InputError
        α outside 0..1.

    Examples
    --------
    >>> localization_losses(0.7)["loss_weights"]["classes"]
    0.7
    """
    if not 0 <= alpha <= 1:
        raise InputError(f"α must be in 0..1; received {alpha}")
    return {
        "loss": {"classes": keras.losses.SparseCategoricalCrossentropy(), "box": PointLoss()},
        "loss_weights": {"classes": alpha, "box": 1 - alpha},
    }


def with_landmarks(backbone: keras.Model, landmarks: int, pooling: str = "average") -> keras.Model:
    """A backbone with 2k outputs: x and y of each landmark, in shares of the picture. Train it with `PointLoss`.

    Raises
    ------
    InputError
        The backbone gives no feature map, or fewer than one landmark.
    """
    if landmarks < 1:
        raise InputError(f"the number of landmarks must be at least 1; received {landmarks}")
    x = pooled_features(_map_of(backbone), pooling)
    points = keras.layers.Dense(2 * landmarks, name="landmarks")(x)
    return keras.Model(backbone.input, points, name=f"{backbone.name}_landmarks")


def _map_of(backbone: keras.Model) -> Any:
    if len(backbone.output.shape) != 4:
        raise InputError(
            f"a backbone that ends in a feature map is required (include_top=False); it gives {backbone.output.shape}"
        )
    return backbone.output


@keras.saving.register_keras_serializable(package=_PACKAGE)
class PointLoss(keras.losses.Loss):
    """Mean squared distance of coordinates; those that are negative in the truth are not there and count nothing.

    ``loss(y_true, y_pred)``: both (N, D); one value per picture, the mean over its known coordinates.
    """

    def __init__(self, name: str = "points", **options: Any) -> None:
        super().__init__(name=name, **options)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        truth = ops.cast(y_true, y_pred.dtype)
        known = ops.cast(truth >= 0, y_pred.dtype)
        return ops.sum(known * ops.square(truth - y_pred), axis=-1) / ops.maximum(ops.sum(known, axis=-1), 1.0)
