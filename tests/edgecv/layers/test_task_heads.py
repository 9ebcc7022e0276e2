"""Heads and the losses of points, by hand."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
import pytest

from edgecv.layers.task_heads import PointLoss, localization_losses, with_classifier, with_landmarks, with_localization
from edgecv_runtime.errors import InputError


@pytest.fixture
def backbone() -> Any:
    image = keras.Input((4, 4, 1))
    return keras.Model(image, keras.layers.Conv2D(2, 1, kernel_initializer="ones", use_bias=False)(image), name="tiny")


def test_average_and_maximum(backbone: Any) -> None:
    pixels = np.zeros((1, 4, 4, 1), np.float32)
    pixels[0, 1, 2] = 8
    for pooling, value in (("average", 0.5), ("max", 8.0)):
        model = with_classifier(backbone, 3, pooling, activation=None)
        pooled = keras.Model(model.input, model.get_layer(f"{pooling}_pool").output)
        assert np.asarray(pooled(pixels))[0].tolist() == [value, value]
        assert model.output_shape == (None, 3)
    scores = np.asarray(with_classifier(backbone, 3)(pixels))
    assert scores.sum() == pytest.approx(1)


def test_classification_with_localization(backbone: Any) -> None:
    model = with_localization(backbone, 3)
    assert {name: tensor.shape for name, tensor in model.output.items()} == {"classes": (None, 3), "box": (None, 4)}
    for layer in model.layers:
        for weight in layer.weights:
            weight.assign(np.zeros(weight.shape, np.float32))  # every class 1/3, every coordinate 1/2
    model.compile(optimizer="sgd", **localization_losses(0.3))
    pixels = np.ones((2, 4, 4, 1), np.float32)
    truth = {"classes": np.array([0, 2]), "box": np.array([[0.5, 0.5, 1.0, 0.5], [-1.0, -1, -1, -1]], np.float32)}
    # α · ln 3 + (1 − α) · mean over two pictures of (0.5² / 4, nothing).
    expected = 0.3 * math.log(3) + 0.7 * (0.25 / 4) / 2
    assert model.evaluate(pixels, truth, verbose=0, return_dict=True)["loss"] == pytest.approx(expected, rel=1e-5)


def test_landmarks(backbone: Any) -> None:
    assert with_landmarks(backbone, 5).output_shape == (None, 10)
    loss = PointLoss()
    truth = np.array([[0.2, 0.4, -1, -1], [0.1, 0.1, 0.1, 0.1]], np.float32)
    found = np.array([[0.3, 0.4, 0.9, 0.9], [0.1, 0.1, 0.1, 0.5]], np.float32)
    # (0.1² + 0) / 2 and 0.4² / 4.
    assert np.asarray(loss.call(truth, found)) == pytest.approx([0.005, 0.04], rel=1e-4)
    assert float(loss(truth, found)) == pytest.approx(0.0225, rel=1e-4)


def test_refused(backbone: Any) -> None:
    with pytest.raises(InputError, match="pooling must be one of average, max; received 'median'"):
        with_classifier(backbone, 3, "median")
    with pytest.raises(InputError, match=r"α must be in 0\.\.1; received 1\.5"):
        localization_losses(1.5)
    with pytest.raises(InputError, match="the number of landmarks must be at least 1; received 0"):
        with_landmarks(backbone, 0)
    with pytest.raises(InputError, match="a backbone that ends in a feature map is required"):
        with_classifier(with_classifier(backbone, 3), 3)
