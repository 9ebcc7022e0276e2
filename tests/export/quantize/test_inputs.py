"""Scaling layers at the start of a network become part of its preprocessing."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from edgecv_export.quantize.inputs import peel_input_scaling, with_scaling_layer

PIXELS = np.random.default_rng(0).integers(0, 256, (3, 6, 6, 3)).astype(np.float32)
NONE, ONE = (0.0,) * 3, (1.0,) * 3


def network(*scalings: Any) -> Any:
    keras.utils.set_random_seed(0)
    image = keras.Input((6, 6, 3))
    x = image
    for layer in scalings:
        x = layer(x)
    return keras.Model(image, layers.Conv2D(2, 3, name="conv")(x))


def normalization() -> Any:
    return layers.Normalization(mean=[100.0, 110.0, 120.0], variance=[25.0, 36.0, 49.0])


@pytest.mark.parametrize(
    ("scalings", "mean", "std"),
    [
        ([layers.Rescaling(1 / 255)], (0.0,) * 3, (255.0,) * 3),
        ([layers.Rescaling(1 / 127.5, offset=-1)], (127.5,) * 3, (127.5,) * 3),
        ([normalization()], (100.0, 110.0, 120.0), (5.0, 6.0, 7.0)),
        # (pixel / 255 - 0.5) / 2 = (pixel - 127.5) / 510
        ([layers.Rescaling(1 / 255), layers.Rescaling(0.5, offset=-0.25)], (127.5,) * 3, (510.0,) * 3),
        ([layers.Rescaling([0.1, 0.2, 0.5])], (0.0,) * 3, (10.0, 5.0, 2.0)),
    ],
    ids=["rescaling", "offset", "normalization", "two", "per channel"],
)
def test_peeled_by_hand(scalings: list[Any], mean: Any, std: Any) -> None:
    model = network(*scalings)
    rest, new_mean, new_std = peel_input_scaling(model, NONE, ONE)
    assert [type(layer).__name__ for layer in rest.layers] == ["InputLayer", "Conv2D"]
    np.testing.assert_allclose(new_mean, mean, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(new_std, std, rtol=1e-6)
    normalized = (PIXELS - np.float32(new_mean)) / np.float32(new_std)
    np.testing.assert_allclose(rest(normalized), model(PIXELS), atol=1e-4)


def test_the_preprocessing_before_it_counts() -> None:
    model = network(layers.Rescaling(2.0, offset=1.0))
    _, mean, std = peel_input_scaling(model, (100.0,) * 3, (50.0,) * 3)
    # 2 · (pixel - 100) / 50 + 1 = (pixel - 75) / 25
    np.testing.assert_allclose([mean, std], [(75.0,) * 3, (25.0,) * 3])


def test_nothing_to_peel() -> None:
    model = network()
    assert peel_input_scaling(model, NONE, ONE) == (model, NONE, ONE)


def test_an_image_that_is_used_twice_is_not_touched() -> None:
    image = keras.Input((6, 6, 3))
    model = keras.Model(image, layers.Add()([image, layers.Rescaling(0.5)(image)]))
    assert peel_input_scaling(model, NONE, ONE)[0] is model


@pytest.mark.parametrize(
    ("mean", "std"), [((123.675, 116.28, 103.53), (58.395, 57.12, 57.375)), (NONE, (10.0, -5.0, 2.0))]
)
def test_a_layer_for_what_no_grid_can_say(mean: Any, std: Any) -> None:
    model = network()
    whole = with_scaling_layer(model, mean, std, "pixels")
    assert [type(layer).__name__ for layer in whole.layers] == ["InputLayer", "DepthwiseConv2D", "Conv2D"]
    assert whole.inputs[0].name == "pixels"
    normalized = (PIXELS - np.float32(mean)) / np.float32(std)
    np.testing.assert_allclose(whole(PIXELS), model(normalized), rtol=1e-4, atol=1e-3)
    assert all(len(layer._inbound_nodes) == 1 for layer in model.layers)
