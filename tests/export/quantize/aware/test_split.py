from __future__ import annotations

from typing import Any

import numpy as np

from edgecv_export.quantize.aware.split import split_names, split_unfused_activations


def test_gates_get_names_of_their_own(gated: Any, images: np.ndarray) -> None:
    split = split_unfused_activations(gated)
    names = {layer.name for layer in split.layers}
    assert {"a_se_reduce", "a_se_reduce_silu", "a_se_expand", "a_se_expand_sigmoid"} <= names
    assert split.get_layer("a_se_expand").activation.__name__ == "linear"
    np.testing.assert_allclose(split(images), gated(images), atol=1e-6)
    assert split_names(gated)["a_se_expand"] == "a_se_expand_sigmoid"
    assert split_names(split) == {}


def test_relu_stays_inside() -> None:
    import keras

    image = keras.Input((8, 8, 3))
    model = keras.Model(image, keras.layers.Conv2D(2, 3, activation="relu")(image))
    assert split_unfused_activations(model) is model
