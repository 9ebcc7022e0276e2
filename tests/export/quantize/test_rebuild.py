"""Copies of models: the same function, and the original left as it was."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from edgecv_export.quantize.fold import fold_batch_norms
from edgecv_export.quantize.graph import Graph
from edgecv_export.quantize.rebuild import copy_layer, inline, rebuild_model
from edgecv_runtime.errors import UnsupportedError


def backbone() -> Any:
    image = keras.Input((8, 8, 3), name="pixels")
    x = layers.Conv2D(4, 3, padding="same", name="conv")(image)
    x = layers.ReLU(name="relu")(layers.BatchNormalization(name="bn")(x))
    return keras.Model(image, x, name="backbone")


def nested() -> Any:
    image = keras.Input((8, 8, 3))
    x = backbone()(image)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(image, layers.Dense(5, activation="softmax", name="head")(x), name="whole")


def images(count: int = 3) -> np.ndarray:
    return np.random.default_rng(0).normal(0, 1, (count, 8, 8, 3)).astype(np.float32)


def nodes(model: Any) -> list[tuple[str, int, int]]:
    """How often each layer is called, and in how many graphs: what a careless copy changes."""
    return [(layer.name, len(layer._inbound_nodes), len(layer._outbound_nodes)) for layer in model.layers]


@pytest.mark.parametrize("transform", [inline, fold_batch_norms], ids=["inline", "fold"])
def test_the_original_is_left_alone(transform: Any) -> None:
    model = nested()
    inner = model.get_layer("backbone")
    weights, before = model.get_weights(), nodes(model) + nodes(inner)
    outputs = [id(layer.output) for layer in (*model.layers, *inner.layers)]
    copy = transform(model)
    copy.set_weights([weight + 1 for weight in copy.get_weights()])
    for now, then in zip(model.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(now, then)
    assert nodes(model) + nodes(inner) == before
    assert [id(layer.output) for layer in (*model.layers, *inner.layers)] == outputs
    features = keras.Model(model.inputs[0], model.layers[-2].output)
    assert features(images()).shape == (3, 4)
    assert not {id(layer) for layer in copy.layers} & {id(layer) for layer in (*model.layers, *inner.layers)}


def test_inline_lays_nested_models_open() -> None:
    model = nested()
    flat = inline(model)
    assert [step.layer.name for step in Graph(flat).steps] == ["conv", "bn", "relu", "pool", "head"]
    np.testing.assert_allclose(flat(images()), model(images()), atol=1e-6)
    assert flat.name == "whole"


def test_inline_goes_two_levels_deep() -> None:
    image = keras.Input((8, 8, 3))
    middle = keras.Sequential([keras.Input((8, 8, 3)), backbone(), layers.Flatten(name="flat")], name="middle")
    model = keras.Model(image, layers.Dense(2, name="head")(middle(image)))
    flat = inline(model)
    assert [step.layer.name for step in Graph(flat).steps] == ["conv", "bn", "relu", "flat", "head"]
    np.testing.assert_allclose(flat(images()), model(images()), atol=1e-6)


def test_a_backbone_called_twice_keeps_its_weights_shared() -> None:
    first, second = keras.Input((8, 8, 3)), keras.Input((8, 8, 3))
    body = backbone()
    model = keras.Model([first, second], layers.Subtract()([body(first), body(second)]))
    flat = inline(model)
    assert len(flat.weights) == len(model.weights)
    pair = [images(), images()[::-1]]
    np.testing.assert_allclose(flat(pair), model(pair), atol=1e-6)


def test_a_nested_model_with_two_outputs() -> None:
    image = keras.Input((8, 8, 3))
    x = layers.Conv2D(2, 3)(image)
    split = keras.Model(image, [x, layers.ReLU()(x)])
    outer = keras.Input((8, 8, 3))
    model = keras.Model(outer, layers.Add()(split(outer)))
    np.testing.assert_allclose(inline(model)(images()), model(images()), atol=1e-6)


def test_a_flat_model_is_itself() -> None:
    model = backbone()
    assert inline(model) is model


def test_a_nested_subclassed_model_is_refused() -> None:
    class Own(keras.Model):
        def call(self, inputs: Any) -> Any:
            return inputs

    image = keras.Input((8, 8, 3))
    with pytest.raises(UnsupportedError, match="'mine' is a subclass"):
        inline(keras.Model(image, Own(name="mine")(image)))


def test_copy_layer_takes_weights_and_changes() -> None:
    layer = layers.Dense(3, activation="softmax", name="head")
    layer.build((None, 4))
    copy = copy_layer(layer, activation="linear")
    assert copy.activation.__name__ == "linear"
    assert copy.name == "head"
    np.testing.assert_array_equal(copy.kernel, layer.kernel)
    copy.kernel.assign(copy.kernel + 1)
    assert float(np.abs(np.asarray(copy.kernel) - np.asarray(layer.kernel)).min()) == 1.0


def arithmetic(image: Any) -> Any:
    """Operators and functions instead of layers: Keras keeps them as operations without weights."""
    x = layers.Conv2D(4, 3, padding="same")(image)
    y = keras.ops.relu(x) * 0.5 + x
    return keras.ops.mean(y, axis=[1, 2])


def split_and_concatenate(image: Any) -> Any:
    left, right = keras.ops.split(layers.Conv2D(4, 3)(image), 2, axis=-1)
    return layers.Flatten()(keras.ops.concatenate([right, left], axis=-1))


def mixed_arguments(image: Any) -> Any:
    x = layers.Conv2D(4, 3, name="conv")(image)
    attention = layers.MultiHeadAttention(2, 4, name="attention")
    tokens = layers.Reshape((36, 4))(x)
    return layers.Flatten()(attention(tokens, value=tokens))


@pytest.mark.parametrize("body", [arithmetic, split_and_concatenate, mixed_arguments])
def test_rebuilding_keeps_the_function(body: Any) -> None:
    image = keras.Input((8, 8, 3))
    model = keras.Model(image, body(image))
    copies: dict[int, Any] = {}
    copy = rebuild_model(
        Graph(model),
        lambda step: copies.setdefault(id(step.layer), copies.get(id(step.layer)) or copy_layer(step.layer)),
    )
    np.testing.assert_allclose(copy(images()), model(images()), atol=1e-6)


def test_a_normalization_layer_keeps_its_statistics() -> None:
    """Its mean and variance are derived from the weights: a copy with the weights alone would compute with 0 and 1."""
    image = keras.Input((2, 2, 3))
    layer = keras.layers.Normalization()
    model = keras.Model(image, keras.layers.Conv2D(1, 1)(layer(image)))
    layer.set_weights([np.array([1.0, 2.0, 3.0]), np.array([4.0, 9.0, 16.0]), np.zeros((), np.int64)])
    layer.finalize_state()
    copy = copy_layer(layer)
    values = np.array([[[[5.0, 8.0, 11.0]]]], np.float32)
    np.testing.assert_allclose(np.asarray(copy(values)), [[[[2.0, 2.0, 2.0]]]], rtol=1e-6)
    inputs = np.random.default_rng(0).normal(size=(2, 2, 2, 3)).astype(np.float32)
    rebuilt = rebuild_model(Graph(model), lambda step: copy_layer(step.layer))
    np.testing.assert_allclose(np.asarray(rebuilt(inputs)), np.asarray(model(inputs)), rtol=1e-6)
