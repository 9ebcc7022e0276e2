"""Sensitivities of layers, by hand and against a plain run of the whole network."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from edgecv_export.quantize.affine import Range, quantize_weights
from edgecv_export.quantize.correct import INT8, INT8_WEIGHTS
from edgecv_export.quantize.kernels import channel_axes, kernel_of
from edgecv_export.quantize.sensitivity import layer_sensitivities
from edgecv_export.quantize.simulate import simulate, stored_ranges


def test_by_hand() -> None:
    # 0.3 becomes 38/127, 0.3 - 38/127 = 0.000787 of the second input; the mean of the error goes into the bias. The
    # second layer is exact.
    vector = keras.Input((2,))
    x = layers.Dense(1, use_bias=False, name="a")(vector)
    model = keras.Model(vector, layers.Dense(1, use_bias=False, name="b")(x))
    model.set_weights([np.array([[1.0], [0.3]]), np.array([[2.0]])])
    inputs = np.random.default_rng(0).normal(5, 1, (11, 2)).astype(np.float32)
    found = layer_sensitivities(model, inputs, INT8_WEIGHTS)
    assert list(found) == ["a", "b"]
    error = (2 * (0.3 - 38 / 127)) ** 2 * sum(part[:, 1].var() * len(part) for part in (inputs[:8], inputs[8:])) / 11
    assert found["a"] == pytest.approx(error / (2 * inputs @ [1, 0.3]).var(), rel=1e-2)
    assert found["b"] < 1e-12


@pytest.fixture(scope="module")
def network() -> Any:
    keras.utils.set_random_seed(1)
    image = keras.Input((8, 8, 3))
    x = layers.ReLU(name="relu")(layers.Conv2D(8, 3, padding="same", name="conv")(image))
    y = layers.ReLU(6.0)(layers.DepthwiseConv2D(3, padding="same", name="depthwise")(x))
    x = layers.Add()([x, layers.Conv2D(8, 1, name="point")(y)])
    return keras.Model(image, layers.Dense(5, name="head")(layers.GlobalAveragePooling2D()(x)))


@pytest.mark.parametrize(("name", "stored"), [("conv", "relu"), ("point", "point"), ("head", None)])
def test_as_the_whole_network_run_with_one_layer_changed(network: Any, name: str, stored: str | None) -> None:
    inputs = np.random.default_rng(0).normal(0, 1, (8, 8, 8, 3)).astype(np.float32)
    found = layer_sensitivities(network, inputs, INT8)
    changed = keras.models.clone_model(network)
    changed.set_weights(network.get_weights())
    layer = changed.get_layer(name)
    before = keras.Model(network.inputs[0], network.get_layer(name).output)(inputs)
    layer.kernel.assign(quantize_weights(kernel_of(layer), channel_axes(layer)))
    after = keras.Model(changed.inputs[0], layer.output)(inputs)
    layer.bias.assign(layer.bias + np.asarray(before - after).mean(axis=tuple(range(len(before.shape) - 1))))
    ranges = {stored: stored_ranges(network, inputs)[stored]} if stored else {}
    expected = np.asarray(network(inputs))
    error = np.mean((simulate(changed, inputs, ranges) - expected) ** 2) / expected.var()
    assert found[name] == pytest.approx(error, rel=1e-2)


def test_a_layer_with_a_foolish_range_stands_out(network: Any) -> None:
    inputs = np.random.default_rng(0).normal(0, 1, (8, 8, 8, 3)).astype(np.float32)
    found = layer_sensitivities(network, inputs, INT8, ranges={"point": Range(-100, 100)})
    assert max(found, key=lambda name: found[name]) == "point"
    assert found["point"] > 10 * layer_sensitivities(network, inputs, INT8)["point"]


def test_images_in_batches_count_alike(network: Any) -> None:
    inputs = np.random.default_rng(0).normal(0, 1, (8, 8, 8, 3)).astype(np.float32)
    once = layer_sensitivities(network, inputs, INT8)
    twice = layer_sensitivities(network, np.concatenate([inputs, inputs]), INT8)
    assert twice == pytest.approx(once, rel=1e-4)
