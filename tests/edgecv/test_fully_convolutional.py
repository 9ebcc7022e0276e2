"""A classifier as a fully convolutional network equals the classifier slid over the picture."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest

import edgecv
from edgecv.fully_convolutional import fully_convolutional, shift_and_stitch, slide
from edgecv_runtime.errors import InputError, UnsupportedError

layers = keras.layers


@pytest.fixture(scope="module")
def lenet() -> Any:
    return edgecv.create_model("lenet5", weights="digits")


def test_lenet_on_a_larger_picture(lenet: Any) -> None:
    model, windows = fully_convolutional(lenet, (48, 60, 1))
    assert model.output_shape == (None, 5, 8, 10)
    assert (windows.size, windows.stride) == ((32, 32), (4, 4))
    assert windows.corner(2, 3) == (8, 12)
    pixels = np.random.default_rng(0).uniform(0, 1, (48, 60, 1)).astype(np.float32)
    scores = np.asarray(model(pixels[None]))[0]
    assert scores == pytest.approx(slide(lenet, pixels, (4, 4)), abs=1e-6)
    alone = np.asarray(lenet(pixels[None, 8:40, 12:44]))[0]
    assert scores[2, 3] == pytest.approx(alone, abs=1e-6)


def test_on_a_picture_of_its_own_size_it_is_the_classifier(lenet: Any) -> None:
    model, _ = fully_convolutional(lenet, (32, 32, 1))
    pixels = np.random.default_rng(1).uniform(0, 1, (2, 32, 32, 1)).astype(np.float32)
    assert np.asarray(model(pixels))[:, 0, 0] == pytest.approx(np.asarray(lenet(pixels)), abs=1e-6)


def test_shift_and_stitch_scores_every_pixel(lenet: Any) -> None:
    model, windows = fully_convolutional(lenet, (36, 40, 1))
    pixels = np.random.default_rng(2).uniform(0, 1, (39, 43, 1)).astype(np.float32)
    dense = shift_and_stitch(model, windows, pixels)
    assert dense.shape == (8, 12, 10)
    assert dense == pytest.approx(slide(lenet, pixels, (1, 1)), abs=1e-6)
    with pytest.raises(InputError, match=r"the image must be \(39, 43, 1\) for an input of 36x40 and a stride of 4x4"):
        shift_and_stitch(model, windows, pixels[1:])


@pytest.mark.parametrize("pooling", [layers.GlobalAveragePooling2D, layers.GlobalMaxPooling2D])
def test_global_pooling_slides_too(pooling: Any, randomise: Callable[..., None]) -> None:
    image = keras.Input((9, 9, 2))
    x = layers.Conv2D(3, 3, activation="relu")(image)
    left = layers.Conv2D(4, 2, strides=2, name="left")(layers.BatchNormalization()(x))
    right = layers.AveragePooling2D(3, 2)(x)
    x = layers.Concatenate()([left, layers.Conv2D(2, 1)(right)]) if right.shape[1] == left.shape[1] else left
    x = layers.Dropout(0.5)(pooling()(x))
    x = layers.BatchNormalization(name="head_norm")(layers.Dense(5, use_bias=False, activation="relu")(x))
    model = keras.Model(image, layers.Softmax()(layers.Dense(3)(x)))
    randomise(model)
    large, windows = fully_convolutional(model, (15, 13, 2))
    assert windows.stride == (2, 2)
    pixels = np.random.default_rng(3).normal(size=(15, 13, 2)).astype(np.float32)
    assert np.asarray(large(pixels[None]))[0] == pytest.approx(slide(model, pixels, (2, 2)), abs=1e-5)


def test_mobilenets_own_kind_of_head() -> None:
    """Pooling that keeps its axes, a 1×1 convolution, a reshape."""
    model = edgecv.create_model("mobilenet_v1", (32, 32, 3), classes=7, alpha=0.1)
    large, windows = fully_convolutional(model, (96, 64, 3))
    assert large.output_shape == (None, 3, 2, 7)
    assert windows.stride == (32, 32)
    same, _ = fully_convolutional(model, (32, 32, 3))
    pixels = np.random.default_rng(4).uniform(-1, 1, (1, 32, 32, 3)).astype(np.float32)
    assert np.asarray(same(pixels))[0, 0, 0] == pytest.approx(np.asarray(model(pixels))[0], abs=1e-6)


def test_a_layer_that_is_used_twice_stays_one(randomise: Callable[..., None]) -> None:
    image = keras.Input((10, 10, 1))
    shared = layers.Conv2D(1, 3, name="shared")
    model = keras.Model(image, layers.Dense(3)(layers.Flatten()(shared(shared(image)))))
    randomise(model)
    large, windows = fully_convolutional(model, (13, 12, 1))
    assert windows.stride == (1, 1) and len(large.get_layer("shared")._inbound_nodes) == 2
    pixels = np.random.default_rng(5).normal(size=(13, 12, 1)).astype(np.float32)
    assert np.asarray(large(pixels[None]))[0] == pytest.approx(slide(model, pixels, (1, 1)), abs=1e-5)


def test_gates_are_no_head(randomise: Callable[..., None]) -> None:
    """Squeeze-and-excitation pools too; its answer goes back to the map, and sees all of a larger picture."""
    image = keras.Input((8, 8, 2))
    x = layers.Conv2D(4, 3, name="first")(image)
    gate = layers.Dense(4, activation="sigmoid", name="gate")(layers.GlobalAveragePooling2D(name="squeeze")(x))
    x = layers.Multiply()([x, layers.Reshape((1, 1, 4))(gate)])
    model = keras.Model(image, layers.Dense(3, name="last")(layers.GlobalAveragePooling2D()(x)))
    randomise(model)
    same, _ = fully_convolutional(model, (8, 8, 2))
    pixels = np.random.default_rng(6).normal(size=(12, 10, 2)).astype(np.float32)
    assert np.asarray(same(pixels[None, :8, :8]))[0, 0] == pytest.approx(
        np.asarray(model(pixels[None, :8, :8])), abs=1e-6
    )
    large, windows = fully_convolutional(model, (12, 10, 2))
    assert large.output_shape == (None, 5, 3, 3) and windows.stride == (1, 1)
    # By hand: one gate of the whole picture on every window's mean.
    features = np.asarray(model.get_layer("first")(pixels[None]))[0]
    weights, bias = model.get_layer("gate").get_weights()
    opened = 1 / (1 + np.exp(-(features.mean(axis=(0, 1)) @ weights + bias)))
    kernel, offset = model.get_layer("last").get_weights()
    window = (features[3:9, 1:7] * opened).mean(axis=(0, 1)) @ kernel + offset
    assert np.asarray(large(pixels[None]))[0, 3, 1] == pytest.approx(window, abs=1e-5)


def test_refused(lenet: Any) -> None:
    with pytest.raises(InputError, match=r"input_shape must be at least \(32, 32, 1\), with 1 channels; received"):
        fully_convolutional(lenet, (28, 40, 1))
    image = keras.Input((8, 8, 1))
    flat = layers.Flatten()(layers.Conv2D(1, 3)(image))
    with pytest.raises(UnsupportedError, match=r"the head's layer mixed \(LayerNormalization\) cannot slide"):
        fully_convolutional(keras.Model(image, layers.LayerNormalization(name="mixed")(flat)), (9, 9, 1))
    joined = layers.Add(name="joined")([layers.Dense(2)(flat), layers.Dense(2)(flat)])
    with pytest.raises(UnsupportedError, match="a head that is a chain of layers is required; joined joins several"):
        fully_convolutional(keras.Model(image, joined), (9, 9, 1))
