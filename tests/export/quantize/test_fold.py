"""Folding changes the graph and not the function."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from edgecv_export.quantize.fold import fold_batch_norms, split_activation


def disturb(model: Any, seed: int = 0) -> None:
    """Statistics, gains and biases far from their initial values."""
    generator = np.random.default_rng(seed)
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            values = []
            for weight in layer.weights:
                positive = weight.name in ("gamma", "moving_variance")
                draw = generator.uniform(0.3, 3, weight.shape) if positive else generator.normal(0, 1, weight.shape)
                # A gamma may be negative: training does not keep it from it.
                values.append(draw * (generator.choice([-1, 1], weight.shape) if weight.name == "gamma" else 1))
            layer.set_weights(values)
        elif getattr(layer, "use_bias", False) and layer.weights:
            layer.bias.assign(generator.normal(0, 1, layer.bias.shape))


def batch_norms(model: Any) -> int:
    return sum(isinstance(layer, layers.BatchNormalization) for layer in model.layers)


def check(model: Any, remaining: int) -> Any:
    disturb(model)
    inputs = np.random.default_rng(1).normal(0, 1, (4, *model.inputs[0].shape[1:])).astype(np.float32)
    before = model(inputs)
    folded = fold_batch_norms(model)
    assert batch_norms(folded) == remaining
    np.testing.assert_allclose(folded(inputs), before, atol=1e-4, rtol=1e-4)
    return folded


FOLDABLE = {
    "conv": lambda: layers.Conv2D(5, 3, strides=2, padding="same"),
    "conv without bias": lambda: layers.Conv2D(5, 3, use_bias=False),
    "dilated conv": lambda: layers.Conv2D(5, 3, dilation_rate=2),
    "grouped conv": lambda: layers.Conv2D(6, 3, groups=3),
    "depthwise": lambda: layers.DepthwiseConv2D(3),
    "depthwise, multiplier 2": lambda: layers.DepthwiseConv2D(3, depth_multiplier=2),
    "depthwise, multiplier 3, no bias": lambda: layers.DepthwiseConv2D(3, depth_multiplier=3, use_bias=False),
    "transposed conv": lambda: layers.Conv2DTranspose(4, 3, strides=2),
    "transposed conv without bias": lambda: layers.Conv2DTranspose(7, 2, use_bias=False),
    "dense on the channels": lambda: layers.Dense(7),
}


@pytest.mark.parametrize("make", FOLDABLE.values(), ids=FOLDABLE)
def test_folded(make: Any) -> None:
    image = keras.Input((9, 9, 3))
    layer = make()
    folded = check(keras.Model(image, layers.ReLU()(layers.BatchNormalization()(layer(image)))), remaining=0)
    copy = folded.get_layer(layer.name)
    assert copy is not layer
    assert copy.use_bias
    assert copy.get_config() | {"use_bias": True} == layer.get_config() | {"use_bias": True}


def test_folded_in_one_dimension() -> None:
    signal = keras.Input((12, 3))
    x = layers.BatchNormalization()(layers.Conv1D(4, 3)(signal))
    check(keras.Model(signal, layers.BatchNormalization()(layers.DepthwiseConv1D(3, depth_multiplier=2)(x))), 0)


def test_folded_behind_a_dense_layer() -> None:
    vector = keras.Input((6,))
    check(keras.Model(vector, layers.BatchNormalization()(layers.Dense(4)(vector))), remaining=0)


def test_folded_by_hand() -> None:
    vector = keras.Input((1,))
    dense, norm = layers.Dense(1), layers.BatchNormalization(epsilon=0.75)
    model = keras.Model(vector, norm(dense(vector)))
    dense.set_weights([np.array([[3.0]]), np.array([5.0])])
    norm.set_weights([np.array([4.0]), np.array([7.0]), np.array([1.0]), np.array([3.25])])  # γ β μ σ²
    # gain 4 / sqrt(3.25 + 0.75) = 2: kernel 3·2, bias (5 - 1)·2 + 7
    kernel, bias = fold_batch_norms(model).layers[-1].get_weights()
    assert (kernel.item(), bias.item()) == (6.0, 15.0)


@pytest.mark.parametrize("options", [{"scale": False}, {"center": False}, {"scale": False, "center": False}])
def test_norms_without_gain_or_offset(options: dict[str, bool]) -> None:
    image = keras.Input((8, 8, 3))
    check(keras.Model(image, layers.BatchNormalization(**options)(layers.Conv2D(4, 3)(image))), remaining=0)


def test_an_axis_counted_from_the_front() -> None:
    image = keras.Input((8, 8, 3))
    check(keras.Model(image, layers.BatchNormalization(axis=3)(layers.Conv2D(4, 3)(image))), remaining=0)


def test_a_chain() -> None:
    image = keras.Input((8, 8, 3))
    x = image
    for size in (4, 6, 8):
        x = layers.ReLU()(layers.BatchNormalization()(layers.Conv2D(size, 3, padding="same")(x)))
    check(keras.Model(image, layers.GlobalAveragePooling2D()(x)), remaining=0)


def test_a_layer_that_stands_in_another_model_too() -> None:
    image, other = keras.Input((8, 8, 3)), keras.Input((8, 8, 3))
    conv, norm = layers.Conv2D(4, 3), layers.BatchNormalization()
    model = keras.Model(image, norm(conv(image)))
    keras.Model(other, norm(conv(other)))
    check(model, remaining=0)


# -- left as it is -----------------------------------------------------------------------------------------------


def shared_conv(image: Any) -> Any:
    conv = layers.Conv2D(3, 3, padding="same")
    return layers.BatchNormalization()(conv(layers.ReLU()(conv(image))))


def conv_with_activation(image: Any) -> Any:
    return layers.BatchNormalization()(layers.Conv2D(4, 3, activation="relu")(image))


def conv_used_twice(image: Any) -> Any:
    x = layers.Conv2D(4, 3)(image)
    return layers.Add()([x, layers.BatchNormalization()(x)])


def norm_over_rows(image: Any) -> Any:
    return layers.BatchNormalization(axis=1)(layers.Conv2D(8, 3, padding="same")(image))


def norm_before_conv(image: Any) -> Any:
    return layers.Conv2D(4, 3, padding="same")(layers.BatchNormalization()(image))


def norm_behind_pooling(image: Any) -> Any:
    return layers.BatchNormalization()(layers.MaxPooling2D()(layers.Conv2D(4, 3)(image)))


def norm_behind_separable(image: Any) -> Any:
    return layers.BatchNormalization()(layers.SeparableConv2D(4, 3)(image))


def conv_with_a_layer_as_activation(image: Any) -> Any:
    return layers.BatchNormalization()(layers.Conv2D(4, 3, activation=layers.LeakyReLU(0.2))(image))


@pytest.mark.parametrize(
    "body",
    [
        shared_conv, conv_with_activation, conv_used_twice, norm_over_rows, norm_before_conv, norm_behind_pooling,
        norm_behind_separable, conv_with_a_layer_as_activation,
    ],
)  # fmt: skip
def test_not_folded(body: Any) -> None:
    image = keras.Input((8, 8, 3))
    check(keras.Model(image, body(image)), remaining=1)


def test_a_conv_that_is_an_output_is_not_folded() -> None:
    image = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 3)(image)
    model = keras.Model(image, [x, layers.BatchNormalization()(x)])
    disturb(model)
    folded = fold_batch_norms(model)
    assert batch_norms(folded) == 1
    inputs = np.ones((1, 8, 8, 3), np.float32)
    for got, wanted in zip(folded(inputs), model(inputs), strict=True):
        np.testing.assert_allclose(got, wanted, atol=1e-5)


# -- the last activation -----------------------------------------------------------------------------------------

ENDS = {
    "Activation": (lambda x: layers.Activation("softmax")(layers.Dense(4)(x)), "softmax"),
    "Softmax": (lambda x: layers.Softmax()(layers.Dense(4)(x)), "softmax"),
    "Softmax axis 1": (lambda x: layers.Softmax(axis=1)(layers.Dense(4)(x)), "softmax"),
    "Dense softmax": (lambda x: layers.Dense(4, activation="softmax")(x), "softmax"),
    "sigmoid": (lambda x: layers.Activation("sigmoid")(layers.Dense(4)(x)), "sigmoid"),
    "Dense sigmoid": (lambda x: layers.Dense(1, activation="sigmoid")(x), "sigmoid"),
}
ACTIVATIONS = {
    "softmax": lambda x: np.exp(x) / np.exp(x).sum(-1, keepdims=True),
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
}


@pytest.mark.parametrize(("end", "name"), ENDS.values(), ids=ENDS)
def test_split(end: Any, name: str) -> None:
    vector = keras.Input((6,))
    model = keras.Model(vector, end(layers.Dense(5, activation="relu")(vector)), name="whole")
    inputs = np.random.default_rng(0).normal(0, 1, (7, 6)).astype(np.float32)
    before = np.asarray(model(inputs))
    logits, found = split_activation(model)
    assert found == name
    assert logits.name == "whole"
    np.testing.assert_allclose(ACTIVATIONS[name](np.asarray(logits(inputs))), before, atol=1e-6)
    np.testing.assert_array_equal(model(inputs), before)
    assert all(len(layer._inbound_nodes) == 1 for layer in model.layers)


@pytest.mark.parametrize(
    "end",
    [
        lambda x: layers.Dense(4)(x),
        lambda x: layers.Dense(4, activation="relu")(x),
        lambda x: layers.Activation("tanh")(x),
        lambda x: layers.Dense(4, activation=layers.LeakyReLU(0.2))(x),
        lambda x: layers.Reshape((6,))(layers.Activation("softmax")(x)),
    ],
    ids=["Dense", "Dense relu", "tanh", "layer as activation", "softmax inside"],
)
def test_nothing_to_split(end: Any) -> None:
    vector = keras.Input((6,))
    model = keras.Model(vector, end(vector))
    assert split_activation(model) == (model, "none")


def test_one_of_several_outputs() -> None:
    vector = keras.Input((6,))
    model = keras.Model(vector, [layers.Dense(2)(vector), layers.Softmax()(vector), layers.Activation("tanh")(vector)])
    inputs = np.random.default_rng(0).normal(0, 1, (7, 6)).astype(np.float32)
    logits, found = split_activation(model, output=1)
    assert found == "softmax"
    before, after = model(inputs), logits(inputs)
    np.testing.assert_array_equal(after[1], inputs)
    np.testing.assert_array_equal(after[0], before[0])
    np.testing.assert_array_equal(after[2], before[2])
    for output, known in ((0, ("softmax", "sigmoid")), (2, ("softmax", "sigmoid")), (1, ("sigmoid",))):
        assert split_activation(model, output, known) == (model, "none")


def test_an_activation_that_others_read_stays() -> None:
    vector = keras.Input((6,))
    soft = layers.Softmax()(vector)
    model = keras.Model(vector, [soft, layers.Dense(2)(soft)])
    assert split_activation(model) == (model, "none")


def test_split_inside_a_nested_model() -> None:
    vector = keras.Input((6,))
    inner = keras.Sequential([keras.Input((6,)), layers.Dense(4), layers.Softmax()])
    logits, found = split_activation(keras.Model(vector, inner(vector)))
    assert found == "softmax"
    assert [type(layer).__name__ for layer in logits.layers] == ["InputLayer", "Dense"]


def test_an_activation_that_is_called_twice_is_split_where_it_ends() -> None:
    vector = keras.Input((4,))
    soft = layers.Softmax()
    model = keras.Model(vector, soft(layers.Dense(4)(soft(vector))))
    inputs = np.random.default_rng(0).normal(0, 1, (3, 4)).astype(np.float32)
    logits, found = split_activation(model)
    assert found == "softmax"
    np.testing.assert_allclose(ACTIVATIONS["softmax"](np.asarray(logits(inputs))), model(inputs), atol=1e-6)
