"""Losses that draw pictures of one person together: contrastive, triplet, and the additive angular margin.

This module imports Keras when it is imported.
"""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import ops

from edgecv.metric_learning.distances import (
    different_people,
    euclidean,
    same_person,
    squared_distances,
    unit_vectors,
)
from edgecv.metric_learning.mining import STRATEGIES, mine
from edgecv_runtime.errors import InputError

_PACKAGE = "edgecv"


def triplet_terms(positive: Any, negative: Any, margin: float) -> Any:
    """max(0, ‖f(a) − f(p)‖² − ‖f(a) − f(n)‖² + α): Schroff et al. 2015, eq. 3, of squared distances."""
    return ops.relu(positive - negative + margin)


def contrastive_terms(distance: Any, same: Any, margin: float) -> Any:
    """½·d² for two pictures of one person, ½·max(0, m − d)² for two people: Hadsell et al. 2006, eq. 4.

    Parameters
    ----------
    distance : tensor
        Euclidean, not squared.
    same : bool tensor of that shape
    margin : float
        m: people farther apart than this are left alone.
    """
    return 0.5 * ops.where(same, ops.square(distance), ops.square(ops.relu(margin - distance)))


def _mean(terms: Any, valid: Any) -> Any:
    """Mean over what is valid; 0 where nothing is."""
    weights = ops.cast(valid, terms.dtype)
    return ops.sum(ops.where(valid, terms, 0.0)) / ops.maximum(ops.sum(weights), 1.0)


@keras.saving.register_keras_serializable(package=_PACKAGE)
class TripletLoss(keras.losses.Loss):
    """Triplet loss over a batch, with the triplets mined in it.

    ``loss(labels, embeddings)``: labels (N,), embeddings (N, D), which are brought to length one as in the paper.

    Parameters
    ----------
    margin : float
        α, of squared distances of unit vectors, which are at most 4 (the paper's is 0.2).
    mining : {"random", "semi-hard", "hard"}
        See `edgecv.metric_learning.mining.mine`.
    seed : int
        Of the random triplets.

    Raises
    ------
    InputError
        A margin that is not positive, or another mining.
    """

    def __init__(
        self, margin: float = 0.2, mining: str = "semi-hard", seed: int = 0, name: str = "triplet", **options: Any
    ) -> None:
        super().__init__(name=name, **options)
        if not margin > 0:
            raise InputError(f"margin must be above 0; received {margin!r}")
        if mining not in STRATEGIES:
            raise InputError(f"mining must be one of {', '.join(STRATEGIES)}; received {mining!r}")
        self.margin, self.mining, self.seed = margin, mining, seed
        self._draws = keras.random.SeedGenerator(seed)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        distances = squared_distances(unit_vectors(y_pred))
        triplets = mine(distances, y_true, self.mining, self._draws)
        return _mean(triplet_terms(triplets.positive, triplets.negative, self.margin), triplets.valid)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "margin": self.margin, "mining": self.mining, "seed": self.seed}


@keras.saving.register_keras_serializable(package=_PACKAGE)
class ContrastiveLoss(keras.losses.Loss):
    """Contrastive loss over all pairs of a batch; pairs of one person and of two weigh the same as a whole.

    ``loss(labels, embeddings)``: labels (N,), embeddings (N, D), which are brought to length one.

    Parameters
    ----------
    margin : float
        m, of distances of unit vectors, which are at most 2.

    Raises
    ------
    InputError
        A margin that is not positive.
    """

    def __init__(self, margin: float = 1.0, name: str = "contrastive", **options: Any) -> None:
        super().__init__(name=name, **options)
        if not margin > 0:
            raise InputError(f"margin must be above 0; received {margin!r}")
        self.margin = margin

    def call(self, y_true: Any, y_pred: Any) -> Any:
        distances = euclidean(squared_distances(unit_vectors(y_pred)))
        same, different = same_person(y_true), different_people(y_true)
        terms = contrastive_terms(distances, same, self.margin)
        # A batch holds many more pairs of two people than of one, who would otherwise hardly count.
        return 0.5 * (_mean(terms, same) + _mean(terms, different))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "margin": self.margin}


@keras.saving.register_keras_serializable(package=_PACKAGE)
class AngularMargin(keras.layers.Layer):
    """A classifier of people whose own class is made harder by an angle (ArcFace; Deng et al. 2019, eq. 3).

    ``layer([embeddings, labels])``: (N, D) and (N,) to (N, classes) logits s·cos(θ + m) for the person's own class and
    s·cos θ for the others, with θ the angle between vector and class centre. For a softmax cross-entropy; only the
    embedder is kept after training.

    Parameters
    ----------
    classes : int
        People that are trained on.
    margin : float
        m, radians.
    scale : float
        s.

    Raises
    ------
    InputError
        Fewer than two people, a margin outside [0, π/2] or a scale that is not positive.

    Notes
    -----
    cos(θ + m) rises again beyond θ = π − m. From there on cos θ − m·sin m is used, as in the authors' code: it goes on
    falling.
    """

    def __init__(self, classes: int, margin: float = 0.5, scale: float = 64.0, **options: Any) -> None:
        super().__init__(**options)
        if classes < 2 or not 0 <= margin <= math.pi / 2 or not scale > 0:
            raise InputError(
                "an angular margin needs at least 2 classes, a margin in [0, π/2] and a scale above 0; received "
                f"{classes}, {margin!r} and {scale!r}"
            )
        self.classes, self.margin, self.scale = classes, margin, scale

    def build(self, input_shape: Any) -> None:
        dimension = input_shape[0][-1]
        self.centres = self.add_weight(
            shape=(dimension, self.classes), initializer="glorot_uniform", trainable=True, name="centres"
        )

    def call(self, inputs: Any) -> Any:
        embeddings, labels = inputs
        cosine = ops.matmul(unit_vectors(embeddings), ops.transpose(unit_vectors(ops.transpose(self.centres))))
        cosine = ops.clip(cosine, -1.0, 1.0)
        sine = ops.sqrt(ops.maximum(1 - ops.square(cosine), 1e-12))
        harder = cosine * math.cos(self.margin) - sine * math.sin(self.margin)
        beyond = cosine - self.margin * math.sin(self.margin)
        harder = ops.where(cosine > math.cos(math.pi - self.margin), harder, beyond)
        own = ops.cast(ops.one_hot(ops.cast(ops.reshape(labels, (-1,)), "int32"), self.classes), "bool")
        return self.scale * ops.where(own, harder, cosine)

    def compute_output_shape(self, input_shape: Any) -> tuple[Any, ...]:
        return (input_shape[0][0], self.classes)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "classes": self.classes, "margin": self.margin, "scale": self.scale}


def with_angular_margin(embedder: Any, classes: int, margin: float = 0.5, scale: float = 64.0) -> Any:
    """The model to train an embedder with as a classifier: image and label in, logits out.

    Compile it with ``keras.losses.SparseCategoricalCrossentropy(from_logits=True)`` and give the labels twice, as
    input and as target. The embedder is trained in place.
    """
    label = keras.Input((), dtype="int32", name="label")
    image = keras.Input(embedder.input_shape[1:], name="image")
    logits = AngularMargin(classes, margin, scale, name="angular_margin")([embedder(image), label])
    return keras.Model([image, label], logits, name=f"{embedder.name}_angular_margin")
