"""Graphs without weights."""

from __future__ import annotations

import keras

from edgecv.layers.graph import without_weights

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
