"""Small networks to quantize, and one that has learned something."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest


def residual_network(keras: Any) -> Any:
    """Two branches, batch norms, an addition."""
    layers = keras.layers
    image = keras.Input((16, 16, 3), name="image")
    x = layers.Conv2D(8, 3, padding="same", use_bias=False, name="stem")(image)
    x = layers.ReLU(name="stem_relu")(layers.BatchNormalization(name="stem_bn")(x))
    y = layers.Conv2D(8, 3, padding="same", use_bias=False, name="branch")(x)
    y = layers.Dropout(0.5, name="drop")(layers.BatchNormalization(name="branch_bn")(y))
    x = layers.ReLU(name="sum_relu")(layers.Add(name="sum")([x, y]))
    x = layers.GlobalAveragePooling2D(name="pool")(layers.MaxPooling2D(name="halve")(x))
    return keras.Model(image, layers.Dense(4, name="logits")(x), name="residual")


def gated_network(keras: Any) -> Any:
    """An EfficientNet of two blocks: swish, squeeze-and-excitation, a residual."""
    from edgecv.layers.inverted_residual import BlockStyle, Stage, classifier, mbconv, stem

    style = BlockStyle(activation="swish", squeeze=0.25, explicit_padding=True)
    stage = Stage(kernel=3, repeats=2, filters=8, expansion=4, stride=2)
    image = keras.Input((16, 16, 3), name="image")
    x = stem(image, 8, style)
    x = mbconv(x, stage, 8, 2, 0.0, style, "a_")
    x = mbconv(x, stage, 8, 1, 0.2, style, "b_")
    return keras.Model(image, classifier(x, 4, 0.1, None), name="gated")


@pytest.fixture(scope="session")
def images() -> np.ndarray:
    """(24, 16, 16, 3) float32."""
    return np.random.default_rng(3).normal(0, 1, (24, 16, 16, 3)).astype(np.float32)


@pytest.fixture(scope="session")
def residual(settle: Callable[..., None], images: np.ndarray) -> Any:
    import keras

    keras.utils.set_random_seed(1)
    model = residual_network(keras)
    settle(model, images)
    return model


@pytest.fixture(scope="session")
def gated(settle: Callable[..., None], images: np.ndarray) -> Any:
    import keras

    keras.utils.set_random_seed(2)
    model = gated_network(keras)
    settle(model, images)
    return model


@dataclass(frozen=True)
class Trained:
    """A network that tells drawn digits apart, and digits that it did not learn."""

    network: Any
    pixels: np.ndarray
    labels: np.ndarray
    test_pixels: np.ndarray
    test_labels: np.ndarray

    @staticmethod
    def to_real(pixels: np.ndarray) -> np.ndarray:
        return pixels.astype(np.float32) / np.float32(128) - np.float32(1)


@pytest.fixture(scope="session")
def trained() -> Trained:
    import keras

    from edgecv.data import draw_digits

    def small(images: np.ndarray) -> np.ndarray:
        count = len(images)
        return images.reshape(count, 16, 2, 16, 2).mean(axis=(2, 4)).astype(np.uint8)[..., None]

    keras.utils.set_random_seed(4)
    layers = keras.layers
    options = {"padding": "same", "use_bias": False}
    network = keras.Sequential([keras.Input((16, 16, 1))])
    for layer in (
        layers.Conv2D(6, 3, 2, **options),
        layers.DepthwiseConv2D(3, **options),
        layers.Conv2D(8, 3, **options),
        layers.DepthwiseConv2D(3, 2, **options),
        layers.Conv2D(16, 3, **options),
    ):
        network.add(layer)
        network.add(layers.BatchNormalization(momentum=0.9))
        network.add(layers.ReLU())
    network.add(layers.GlobalAveragePooling2D())
    network.add(layers.Dense(10))
    images, labels = draw_digits(2500, seed=21)
    pixels, labels = small(images), labels.astype(np.int64)
    network.compile(keras.optimizers.Adam(1e-2), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    network.fit(Trained.to_real(pixels[:1000]), labels[:1000], batch_size=32, epochs=12, verbose=0)
    network = keras.Model(network.inputs[0], network.outputs[0], name="digits")
    return Trained(network, pixels[:1000], labels[:1000], pixels[1000:], labels[1000:])
