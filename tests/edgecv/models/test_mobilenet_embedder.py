"""MobileNet v2 as an embedder: the published features, and a head counted by hand."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import edgecv
from edgecv_runtime.errors import InputError

FEATURES = 2_257_984  # keras.applications.MobileNetV2 without its top


def test_parameters() -> None:
    # On 4×4×1280 features: a 4×4 depthwise kernel and a batch norm, 1280×128 weights and a batch norm.
    head = 16 * 1280 + 4 * 1280 + 1280 * 128 + 4 * 128
    assert edgecv.create_model("mobilenet_v2_embedder").count_params() == FEATURES + head
    averaged = edgecv.create_model("mobilenet_v2_embedder", pooling="average", dimension=64)
    assert averaged.count_params() == FEATURES + 1280 * 64 + 4 * 64
    assert averaged.output_shape == (None, 64)
    assert edgecv.create_model("mobilenet_v2_embedder", include_top=False).count_params() == FEATURES


def test_features_are_those_of_mobilenet_v2() -> None:
    model = edgecv.create_model("mobilenet_v2_embedder", (64, 64, 3), alpha=0.35)
    classifier = edgecv.create_model("mobilenet_v2", (64, 64, 3), alpha=0.35)
    for layer in classifier.layers:
        if layer.weights and layer.name != "predictions":
            model.get_layer(layer.name).set_weights(layer.get_weights())
    image = np.random.default_rng(0).uniform(-1, 1, (1, 64, 64, 3)).astype(np.float32)
    ours = keras.Model(model.input, model.get_layer("out_relu").output)
    theirs = keras.Model(classifier.input, classifier.get_layer("out_relu").output)
    assert np.array_equal(np.asarray(ours(image)), np.asarray(theirs(image)))


def test_refused() -> None:
    with pytest.raises(InputError, match="pooling must be one of depthwise, average; received 'max'"):
        edgecv.create_model("mobilenet_v2_embedder", pooling="max")
