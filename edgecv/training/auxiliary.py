"""Heads that a classifier has beside its own while it learns, and loses afterwards.

This module imports Keras when it is imported.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from edgecv.models.registry import Auxiliary


def learner_of(model: keras.Model, auxiliary: Auxiliary | None) -> keras.Model:
    """What is trained in place of a classifier: the same layers, and its auxiliary heads where it has any.

    Parameters
    ----------
    model : keras.Model
        Ending in (N, classes) probabilities.
    auxiliary : Auxiliary or None

    Returns
    -------
    keras.Model
        The argument itself where there are no heads, or its input is too small for them; else a model that ends in
        (N, 1 + heads, classes), the classifier's own answer first.
    """
    if auxiliary is None or min(model.input_shape[1:3]) < auxiliary.minimum_size:
        return model
    outputs = dict(auxiliary.build(model))
    answers = [outputs.pop("main"), *outputs.values()]
    return _Learner(model.inputs[0], keras.layers.Lambda(_stacked, name="answers")(answers), name=model.name)


def _stacked(answers: Any) -> Any:
    return ops.stack(answers, axis=1)


class _Learner(keras.Model):
    """Judges held-out pictures by the classifier's own answer."""

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Any:
        answers = y_pred if training else y_pred[:, :1]
        return super().compute_loss(x, y, answers, sample_weight, training)


class AuxiliaryCrossEntropy(keras.losses.Loss):
    """Cross-entropy of the first answer, and of each other one times a weight (Szegedy et al. 2015, section 5).

    Parameters
    ----------
    weight : float
    """

    def __init__(self, weight: float, name: str = "auxiliary_cross_entropy") -> None:
        super().__init__(name=name)
        self.weight = weight

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """(N,) losses of (N, classes) truths and (N, 1 + heads, classes) answers."""
        truth = ops.broadcast_to(ops.expand_dims(ops.cast(y_true, y_pred.dtype), 1), ops.shape(y_pred))
        each = keras.losses.categorical_crossentropy(truth, y_pred)
        return each[:, 0] + self.weight * ops.sum(each[:, 1:], axis=1)


def main_accuracy(y_true: Any, y_pred: Any) -> Any:
    """(N,): whether the classifier's own answer is right."""
    return keras.metrics.categorical_accuracy(y_true, y_pred[:, 0])


main_accuracy.__name__ = "accuracy"  # as Keras calls it in the history
