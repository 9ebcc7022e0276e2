"""A layer's output is its patches times its matrices: against Keras itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from keras import layers

from edgecv_export.quantize.patches import from_matrices, has_patches, patches, positions, to_matrices

CASES = [
    layers.Conv2D(6, 3),
    layers.Conv2D(6, 3, padding="same"),
    layers.Conv2D(6, (3, 2), strides=2, padding="same"),  # the odd row of padding goes below
    layers.Conv2D(6, 5, strides=(2, 3)),
    layers.Conv2D(6, 3, dilation_rate=(2, 1), padding="same"),
    layers.Conv2D(6, 3, groups=2, padding="same"),
    layers.Conv2D(6, 1, strides=2),
    layers.DepthwiseConv2D(3, padding="same"),
    layers.DepthwiseConv2D(3, strides=2, padding="same", depth_multiplier=3),
    layers.DepthwiseConv2D((2, 3), dilation_rate=2),
    layers.Dense(5),
]


def values(layer: Any) -> np.ndarray:
    return np.random.default_rng(0).normal(0, 1, (2, 11, 10, 4)).astype(np.float32)


@pytest.mark.parametrize("layer", CASES, ids=lambda layer: layer.name)
def test_patches_times_matrices_is_the_output(layer: Any) -> None:
    x = values(layer)
    expected = np.asarray(layer(x))
    assert has_patches(layer)
    kernel = np.asarray(layer.kernel)
    chosen = np.random.default_rng(1).permutation(expected[..., 0].size)[:20]
    got = patches(layer, x, chosen) @ to_matrices(layer, kernel)  # (groups, chosen, outputs)
    got = got.transpose(1, 0, 2).reshape(len(chosen), -1)
    np.testing.assert_allclose(got, expected.reshape(-1, expected.shape[-1])[chosen], atol=1e-5)


@pytest.mark.parametrize("layer", CASES, ids=lambda layer: layer.name)
def test_kernels_go_there_and_back(layer: Any) -> None:
    layer(values(layer))
    kernel = np.asarray(layer.kernel)
    np.testing.assert_array_equal(from_matrices(layer, to_matrices(layer, kernel)), kernel)


@pytest.mark.parametrize("layer", CASES, ids=lambda layer: layer.name)
def test_positions_are_those_of_the_output(layer: Any) -> None:
    x = values(layer)
    count = np.asarray(layer(x))[..., 0].size
    generator = np.random.default_rng(0)
    np.testing.assert_array_equal(positions(layer, x, 10_000, generator), np.arange(count))
    few = positions(layer, x, 7, generator)
    assert len(np.unique(few)) == 7
    assert few.min() >= 0
    assert few.max() < count


def test_other_layers_have_none() -> None:
    assert not has_patches(layers.Conv2DTranspose(3, 3))
    assert not has_patches(layers.Conv1D(3, 3))
    assert not has_patches(layers.Conv2D(3, 3, data_format="channels_first"))
