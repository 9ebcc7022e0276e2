"""One embedder on two pictures, and a head that weighs where their vectors differ (Taigman et al. 2014, DeepFace).

This module imports Keras when it is imported.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from keras import ops

from edgecv_runtime.errors import InputError

DIFFERENCES = ("absolute", "chi-squared")

_EPSILON = 1e-6


@keras.saving.register_keras_serializable(package="edgecv")
class VectorDifference(keras.layers.Layer):
    """Where two vectors differ, element by element: ``layer([a, b])``, (N, D) each, to (N, D).

    Parameters
    ----------
    kind : {"absolute", "chi-squared"}
        ``"absolute"``: |a − b| (DeepFace, section 4.2). ``"chi-squared"``: (a − b)² / (a + b) (section 4.1), which is
        for features of at least zero; of others the magnitudes are added.

    Raises
    ------
    InputError
        Another kind.
    """

    def __init__(self, kind: str = "absolute", **options: Any) -> None:
        super().__init__(**options)
        if kind not in DIFFERENCES:
            raise InputError(f"difference must be one of {', '.join(DIFFERENCES)}; received {kind!r}")
        self.kind = kind

    def call(self, inputs: Any) -> Any:
        a, b = inputs
        if self.kind == "absolute":
            return ops.abs(a - b)
        return ops.square(a - b) / (ops.abs(a) + ops.abs(b) + _EPSILON)

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape[0]

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "kind": self.kind}


def siamese_network(embedder: Any, difference: str = "absolute", normalize: bool = True) -> Any:
    """A network that says whether two pictures show one person.

    p = σ(b − Σᵢ αᵢ·dᵢ(f(x₁), f(x₂))), with the weights αᵢ learned beside the embedder f (DeepFace, section 4.2, eq. 2);
    compile it with a binary cross-entropy, 1 for the same person.

    Parameters
    ----------
    embedder : keras.Model
        From one image to (N, D); it is shared by both, and trained in place.
    difference : {"absolute", "chi-squared"}
    normalize : bool
        Bring the vectors to length one first, as the gallery compares them.

    Returns
    -------
    keras.Model
        From two images to (N, 1) probabilities.

    Raises
    ------
    InputError
        Another difference, or an embedder that does not give vectors.
    """
    if len(embedder.output_shape) != 2:
        raise InputError(f"an embedder must give (N, D); received a model that gives {embedder.output_shape}")
    images = [keras.Input(embedder.input_shape[1:], name=name) for name in ("first", "second")]
    vectors = [embedder(image) for image in images]
    if normalize:
        unit = keras.layers.UnitNormalization(name="unit")
        vectors = [unit(vector) for vector in vectors]
    differing = VectorDifference(difference, name="difference")(vectors)
    # Begun as a plain distance: every element that differs speaks against one person alike.
    weigh = keras.layers.Dense(1, kernel_initializer=keras.initializers.Constant(-1.0), name="weights")
    probability = keras.layers.Activation("sigmoid", name="probability")(weigh(differing))
    return keras.Model(images, probability, name=f"{embedder.name}_siamese")


def difference_weights(model: Any) -> npt.NDArray[np.float32]:
    """(D,) float32: the learned αᵢ, for a gallery that compares by the weighted distance."""
    return -ops.convert_to_numpy(model.get_layer("weights").kernel)[:, 0].astype(np.float32)
