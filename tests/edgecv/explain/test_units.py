"""Filters, activations, patches, and what is drawn of them."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from edgecv.explain.pictures import grid, heat_colors, scatter, stretch
from edgecv.explain.units import (
    activations,
    first_layer_filters,
    maximal_patches,
    plot_activations,
    plot_filters,
    plot_patches,
)
from edgecv_runtime.errors import InputError

layers = keras.layers


def network() -> Any:
    image = keras.Input((9, 9, 3))
    x = layers.Conv2D(2, 3, use_bias=False, name="first")(image)
    model = keras.Model(image, layers.Dense(2, name="out")(layers.Flatten()(x)))
    kernel = np.zeros((3, 3, 3, 2), np.float32)
    kernel[1, 1, 0, 0] = 1  # unit 0 looks at the red middle
    kernel[..., 2, 1] = 1
    model.get_layer("first").set_weights([kernel])
    return model


def test_filters() -> None:
    filters = first_layer_filters(network())
    assert filters.shape == (2, 3, 3, 3)
    assert filters[0, 1, 1].tolist() == [1, 0, 0]
    drawn = plot_filters(filters)  # two tiles of 16·3 pixels, with margins of 2
    assert drawn.shape == (48 + 4, 2 * 48 + 6, 3)
    assert drawn[2 + 24, 2 + 24].tolist() == [255, 0, 0] and drawn[0, 0].tolist() == [255, 255, 255]
    image = keras.Input((4,))
    with pytest.raises(InputError, match="a model with a 2-D convolution is required"):
        first_layer_filters(keras.Model(image, layers.Dense(1)(image)))


def test_activations() -> None:
    pixels = np.random.default_rng(0).uniform(size=(9, 9, 3)).astype(np.float32)
    maps = activations(network(), pixels, "first")
    assert maps.shape == (7, 7, 2)
    assert maps[..., 0] == pytest.approx(pixels[1:-1, 1:-1, 0])
    assert plot_activations(maps).shape == (7 * 6 + 4, 2 * 42 + 6, 3)


def test_maximal_patches() -> None:
    inputs = np.zeros((3, 9, 9, 3), np.float32)
    inputs[0, 4, 5, 0], inputs[1, 1, 7, 0], inputs[2, 0, 0, 0] = 2, 5, 9  # the last lies where no window is centred
    found = maximal_patches(network(), "first", 0, iter(inputs), count=2)
    assert [(patch.image, patch.activation) for patch in found] == [(1, 5), (0, 2)]
    assert found[0].position == (0, 6) and found[0].box == (0, 6, 3, 9)
    assert found[0].pixels[1, 1].tolist() == [5, 0, 0]
    assert plot_patches(found).shape == (64 + 4, 2 * 64 + 6, 3)
    with pytest.raises(InputError, match="layer 'first' has units 0 to 1; received 2"):
        maximal_patches(network(), "first", 2, inputs)
    with pytest.raises(InputError, match="layer 'out' must give a feature map"):
        maximal_patches(network(), "out", 0, inputs)


def test_pictures() -> None:
    assert heat_colors([[0, 0.5, 1]]).tolist() == [[[0, 0, 160], [40, 220, 40], [220, 0, 0]]]
    assert stretch([[-1, 0, 1]]).tolist() == [[0, 128, 255]]
    assert stretch([[3, 3]]).tolist() == [[0, 0]]
    with pytest.raises(InputError, match="tiles must be pictures of one size, at least one; received 0"):
        grid([])
    points = scatter([[0, 0], [1, 1]], labels=[0, 1], side=200)
    dark = np.argwhere((points < 250).any(axis=2))
    assert dark.min() == pytest.approx(10, abs=6) and dark.max() == pytest.approx(190, abs=6)
    assert (points[189, 10] != 255).any() and (points[10, 189] != 255).any()  # y points up
    tiles = scatter([[0, 0], [1, 1]], thumbnails=[np.zeros((4, 4, 3), np.uint8)] * 2, side=200)
    assert (tiles == 0).all(axis=2).sum() == 2 * 10 * 10
    with pytest.raises(InputError, match=r"points must be \(N, 2\) finite numbers"):
        scatter([[0, np.nan]])
    with pytest.raises(InputError, match="there must be one of labels per point: 2; received 1"):
        scatter([[0, 0], [1, 1]], labels=[0])
