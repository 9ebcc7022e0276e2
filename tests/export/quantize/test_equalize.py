"""Cross-layer equalization: numbers by hand, the same function, and what must be left alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from edgecv_export.quantize.equalize import EqualizedPair, equalization, equalize
from edgecv_export.quantize.fold import fold_batch_norms
from edgecv_runtime.images import read_image

Spread = Callable[[Any], Any]


def dense_pair(first: np.ndarray, bias: np.ndarray, second: np.ndarray, between: Any) -> Any:
    vector = keras.Input((first.shape[0],))
    x = layers.Dense(first.shape[1], name="first")(vector)
    model = keras.Model(vector, layers.Dense(second.shape[1], use_bias=False, name="second")(between(x)))
    model.set_weights([first, bias, second])
    return model


def wild(model: Any, seed: int = 0) -> Any:
    """Give every kernel's output channels ranges that differ a thousandfold, and random biases."""
    generator = np.random.default_rng(seed)
    for layer in model.layers:
        if not hasattr(layer, "kernel"):
            continue
        shape = layer.kernel.shape
        outputs = shape[-2:] if isinstance(layer, layers.DepthwiseConv2D) else shape[-1:]
        size = generator.normal(0, 1, shape) * 10 ** generator.uniform(-2, 1, outputs) / np.sqrt(np.prod(shape[:-1]))
        layer.kernel.assign(size)
        if layer.use_bias:
            layer.bias.assign(generator.normal(0, 0.1, layer.bias.shape))
    return model


def largest(layer: Any, axes: tuple[int, ...]) -> np.ndarray:
    return np.abs(np.asarray(layer.kernel)).max(axis=axes).reshape(-1)


def test_two_layers_by_hand() -> None:
    # Channel ranges 8 and 0.5 in the first layer, 2 and 2 in the second: s = sqrt(8 · 2) / 2 = 2 and
    # sqrt(0.5 · 2) / 2 = 0.5; both layers then have ranges 4 and 1.
    first = np.array([[8.0, 0.25], [-4.0, -0.5]])
    second = np.array([[2.0, -1.0], [1.0, 2.0]])
    found = equalization(dense_pair(first, np.array([6.0, 3.0]), second, layers.ReLU()))
    one, two = found.model.get_layer("first"), found.model.get_layer("second")
    np.testing.assert_allclose(one.kernel, [[4, 0.5], [-2, -1]], rtol=1e-5)
    np.testing.assert_allclose(one.bias, [3, 6], rtol=1e-5)
    np.testing.assert_allclose(two.kernel, [[4, -2], [0.5, 1]], rtol=1e-5)
    assert found.pairs == (EqualizedPair("first", "second", pytest.approx(4)),)


def test_a_chain_of_three_by_hand() -> None:
    # Ranges 64, 1, 1 of one channel settle at their geometric mean, 4.
    image = keras.Input((4, 4, 1))
    x = layers.ReLU()(layers.Conv2D(1, 1, name="a")(image))
    x = layers.ReLU()(layers.DepthwiseConv2D(1, name="b")(x))
    model = keras.Model(image, layers.Conv2D(1, 1, name="c")(x))
    kernel = np.ones((1, 1, 1, 1))
    model.set_weights([64 * kernel, np.array([6.0]), kernel, np.array([1.0]), -kernel, np.array([2.0])])
    found = equalize(model)
    kernels = [float(np.asarray(found.get_layer(name).kernel).item()) for name in "abc"]
    np.testing.assert_allclose(kernels, [4, 4, -4], rtol=1e-3)
    # the biases follow: 6 / 16, 1 / 4, and the last stays
    np.testing.assert_allclose(
        [found.get_layer(name).bias.numpy().item() for name in "abc"], [6 / 16, 1 / 4, 2], rtol=1e-3
    )


def test_pooled_and_flattened_features_by_hand() -> None:
    # Two pixels of two channels are four inputs of the dense layer: 0 and 2 belong to the first channel.
    image = keras.Input((1, 2, 1))
    x = layers.Flatten()(layers.ReLU()(layers.Conv2D(2, 1, use_bias=False, name="conv")(image)))
    model = keras.Model(image, layers.Dense(1, use_bias=False, name="dense")(x))
    model.set_weights([np.array([[[[9.0, 1.0]]]]), np.array([[0.5], [4.0], [1.0], [0.25]])])
    found = equalize(model)
    # s = sqrt(9 / 1) = 3 and sqrt(1 / 4) = 0.5
    np.testing.assert_allclose(np.ravel(found.get_layer("conv").kernel), [3, 2], rtol=1e-5)
    np.testing.assert_allclose(np.ravel(found.get_layer("dense").kernel), [1.5, 2, 3, 0.125], rtol=1e-5)


def test_grouped_convolutions_by_hand() -> None:
    # Four channels in two groups; the second layer's channel 2 is the first input of its second group.
    image = keras.Input((1, 1, 1))
    x = layers.ReLU()(layers.Conv2D(4, 1, use_bias=False, name="first")(image))
    model = keras.Model(image, layers.Conv2D(2, 1, groups=2, use_bias=False, name="second")(x))
    model.set_weights([np.array([[[[16.0, 1, 1, 1]]]]), np.array([[[[1.0, 4.0], [1.0, 1.0]]]])])
    found = equalize(model)
    # s = 4, 1, 1/2, 1
    np.testing.assert_allclose(np.ravel(found.get_layer("first").kernel), [4, 1, 2, 1], rtol=1e-5)
    np.testing.assert_allclose(found.get_layer("second").kernel[0, 0], [[4, 2], [1, 1]], rtol=1e-5)


@pytest.mark.parametrize("negative_slope", [0.0, 0.3])
def test_a_network_keeps_its_function_and_levels_its_ranges(negative_slope: float) -> None:
    keras.utils.set_random_seed(0)
    image = keras.Input((16, 16, 3))
    x = layers.Conv2D(8, 3, padding="same", name="a")(image)
    x = layers.MaxPooling2D()(layers.ReLU(negative_slope=negative_slope)(x))
    x = layers.DepthwiseConv2D(3, padding="same", name="b")(layers.ZeroPadding2D()(x))
    x = layers.Conv2D(12, 1, activation="relu", name="c")(layers.PReLU(shared_axes=(1, 2))(x))
    x = layers.Dropout(0.5)(layers.AveragePooling2D(2)(x))
    x = layers.DepthwiseConv2D(3, depth_multiplier=2, activation="leaky_relu", name="d")(x)
    x = layers.Flatten()(layers.LeakyReLU(0.2)(layers.Conv2D(6, 1, groups=3, name="e")(x)))
    x = layers.Dense(7, activation="relu", name="f")(x)
    model = wild(keras.Model(image, layers.Dense(5, name="g")(x)))
    found = equalization(model)
    assert [(pair.first, pair.second) for pair in found.pairs] == list(zip("abcdef", "bcdefg", strict=True))
    assert all(pair.spread > 1.05 for pair in found.pairs)
    assert max(pair.spread for pair in found.pairs) > 10
    inputs = np.random.default_rng(0).normal(0, 1, (8, 16, 16, 3)).astype(np.float32)
    expected = np.asarray(model(inputs))
    np.testing.assert_allclose(found.model(inputs), expected, atol=1e-4 * np.abs(expected).max())
    # Without biases to limit it, every channel between two layers ends with the same range in both.
    for name in "abcdef":
        model.get_layer(name).bias.assign(np.zeros(model.get_layer(name).bias.shape))
    found = equalization(model)
    a, b, c = (found.model.get_layer(name) for name in "abc")
    np.testing.assert_allclose(largest(a, (0, 1, 2)), largest(b, (0, 1)), rtol=1e-3)
    np.testing.assert_allclose(largest(b, (0, 1)), largest(c, (0, 1, 3)), rtol=1e-3)


def residual(x: Any) -> Any:
    return layers.Add()([x, layers.ReLU()(x)])


LEFT_ALONE: dict[str, Any] = {
    "relu6": layers.ReLU(6.0),
    "swish": layers.Activation("swish"),
    "threshold": layers.ReLU(threshold=0.5),
    "sigmoid": layers.Activation("sigmoid"),
    "batch norm": layers.BatchNormalization(),
    "two consumers": residual,
    "softmax": layers.Softmax(),
    "shift": layers.Rescaling(1.0, offset=1.0),
}


@pytest.mark.parametrize("between", LEFT_ALONE.values(), ids=LEFT_ALONE)
def test_what_does_not_commute_is_left_alone(between: Any) -> None:
    vector = keras.Input((4,))
    x = layers.Dense(6, name="first")(vector)
    model = wild(keras.Model(vector, layers.Dense(3, name="second")(between(x))))
    found = equalization(model)
    assert found.pairs == ()
    for one, other in zip(model.get_weights(), found.model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_an_activation_inside_the_layer_counts() -> None:
    vector = keras.Input((4,))
    middle = layers.Dense(5, name="b", activation=layers.LeakyReLU(0.1))(
        layers.Dense(6, activation="tanh", name="a")(vector)
    )
    found = equalization(wild(keras.Model(vector, layers.Dense(3, name="c")(middle))))
    assert [(pair.first, pair.second) for pair in found.pairs] == [("b", "c")]


def test_shared_layers_and_outputs_are_left_alone() -> None:
    vector = keras.Input((4,))
    shared = layers.Dense(4, name="shared")
    x = shared(layers.ReLU()(shared(vector)))
    assert equalization(keras.Model(vector, layers.Dense(2)(x))).pairs == ()
    first = layers.Dense(3)(vector)
    assert equalization(keras.Model(vector, [first, layers.Dense(2)(first)])).pairs == ()


def test_dead_channels_stay() -> None:
    first = np.array([[8.0, 0.0, 1.0], [-4.0, 0.0, 1.0]])
    second = np.array([[2.0], [1.0], [0.0]])
    model = dense_pair(first, np.array([1.0, 5.0, 1.0]), second, layers.ReLU())
    found = equalize(model)
    np.testing.assert_allclose(found.get_layer("first").bias, [0.5, 5, 1], rtol=1e-5)
    np.testing.assert_allclose(np.ravel(found.get_layer("second").kernel), [4, 1, 0], rtol=1e-5)


def test_no_scale_is_beyond_a_thousand() -> None:
    first = np.array([[1.0, 1e-12]])
    found = equalize(dense_pair(first, np.zeros(2), np.array([[1.0], [1.0]]), layers.ReLU()))
    np.testing.assert_allclose(np.ravel(found.get_layer("second").kernel), [1, 1e-3], rtol=1e-5)


def test_the_argument_is_left_alone() -> None:
    model = dense_pair(np.array([[8.0, 0.25]]), np.zeros(2), np.array([[2.0], [1.0]]), layers.ReLU())
    before = [weight.copy() for weight in model.get_weights()]
    equalize(model)
    for now, then in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(now, then)


def test_a_real_residual_network_on_real_images(data_dir: Path) -> None:
    weights = data_dir / "models" / "classification" / "cifar10" / "pretrainedResnet.h5"
    model = keras.models.load_model(weights, compile=False)
    files = sorted((data_dir / "imagenet-samples").rglob("*.jpg"))[:32]
    images = np.stack([read_image(path)[::8, ::8][:32, :32] for path in files]).astype(np.float32)
    folded = fold_batch_norms(model)
    found = equalization(folded)
    assert len(found.pairs) >= 3
    wanted = np.asarray(folded(images))
    np.testing.assert_allclose(found.model(images), wanted, atol=1e-4)
    assert max(pair.spread for pair in found.pairs) > 1.5


def test_a_bias_never_grows_beyond_the_largest_of_its_layer() -> None:
    # The second channel is all but switched off: its weights call for s = 1e-4, its bias of 1 beside one of 4 allows
    # 1/4. The first channel's s = sqrt(4 / 1) = 2 is free.
    first, second = np.array([[4.0, 1e-8]]), np.array([[1.0], [1.0]])
    found = equalize(dense_pair(first, np.array([4.0, 1.0]), second, layers.ReLU()))
    np.testing.assert_allclose(found.get_layer("first").bias, [2.0, 4.0], rtol=1e-5)
    np.testing.assert_allclose(np.ravel(found.get_layer("second").kernel), [2.0, 0.25], rtol=1e-5)
