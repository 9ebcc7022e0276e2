"""Templates by hand arithmetic."""

from __future__ import annotations

import math

import numpy as np
import pytest

from edgecv_runtime.errors import InputError
from edgecv_runtime.gallery.distances import get_distance
from edgecv_runtime.gallery.templates import TEMPLATES, check_template, mean, robust_mean, template_maker

SAME = np.ones(3, np.float32)


def floats(*rows: list[float]) -> np.ndarray:
    return np.array(rows, np.float32)


def test_all_makes_nothing() -> None:
    assert template_maker("all", get_distance("cosine")) is None


def test_mean_by_hand() -> None:
    vectors = floats([1, 0], [0, 1], [0, 1])
    make = template_maker("mean", get_distance("euclidean"))
    assert make is not None
    np.testing.assert_allclose(make(vectors, SAME), [1 / 3, 2 / 3], atol=1e-7)
    turned = template_maker("mean", get_distance("cosine"))
    assert turned is not None
    np.testing.assert_allclose(turned(vectors, SAME), [1 / math.sqrt(5), 2 / math.sqrt(5)], atol=1e-7)
    assert turned(vectors, SAME).dtype == np.float32


def test_quality_weighs_where_all_of_it_is_known() -> None:
    vectors = floats([1, 0], [0, 1])
    np.testing.assert_allclose(mean(vectors, [0.2, 0.6], unit=False), [0.25, 0.75], atol=1e-7)
    np.testing.assert_allclose(mean(vectors, [0.0, 0.95], unit=False), [0.05, 0.95], atol=1e-7)  # 0.05 at least
    np.testing.assert_allclose(mean(vectors, [0.2, np.nan], unit=False), [0.5, 0.5], atol=1e-7)


def test_a_robust_mean_leaves_the_outlier() -> None:
    angles = np.radians([-4, -2, 0, 2, 4, 90])
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)

    def angle(vector: np.ndarray) -> float:
        return math.degrees(math.atan2(vector[1], vector[0]))

    # The plain mean points to atan(1 / Σ cos) of the five and the one: 11.3°.
    assert angle(mean(vectors)) == pytest.approx(math.degrees(math.atan2(1, float(np.cos(angles[:5]).sum()))), abs=1e-3)
    assert 0 < angle(robust_mean(vectors)) < 1.5
    assert np.linalg.norm(robust_mean(vectors)) == pytest.approx(1, abs=1e-6)


def test_hubers_fixed_point() -> None:
    """The weights that the answer gives itself must give the answer."""
    values = np.array([0.5, 0.9, 1, 1.15, 10])
    found = float(robust_mean(values[:, None].astype(np.float32), unit=False)[0])
    apart = np.abs(values - found)
    weights = np.minimum(1, 1.345 * np.median(apart) / apart)
    assert found == pytest.approx((weights * values).sum() / weights.sum(), abs=1e-4)
    assert 0.8 < found < 1.2 < values.mean()
    # Beyond c an outlier pulls no harder: 0 and 10 pull alike, and the rest is symmetric.
    even = np.array([[0], [0.9], [1], [1.1], [10]], np.float32)
    assert float(robust_mean(even, unit=False)[0]) == pytest.approx(1, abs=1e-6)


def test_few_and_equal_samples() -> None:
    two = floats([1, 0], [0, 1])
    np.testing.assert_array_equal(robust_mean(two), mean(two))
    same = floats([0.6, 0.8], [0.6, 0.8], [0.6, 0.8], [1, 0])
    np.testing.assert_allclose(robust_mean(same), [0.6, 0.8], atol=1e-7)
    np.testing.assert_array_equal(mean(floats([0.6, 0.8])), floats([0.6, 0.8])[0])


def test_samples_that_cancel_each_other() -> None:
    np.testing.assert_array_equal(mean(floats([1, 0], [-1, 0])), [1, 0])
    np.testing.assert_array_equal(mean(floats([1, 0], [-1, 0]), unit=False), [0, 0])


def test_names() -> None:
    assert [check_template(name) for name in TEMPLATES] == ["all", "mean", "robust-mean"]
    with pytest.raises(InputError, match="all, mean, robust-mean"):
        check_template("median")
