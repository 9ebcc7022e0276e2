"""Simulated 8-bit activations: which tensors are stored, with what range, and what that does."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from edgecv_export.quantize.affine import Range
from edgecv_export.quantize.graph import Graph
from edgecv_export.quantize.simulate import StoredTensors, simulate, stored_ranges
from edgecv_runtime.errors import InputError


@pytest.fixture(scope="module")
def network() -> Any:
    keras.utils.set_random_seed(0)
    image = keras.Input((8, 8, 3))
    x = layers.ReLU(6.0, name="relu")(layers.Conv2D(4, 3, padding="same", name="conv")(image))
    y = layers.Activation("swish", name="swish")(layers.Conv2D(4, 1, name="point")(x))
    x = layers.Add(name="add")([x, y])
    x = layers.Flatten(name="flat")(layers.MaxPooling2D(name="pool")(x))
    return keras.Model(image, layers.Dense(5, name="head")(x))


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).normal(0, 3, (20, 8, 8, 3)).astype(np.float32)


def test_stored_tensors_by_name(network: Any) -> None:
    # A ReLU6 is computed with its convolution, a swish is not; pooling hands on; the logits have a range of their own
    assert sorted(StoredTensors(Graph(network)).names.values()) == ["add", "point", "relu", "swish"]


@pytest.mark.parametrize("name", ["conv", "relu"])
def test_a_float_layer_takes_its_activation_along(network: Any, name: str) -> None:
    assert sorted(StoredTensors(Graph(network), [name]).names.values()) == ["add", "point", "swish"]


def test_a_layer_called_twice_is_numbered() -> None:
    vector = keras.Input((3,))
    dense = layers.Dense(3, name="twice")
    graph = Graph(keras.Model(vector, layers.Dense(2, name="head")(dense(dense(vector)))))
    assert sorted(StoredTensors(graph).names.values()) == ["twice", "twice:1"]
    assert set(StoredTensors(graph).layers.values()) == {"twice"}


def test_ranges_are_those_of_the_layers_outputs(network: Any, images: np.ndarray) -> None:
    found = stored_ranges(network, images)
    for name in ("relu", "swish", "add"):
        values = np.asarray(keras.Model(network.inputs[0], network.get_layer(name).output)(images))
        assert (found[name].low, found[name].high) == pytest.approx((min(values.min(), 0), values.max()), rel=1e-5)


def test_widened_and_given_ranges(network: Any, images: np.ndarray) -> None:
    plain = stored_ranges(network, images)
    wide = stored_ranges(network, images, widen=16.0, ranges={"relu": Range(-1.0, 2.0)})
    assert wide["add"].high == pytest.approx(16 * plain["add"].high)
    assert wide["swish"].low == pytest.approx(16 * plain["swish"].low)
    assert wide["relu"] == Range(-1.0, 2.0)
    assert "relu" not in stored_ranges(network, images, float_layers=["conv"])


def test_an_estimator_goes_through(network: Any, images: np.ndarray) -> None:
    plain, cut = stored_ranges(network, images), stored_ranges(network, images, estimator="mse")
    assert cut["point"].scale < plain["point"].scale


def test_simulation_by_hand() -> None:
    # 1.26 lies between levels 1.2 and 1.3 of the range 0..25.5, and 40 beyond its end
    vector = keras.Input((1,))
    x = layers.Dense(1, use_bias=False, name="first")(vector)
    model = keras.Model(vector, layers.Dense(1, use_bias=False)(x))
    model.set_weights([np.ones((1, 1)), np.full((1, 1), 2.0)])
    found = simulate(model, np.array([[1.26], [40.0]], np.float32), {"first": Range(0, 25.5)})
    np.testing.assert_allclose(found, [[2.6], [51.0]], rtol=1e-6)


def test_without_ranges_it_is_the_network(network: Any, images: np.ndarray) -> None:
    np.testing.assert_allclose(simulate(network, images, {}), network(images), atol=1e-5)


def test_fine_ranges_cost_little_and_coarse_ones_much(network: Any, images: np.ndarray) -> None:
    expected = np.asarray(network(images))
    fine = np.abs(simulate(network, images, stored_ranges(network, images)) - expected).mean()
    coarse = np.abs(simulate(network, images, stored_ranges(network, images, widen=16.0)) - expected).mean()
    assert fine < 0.02 * np.abs(expected).mean()
    assert 8 * fine < coarse < 32 * fine


def test_names_that_no_layer_has_are_refused(network: Any, images: np.ndarray) -> None:
    with pytest.raises(InputError, match="float_layers must name layers of .*; 'covn' is none"):
        stored_ranges(network, images, float_layers=["covn"])
    with pytest.raises(InputError, match="ranges must name layers of .*; 'x' is none"):
        stored_ranges(network, images, ranges={"x": Range(0, 1)})
    with pytest.raises(InputError, match="widen must be above 0; received 0"):
        stored_ranges(network, images, widen=0.0)
