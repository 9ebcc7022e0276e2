"""Rounding with corrected biases, on cases whose shift is known."""

from __future__ import annotations

import weakref
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from edgecv_export.quantize.affine import Range
from edgecv_export.quantize.correct import (
    FLOAT16,
    INT8,
    INT8_WEIGHTS,
    Rounding,
    learnable_layers,
    round_and_correct,
)
from edgecv_export.quantize.kernels import channel_axes, has_kernel, kernel_of
from edgecv_runtime.errors import InputError, UnsupportedError


def single(kernel: list[list[float]], bias: list[float] | None = None, activation: str = "linear") -> Any:
    vector = keras.Input((len(kernel),))
    dense = layers.Dense(len(kernel[0]), use_bias=bias is not None, activation=activation)
    model = keras.Model(vector, dense(vector))
    dense.set_weights([np.array(kernel), *([np.array(bias)] if bias is not None else [])])
    return model


def corrected(model: Any, inputs: np.ndarray, rounding: Rounding, rounded_inputs: np.ndarray | None = None) -> Any:
    return round_and_correct(model, inputs, inputs if rounded_inputs is None else rounded_inputs, rounding)


def test_a_shift_by_hand() -> None:
    # 0.3 becomes 38/127; on inputs of mean 10 the output lacks 10 · (0.3 - 38/127)
    inputs = np.array([[2.0, 8.0], [4.0, 12.0]], np.float32)
    kernel, bias = corrected(single([[1.0], [0.3]], [0.5]), inputs, INT8_WEIGHTS).layers[-1].get_weights()
    np.testing.assert_allclose(kernel, [[1.0], [38 / 127]], rtol=1e-6)
    np.testing.assert_allclose(bias, [0.5 + 10 * (0.3 - 38 / 127)], rtol=1e-5)


def test_a_layer_without_bias_gets_one() -> None:
    inputs = np.array([[2.0, 10.0]], np.float32)
    network = corrected(single([[1.0], [0.3]]), inputs, INT8_WEIGHTS)
    np.testing.assert_allclose(network.layers[-1].bias, [10 * (0.3 - 38 / 127)], rtol=1e-4)
    np.testing.assert_allclose(network(inputs), [[5.0]], rtol=1e-6)


def test_a_half_level_of_the_input_is_made_up_for() -> None:
    # mean 127.5 on a uint8 grid is zero point 128: every value is half a level low
    inputs = np.random.default_rng(0).integers(0, 256, (50, 2)).astype(np.float32)
    network = corrected(single([[1.0, 0.5], [1.0, -0.5]]), inputs - 127.5, INT8_WEIGHTS, inputs - 128)
    np.testing.assert_allclose(network.layers[-1].bias, [1.0, 0.0], atol=1e-4)


def test_float16_by_hand() -> None:
    # float16(0.1) = 0.0999755859375; on inputs of 1000 the output lacks 0.0244156, in float16 0.0244140625
    network = corrected(single([[0.1]]), np.full((3, 1), 1000.0, np.float32), FLOAT16)
    kernel, bias = network.layers[-1].get_weights()
    assert kernel.item() == 0.0999755859375
    assert bias.item() == 0.0244140625


@pytest.mark.parametrize("activation", ["relu", "tanh", "softmax"])
def test_none_behind_a_non_linear_activation(activation: str) -> None:
    inputs = np.array([[2.0, 10.0]], np.float32)
    network = corrected(single([[1.0, 0.0], [0.3, 0.1]], [0.5, -0.5], activation), inputs, INT8_WEIGHTS)
    assert network.layers[-1].bias.numpy().tolist() == [0.5, -0.5]


def test_none_behind_a_layer_as_activation() -> None:
    vector = keras.Input((2,))
    model = keras.Model(vector, layers.Dense(1, activation=layers.LeakyReLU(0.2))(vector))
    model.set_weights([np.array([[1.0], [0.3]]), np.array([0.5])])
    assert corrected(model, np.ones((2, 2), np.float32), INT8_WEIGHTS).layers[-1].bias.numpy().tolist() == [0.5]


def test_later_layers_see_the_earlier_ones_corrected() -> None:
    keras.utils.set_random_seed(0)
    image = keras.Input((10, 10, 3))
    x = layers.ReLU()(layers.Conv2D(8, 3)(image))
    x = layers.ReLU()(layers.DepthwiseConv2D(3, depth_multiplier=2)(x))
    model = keras.Model(image, layers.Dense(4)(layers.Conv2DTranspose(6, 3)(x)))
    inputs = np.random.default_rng(0).normal(1, 1, (16, 10, 10, 3)).astype(np.float32)
    network = corrected(model, inputs, INT8_WEIGHTS)
    means = [np.asarray(one(inputs)).mean(axis=(0, 1, 2)) for one in (model, network)]
    np.testing.assert_allclose(means[0], means[1], atol=2e-5)
    uncorrected = keras.models.clone_model(model)
    uncorrected.set_weights(
        [
            weight if weight.ndim == 1 else kernel
            for weight, kernel in zip(model.get_weights(), network.get_weights(), strict=True)
        ]
    )
    assert np.abs(np.asarray(uncorrected(inputs)).mean(axis=(0, 1, 2)) - means[0]).max() > 2e-4


@pytest.mark.parametrize("rounding", [INT8, INT8_WEIGHTS, FLOAT16], ids=["int8", "weights", "float16"])
def test_kernels_are_on_their_grid_and_stay_there(rounding: Rounding) -> None:
    image = keras.Input((10, 10, 3))
    model = keras.Model(image, layers.Dense(4)(layers.ReLU()(layers.Conv2D(8, 3)(image))))
    inputs = np.random.default_rng(0).normal(0, 1, (4, 10, 10, 3)).astype(np.float32)
    network = corrected(model, inputs, rounding)
    for layer in network.layers:
        if has_kernel(layer):
            kernel = kernel_of(layer)
            np.testing.assert_allclose(rounding.kernel(kernel, channel_axes(layer)), kernel, rtol=3e-7)
    assert np.abs(np.asarray(network(inputs)) - np.asarray(model(inputs))).max() < 0.05


def test_the_argument_is_left_alone() -> None:
    model = single([[1.0], [0.3]], [0.5])
    corrected(model, np.ones((2, 2), np.float32), INT8)
    np.testing.assert_allclose(model.layers[-1].kernel, [[1.0], [0.3]])
    assert all(len(layer._inbound_nodes) == 1 for layer in model.layers)


def test_a_shared_layer_keeps_its_weights() -> None:
    vector = keras.Input((2,))
    dense = layers.Dense(2)
    model = keras.Model(vector, dense(layers.ReLU()(dense(vector))))
    inputs = np.random.default_rng(0).normal(0, 1, (8, 2)).astype(np.float32)
    network = corrected(model, inputs, INT8_WEIGHTS)
    np.testing.assert_array_equal(network.get_layer(dense.name).kernel, dense.kernel)
    np.testing.assert_allclose(network(inputs), model(inputs), atol=1e-6)


def test_the_same_seed_gives_the_same_network() -> None:
    image = keras.Input((64, 64, 3))
    model = keras.Model(image, layers.Conv2D(4, 3)(layers.ReLU()(layers.Conv2D(32, 3)(image))))
    inputs = np.random.default_rng(0).normal(0, 1, (4, 64, 64, 3)).astype(np.float32)
    first, second = (corrected(model, inputs, INT8).get_weights() for _ in range(2))
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one, other)


class Spy(layers.Layer):
    """Remembers, weakly, what passed through all of them."""

    seen: list[Any] = []  # noqa: RUF012  # shared on purpose
    most = 0

    def call(self, inputs: Any) -> Any:
        if not keras.backend.is_keras_tensor(inputs) and hasattr(inputs, "numpy"):
            Spy.seen.append(weakref.ref(inputs))
            Spy.most = max(Spy.most, sum(ref() is not None for ref in Spy.seen))
        return inputs * 1.0


def test_values_are_dropped_once_nobody_needs_them() -> None:
    vector = keras.Input((4,))
    x = vector
    for _ in range(20):
        x = Spy()(layers.Dense(4)(x))
    model = keras.Model(vector, x)
    Spy.seen.clear()
    corrected(model, np.ones((2, 4), np.float32), INT8_WEIGHTS)
    assert len(Spy.seen) >= 40  # both networks
    assert Spy.most <= 4


# -- learned rounding, float layers, ranges ------------------------------------------------------------------------


def small_network() -> Any:
    keras.utils.set_random_seed(2)
    image = keras.Input((12, 12, 3))
    x = layers.ReLU(6.0, name="relu_a")(layers.Conv2D(8, 3, strides=2, padding="same", name="a")(image))
    x = layers.ReLU(6.0, name="relu_b")(layers.DepthwiseConv2D(3, padding="same", name="b")(x))
    x = layers.ReLU(6.0, name="relu_c")(layers.Conv2D(16, 1, name="c")(x))
    model = keras.Model(image, layers.Dense(10, name="d")(layers.GlobalAveragePooling2D()(x)))
    generator = np.random.default_rng(0)
    for layer in model.layers:
        if has_kernel(layer):  # few levels for most weights, so that rounding matters
            kernel = generator.normal(0, 1, layer.kernel.shape) ** 3
            layer.kernel.assign(kernel / np.sqrt((kernel**2).sum() / kernel.shape[-1]))
    return model


def photographs(count: int) -> np.ndarray:
    """Smooth, as pictures are."""
    colours = np.array([[1, 1, 1], [1, 0, -1], [0.3, -0.6, 0.3]])
    noise = np.random.default_rng(5).normal(0, 1, (count, 12, 12, 3)) @ colours
    for axis in (1, 2):
        noise = noise + np.roll(noise, 1, axis) + np.roll(noise, 2, axis)
    return noise.astype(np.float32)


def test_learned_rounding_answers_better() -> None:
    model, inputs = small_network(), photographs(192)
    seen, unseen = inputs[:128], inputs[128:]
    assert learnable_layers(model) == ("a", "b", "c", "d")
    wanted = np.asarray(model(unseen))
    errors = []
    for names in ((), learnable_layers(model)):
        network = round_and_correct(model, seen, seen, INT8_WEIGHTS, adaround=names)
        errors.append(float(np.mean((np.asarray(network(unseen)) - wanted) ** 2)))
        for layer in network.layers:
            if has_kernel(layer):
                again = INT8.kernel(kernel_of(layer), channel_axes(layer))
                np.testing.assert_allclose(again, kernel_of(layer), rtol=3e-7)
    assert errors[1] < 0.8 * errors[0]


def test_only_the_named_layers_learn() -> None:
    model, inputs = small_network(), photographs(16)
    network = round_and_correct(model, inputs, inputs, INT8, adaround=["c"])
    nearest = round_and_correct(model, inputs, inputs, INT8)
    for name in "abd":
        np.testing.assert_array_equal(network.get_layer(name).kernel, nearest.get_layer(name).kernel)
    assert np.any(kernel_of(network.get_layer("c")) != kernel_of(nearest.get_layer("c")))


def test_learned_rounding_twice_is_the_same() -> None:
    model, inputs = small_network(), photographs(200)  # more positions than are looked at
    first, second = (round_and_correct(model, inputs, inputs, INT8, adaround="abcd").get_weights() for _ in range(2))
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_float_layer_keeps_its_kernel() -> None:
    model, inputs = small_network(), photographs(16)
    network = round_and_correct(model, inputs, inputs, INT8, float_layers=["b"])
    np.testing.assert_array_equal(network.get_layer("b").kernel, model.get_layer("b").kernel)
    assert np.any(kernel_of(network.get_layer("a")) != kernel_of(model.get_layer("a")))


def test_without_correction_the_biases_stay() -> None:
    model, inputs = small_network(), photographs(16)
    network = round_and_correct(model, inputs, inputs, INT8, correct=False)
    corrected_network = round_and_correct(model, inputs, inputs, INT8)
    for name in "abcd":
        np.testing.assert_array_equal(network.get_layer(name).bias, model.get_layer(name).bias)
        assert np.any(network.get_layer(name).bias != corrected_network.get_layer(name).bias)


def test_a_bias_makes_up_for_a_clipped_range() -> None:
    # x is 0..9, mean 4.5; a range to 5 gives it mean (0+1+2+3+4+5·5) / 10 = 3.5, which the next layer's bias makes up
    vector = keras.Input((1,))
    x = layers.Dense(1, name="first")(vector)
    model = keras.Model(vector, layers.Dense(1, name="second")(x))
    model.set_weights([np.ones((1, 1)), np.zeros(1), np.ones((1, 1)), np.zeros(1)])
    inputs = np.arange(10, dtype=np.float32)[:, None]
    network = round_and_correct(model, inputs, inputs, INT8, ranges={"first": Range(0, 5.0)})
    np.testing.assert_allclose(network.get_layer("second").bias, [1.0], atol=1e-5)
    # Four times as wide as 0..9, every level is 36/255: the mean of the rounded values, by numpy
    network = round_and_correct(model, inputs, inputs, INT8, widen=4.0)
    level = 36 / 255
    expected = 4.5 - float(np.mean(np.rint(inputs / level) * level))
    np.testing.assert_allclose(network.get_layer("second").bias, [expected], atol=1e-5)


def test_what_does_not_apply_is_refused() -> None:
    model, inputs = small_network(), photographs(2)
    with pytest.raises(InputError, match="adaround must name layers of .*; 'z' is none"):
        round_and_correct(model, inputs, inputs, INT8, adaround=["z"])
    with pytest.raises(InputError, match="float_layers must name layers"):
        round_and_correct(model, inputs, inputs, INT8, float_layers=["z"])
    with pytest.raises(UnsupportedError, match="learned for int8 weights only"):
        round_and_correct(model, inputs, inputs, FLOAT16, adaround=["a"])
