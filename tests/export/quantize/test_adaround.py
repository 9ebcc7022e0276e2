"""Learned rounding, on problems small enough to try every choice."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
from keras import layers

from edgecv_export.quantize.adaround import (
    Moments,
    can_learn,
    learned_kernel,
    learned_levels,
    moments_of,
    output_error,
)
from edgecv_export.quantize.affine import quantize_weights
from edgecv_export.quantize.kernels import channel_axes


def moments(inputs: np.ndarray, drift: np.ndarray | None = None) -> Moments:
    inputs = np.asarray(inputs, np.float64)[None]
    return Moments(inputs, np.zeros_like(inputs) if drift is None else np.asarray(drift, np.float64)[None])


def column(*weights: float) -> np.ndarray:
    return np.array(weights)[None, :, None]


def test_inputs_that_go_together_round_against_each_other() -> None:
    # Both inputs are equal: only the sum 0.8 counts, and 1 + 0 is nearer to it than nearest rounding's 0 + 0.
    found = learned_levels(column(0.4, 0.4), moments([[1.01, 1], [1, 1.01]]))
    assert sorted(found.ravel()) == [0, 1]


def test_inputs_that_cancel_round_alike() -> None:
    # The inputs are opposite: the difference 0.2 counts, and 1 - 1 is nearer than nearest rounding's 1 - 0.
    found = learned_levels(column(0.6, 0.4), moments([[1.01, -1], [-1, 1.01]]))
    assert found.ravel().tolist() in ([0, 0], [1, 1])


def test_unrelated_inputs_round_to_nearest() -> None:
    found = learned_levels(column(0.4, -0.6, 126.7, 5.0), moments(np.eye(4)))
    assert found.ravel().tolist() == [0, -1, 127, 5]


def test_drift_by_hand() -> None:
    # The rounded network's input is x̂ = 1.2 x. With w = 0.4 the output 0.4 x is best met by w = 0.333 on x̂: 0. With
    # w = 1.7, by 1.4167: 1, where nearest rounding takes 2.
    variance, drift = [[1.44]], [[1.2 * 0.2]]
    assert learned_levels(column(0.4), moments(variance, drift)).item() == 0
    assert learned_levels(column(1.7), moments(variance, drift)).item() == 1


def test_the_error_by_hand() -> None:
    # d = (-0.4, 0.3): 0.16 · 2 + 0.09 · 1 - 2 · 0.12 · 0.5 = 0.29; and 2 d·D w with D w = (0.1 · 0.4, 0) = -0.032
    weights, levels = column(0.4, 0.7), column(0.0, 1.0)
    found = output_error(weights, levels, moments([[2, 0.5], [0.5, 1]], [[0.1, 0], [0, 0]]))
    assert found.item() == pytest.approx(0.29 - 0.032)


def test_near_the_best_of_all_choices() -> None:
    gained, possible = 0.0, 0.0
    choices = np.array(list(product((0, 1), repeat=10))).T[None]
    for seed in range(20):
        generator = np.random.default_rng(seed)
        mixed = generator.normal(0, 1, (50, 10)) @ generator.normal(0, 1, (10, 10))
        known = moments(mixed.T @ mixed / 50, generator.normal(0, 0.05, (10, 10)))
        weights = generator.uniform(-20, 20, (1, 10, 1))
        least = output_error(weights, np.floor(weights) + choices, known).min()
        found = output_error(weights, learned_levels(weights, known), known).item()
        nearest = output_error(weights, np.rint(weights), known).item()
        assert least - 1e-9 <= found <= nearest + 1e-9
        gained, possible = gained + nearest - found, possible + nearest - least
    assert gained >= 0.8 * possible


def test_no_flip_that_helps_is_left() -> None:
    generator = np.random.default_rng(0)
    mixed = generator.normal(0, 1, (400, 150)) @ generator.normal(0, 1, (150, 150))  # several blocks of inputs
    known = moments(mixed.T @ mixed / 400)
    weights = generator.uniform(-100, 100, (1, 150, 4))
    found = learned_levels(weights, known)
    least = output_error(weights, found, known)[0]
    for index in range(150):
        other = found.copy()
        other[0, index] += np.where(found[0, index] < weights[0, index], 1, -1)
        assert np.all(output_error(weights, other, known)[0] >= least - 1e-6 * least)
    assert np.all(least < 0.5 * output_error(weights, np.rint(weights), known)[0])


def test_only_floor_and_ceiling() -> None:
    generator = np.random.default_rng(0)
    mixed = generator.normal(0, 1, (40, 30)) @ generator.normal(0, 1, (30, 30))
    weights = generator.uniform(-127, 127, (1, 30, 20))
    weights[0, 0], weights[0, 1] = 127, -127
    found = learned_levels(weights, moments(mixed.T @ mixed, generator.normal(0, 1, (30, 30))))
    assert np.all((found == np.floor(weights)) | (found == np.ceil(weights)))
    assert np.all(found[0, 0] == 127)
    assert np.all(found[0, 1] == -127)


# -- moments -------------------------------------------------------------------------------------------------------


def test_moments_of_many_samples_are_the_covariances() -> None:
    generator = np.random.default_rng(0)
    x = (generator.normal(0, 1, (1, 200_000, 3)) @ generator.normal(0, 1, (3, 3)) + 5).astype(np.float32)
    shift = 0.3 * x + generator.normal(0, 0.1, x.shape).astype(np.float32)
    found = moments_of(x, x + shift)
    expected = np.cov(np.concatenate([(x + shift)[0].T, shift[0].T]))
    damping = 0.1 * np.trace(expected[:3, :3]) / 3 * np.eye(3)
    np.testing.assert_allclose(found.inputs[0], expected[:3, :3] + damping, rtol=2e-3, atol=2e-3)
    np.testing.assert_allclose(found.drift[0], 0.5 * expected[:3, 3:], rtol=2e-3, atol=2e-3)  # half is made up for


def test_the_mean_counts_where_no_bias_will_be_corrected() -> None:
    x = np.full((1, 100, 2), 3.0, np.float32)
    found = moments_of(x, x, centred=False).inputs[0]
    np.testing.assert_allclose(found, 9.0 + 0.9 * np.eye(2))
    assert np.abs(moments_of(x, x).inputs).max() < 1e-6


def test_relations_by_chance_are_not_believed() -> None:
    # 20 samples of 200 unrelated inputs: every covariance off the diagonal is sampling error
    x = np.random.default_rng(0).normal(0, 1, (1, 20, 200)).astype(np.float32)
    found = moments_of(x, x).inputs[0]
    off = found - np.diag(np.diag(found))
    plain = np.cov(x[0].T)
    assert np.abs(off).mean() < 0.15 * np.abs(plain - np.diag(np.diag(plain))).mean()
    assert np.linalg.eigvalsh(found).min() > 0


# -- whole layers --------------------------------------------------------------------------------------------------

LAYERS = [
    layers.Conv2D(6, 3, strides=2, padding="same"),
    layers.Conv2D(8, 3, groups=2),
    layers.DepthwiseConv2D(3, padding="same", depth_multiplier=2),
    layers.Dense(5),
]


def related_inputs(shape: tuple[int, ...], seed: int) -> np.ndarray:
    """Smooth in space and mixed over channels, positive as behind a ReLU."""
    generator = np.random.default_rng(seed)
    noise = generator.normal(0, 1, shape) @ generator.normal(0, 1, (shape[-1], shape[-1]))
    for axis in range(1, len(shape) - 1):
        noise = noise + np.roll(noise, 1, axis) + np.roll(noise, 2, axis)
    return np.maximum(noise, 0).astype(np.float32)


@pytest.mark.parametrize(
    # Of the nine weights of a depthwise channel, nearest rounding is often the best choice already.
    ("layer", "share"),
    list(zip(LAYERS, (0.8, 0.8, 0.97, 0.8), strict=True)),
    ids=lambda value: getattr(value, "name", ""),
)
def test_a_layer_answers_better_on_images_it_has_not_seen(layer: Any, share: float) -> None:
    images = related_inputs((24, 14, 14, 4), 0)
    seen, unseen = images[:12], images[12:]
    layer(seen)
    # Few levels, so that rounding matters: one weight of each channel is large.
    generator = np.random.default_rng(1)
    kernel = generator.uniform(-0.1, 0.1, layer.kernel.shape).astype(np.float32)
    if isinstance(layer, layers.DepthwiseConv2D):
        kernel[0, 0] = 4.0
    else:
        kernel[(0,) * (kernel.ndim - 1)] = 4.0
    layer.kernel.assign(kernel)
    wanted = np.asarray(layer(unseen))
    learned = learned_kernel(layer, seen, seen, np.random.default_rng(0))
    errors = []
    for rounded in (quantize_weights(kernel, channel_axes(layer)), learned):
        layer.kernel.assign(rounded)
        error = np.asarray(layer(unseen)) - wanted
        errors.append(float(error.reshape(-1, error.shape[-1]).var(axis=0).mean()))
    assert errors[1] < share * errors[0]
    again = quantize_weights(learned, channel_axes(layer))
    np.testing.assert_allclose(again, learned, rtol=3e-7)
    scale = 4.0 / 127
    np.testing.assert_array_equal(np.rint(again / scale), np.rint(learned / scale))
    assert np.abs(learned - kernel).max() < scale * 1.001


def test_weights_on_their_levels_stay() -> None:
    layer = layers.Dense(3)
    x = related_inputs((50, 4), 0)
    layer(x)
    layer.kernel.assign(quantize_weights(np.asarray(layer.kernel), (1,)))
    found = learned_kernel(layer, x, x * 1.1, np.random.default_rng(0))
    np.testing.assert_allclose(found, layer.kernel, rtol=3e-7)


def test_layers_that_cannot_learn() -> None:
    small, large, transposed = layers.Dense(3), layers.Dense(1), layers.Conv2DTranspose(3, 3)
    for layer, shape in ((small, (None, 4608)), (large, (None, 4609)), (transposed, (None, 8, 8, 3))):
        layer.build(shape)
    assert can_learn(small)
    assert not can_learn(large)
    assert not can_learn(transposed)
