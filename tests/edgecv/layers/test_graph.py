"""Graphs without weights, and the last feature map of a classifier."""

from __future__ import annotations

import keras
import pytest

from edgecv.layers.graph import last_feature_map, without_weights
from edgecv_runtime.errors import InputError

layers = keras.layers


def test_without_weights_counts_and_allocates_nothing() -> None:
    from keras.src.backend.common import global_state

    with without_weights():
        image = keras.Input((64, 64, 3))
        x = layers.BatchNormalization()(layers.Conv2D(8, 3)(image))
        # 30,752 · 1,000,000 numbers: 123 GB, if they were there.
        model = keras.Model(image, layers.Dense(1_000_000)(layers.Flatten()(x)))
    assert model.count_params() == 3 * 9 * 8 + 8 + 4 * 8 + (62 * 62 * 8 + 1) * 1_000_000
    assert model.output_shape == (None, 1_000_000)
    assert not global_state.get_global_attribute("uninitialized_variables")


def test_models_built_afterwards_have_weights() -> None:
    with without_weights():
        layers.Dense(3).build((None, 4))
    dense = layers.Dense(3, kernel_initializer="ones")
    dense.build((None, 4))
    assert float(keras.ops.sum(dense.kernel)) == 12


def test_last_feature_map_is_what_pooling_and_flattening_take_in() -> None:
    for ending in (layers.GlobalAveragePooling2D(), layers.GlobalMaxPooling2D(keepdims=True), layers.Flatten()):
        image = keras.Input((16, 16, 3))
        x = wanted = layers.Conv2D(5, 3, name="features")(image)
        x = layers.Dropout(0.1)(ending(x))
        x = layers.Flatten()(x) if len(x.shape) == 4 else x
        assert last_feature_map(keras.Model(image, layers.Softmax()(layers.Dense(2)(x)))) is wanted


def test_a_model_without_a_last_map_is_refused() -> None:
    image = keras.Input((16, 16, 3))
    with pytest.raises(InputError, match="has no layer that joins all positions"):
        last_feature_map(keras.Model(image, layers.Conv2D(2, 1)(image)))
