"""The fake-quantization op against TensorFlow's own and against arithmetic worked by hand."""

from __future__ import annotations

import numpy as np
import pytest

from edgecv_export.quantize.affine import Range, quantize_weights
from edgecv_export.quantize.aware.fake_quantize import (
    fake_quantize,
    fake_quantize_kernel,
    grid,
    learned_fake_quantize,
)


def gradients(function, x, low, high, weights=1.0):
    """Values of `function`, and the gradients of their weighted sum by x, low and high."""
    import tensorflow as tf

    variables = [tf.constant(value, tf.float32) for value in (x, low, high)]
    with tf.GradientTape() as tape:
        tape.watch(variables)
        values = function(*variables)
        total = tf.reduce_sum(values * weights)
    return [values.numpy(), *(gradient.numpy() for gradient in tape.gradient(total, variables))]


@pytest.mark.parametrize(
    ("low", "high", "bits"), [(-1.3, 2.7, 8), (0.0, 6.0, 8), (-0.5, 0.9, 4), (-3.0, 0.0, 8), (-0.01, 2.0, 2)]
)
def test_value_and_gradient_are_those_of_tensorflow(low: float, high: float, bits: int) -> None:
    import tensorflow as tf

    generator = np.random.default_rng(bits)
    x, weights = generator.normal(0, 2, (40, 25)), generator.normal(0, 1, (40, 25)).astype(np.float32)

    def reference(x, low, high):
        return tf.quantization.fake_quant_with_min_max_vars(x, low, high, num_bits=bits)

    def own(x, low, high):
        return fake_quantize(x, low, high, bits)

    for found, wanted in zip(
        gradients(own, x, low, high, weights), gradients(reference, x, low, high, weights), strict=True
    ):
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)


def test_a_grid_by_hand() -> None:
    # 15 steps over -1..1.1: each 0.14. Zero would be level 7.14 and becomes level 7: the range moves to -0.98..1.12.
    scale, zero_point = grid(np.float32(-1), np.float32(1.1), bits=4)
    assert float(scale) == pytest.approx(0.14)
    assert float(zero_point) == 7
    values, by_x, by_low, by_high = gradients(
        lambda *ends: fake_quantize(*ends, 4), [0.3, 5.0, -5.0, -0.99, 1.11], -1.0, 1.1
    )
    np.testing.assert_allclose(values, [0.28, 1.12, -0.98, -0.98, 1.12], rtol=1e-6)
    np.testing.assert_array_equal(by_x, [1, 0, 0, 0, 1])
    assert (by_low, by_high) == (2, 1)


@pytest.mark.parametrize(("low", "high"), [(-1.3, 2.7), (0.0, 6.0), (-3.0, 0.0)])
def test_the_grid_is_that_of_a_range(low: float, high: float) -> None:
    x = np.random.default_rng(0).normal(0, 2, 2000).astype(np.float32)
    for function in (fake_quantize, learned_fake_quantize):
        np.testing.assert_allclose(
            function(x, np.float32(low), np.float32(high)), Range(low, high).fake_quantize(x), atol=1e-6
        )


def test_learned_gradient_by_hand() -> None:
    # Fifteen steps over -6..9: the scale is 1, zero is level 6. Each end moves the scale by 1/15.
    def one(x):
        return gradients(lambda *a: learned_fake_quantize(*a, 4), [x], -6.0, 9.0)

    # Inside, the scale's gradient is round(x) - x = -0.25.
    value, by_x, by_low, by_high = one(2.25)
    assert (value[0], by_x[0]) == (2, 1)
    assert float(by_high) == pytest.approx(-0.25 / 15)
    assert float(by_low) == pytest.approx(0.25 / 15)
    # Clipped, the value is the end itself.
    for x, end, low, high in ((20.0, 9.0, 0.0, 1.0), (-20.0, -6.0, 1.0, 0.0)):
        value, by_x, by_low, by_high = one(x)
        assert (value[0], by_x[0]) == (pytest.approx(end), 0)
        assert float(by_low) == pytest.approx(low, abs=1e-6)
        assert float(by_high) == pytest.approx(high, abs=1e-6)


@pytest.mark.parametrize(("shape", "axes"), [((3, 3, 4, 8), (3,)), ((3, 3, 6, 2), (2, 3)), ((10, 4), (1,))])
def test_kernels_round_as_the_exporters_do(shape: tuple[int, ...], axes: tuple[int, ...]) -> None:
    kernel = np.random.default_rng(1).normal(0, 1, shape).astype(np.float32)
    kernel[..., 0] = 0
    np.testing.assert_allclose(fake_quantize_kernel(kernel, axes), quantize_weights(kernel, axes), atol=1e-6)


def test_a_four_bit_kernel_by_hand() -> None:
    # The largest magnitude, 7, is level 7: steps of 1; the other channel has 0.7 and steps of 0.1.
    kernel = np.array([[7.0, 0.26], [-3.4, -0.7]], np.float32)
    np.testing.assert_allclose(fake_quantize_kernel(kernel, (1,), 4), [[7, 0.3], [-3, -0.7]], rtol=1e-6)


def test_the_gradient_passes_through_a_rounded_kernel() -> None:
    import tensorflow as tf

    kernel = tf.constant([[0.3, 2.0], [-1.0, 0.4]])
    with tf.GradientTape() as tape:
        tape.watch(kernel)
        total = tf.reduce_sum(fake_quantize_kernel(kernel, (1,)) * [[1.0, 2.0], [3.0, 4.0]])
    np.testing.assert_array_equal(tape.gradient(total, kernel), [[1, 2], [3, 4]])
