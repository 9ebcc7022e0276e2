"""Local response normalisation against the formula written out, and TensorFlow's own."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from edgecv.layers.local_response import layer_class, local_response_normalization
from edgecv_runtime.errors import InputError


def test_the_paper_s_formula_channel_by_channel() -> None:
    values = np.random.default_rng(0).normal(0, 60, (2, 3, 4, 7)).astype(np.float32)
    found = np.asarray(layer_class()()(values))
    for i in range(7):
        total = sum(values[..., j].astype(np.float64) ** 2 for j in range(max(0, i - 2), min(6, i + 2) + 1))
        expected = values[..., i] / (2 + 1e-4 * total) ** 0.75
        assert found[..., i] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("size", "k", "alpha", "beta"), [(5, 2.0, 1e-4, 0.75), (3, 1.0, 1e-2, 0.75), (7, 1.5, 1e-3, 0.5)]
)
def test_as_tensorflow_computes_it(size: int, k: float, alpha: float, beta: float) -> None:
    values = np.random.default_rng(1).normal(0, 10, (1, 5, 5, 12)).astype(np.float32)
    expected = tf.nn.local_response_normalization(values, size // 2, k, alpha, beta).numpy()
    layer = layer_class()(size=size, k=k, alpha=alpha, beta=beta)
    assert np.abs(np.asarray(layer(values)) - expected).max() <= 1e-5 * np.abs(expected).max()


def test_it_is_saved_with_its_settings() -> None:
    layer = layer_class()(size=3, k=1.0, alpha=0.5, beta=0.75, name="norm")
    assert layer_class().from_config(layer.get_config()).get_config() == layer.get_config()


def test_an_even_window_is_refused() -> None:
    with pytest.raises(InputError, match="must be odd; received 4"):
        local_response_normalization(keras.Input((8, 8, 3)), "norm", size=4)
