"""Distances by hand arithmetic and by SciPy."""

from __future__ import annotations

import math

import numpy as np
import pytest

from edgecv_runtime.errors import InputError
from edgecv_runtime.gallery.distances import DISTANCES, get_distance, to_unit

F, G, H = [1.0, 0.0, 3.0], [2.0, 0.0, 1.0], [1.0, 4.0, 3.0]


def test_by_hand() -> None:
    rows = [F, G, H]
    assert get_distance("euclidean")(F, rows).tolist() == pytest.approx([0, math.sqrt(1 + 4), 4])
    assert get_distance("weighted-l1")(F, rows).tolist() == [0, 3, 4]
    # 1/3 + 0/0 + 4/4; the pair of zeros adds nothing. 16/4 for the middle value of the third row.
    assert get_distance("chi-squared")(F, rows).tolist() == pytest.approx([0, 1 / 3 + 1, 4])
    cosine = (1 * 2 + 3 * 1) / math.sqrt(10 * 5)
    assert get_distance("cosine")(F, rows).tolist() == pytest.approx([0, 1 - cosine, 1 - 10 / math.sqrt(260)])


def test_weights_by_hand() -> None:
    weights = [2, 7, 0.5]
    assert get_distance("weighted-l1").with_weights(weights)(F, [G, H]).tolist() == [2 * 1 + 0.5 * 2, 7 * 4]
    expected = [2 * 1 / 3 + 0.5 * 1, 7 * 4]
    assert get_distance("chi-squared").with_weights(weights)(F, [G, H]).tolist() == pytest.approx(expected)
    assert get_distance("weighted-l1").with_weights(weights).with_weights(None)(F, [G]).tolist() == [3]


@pytest.mark.slow  # to import SciPy takes seconds
@pytest.mark.parametrize(
    ("name", "other"), [("euclidean", "euclidean"), ("weighted-l1", "cityblock"), ("cosine", "cosine")]
)
def test_as_scipy(name: str, other: str) -> None:
    distances = pytest.importorskip("scipy.spatial.distance", reason="compared with SciPy where it is installed")
    generator = np.random.default_rng(0)
    query, rows = generator.normal(size=40), generator.normal(size=(60, 40))
    expected = distances.cdist(query[None], rows, other)[0]
    np.testing.assert_allclose(get_distance(name)(query, rows), expected, rtol=2e-5)


def test_near_cosines_keep_their_digits() -> None:
    """The angle is 1e-4: 1 - cos is 5e-9, which 1 - float32(cos) would call 0."""
    other = [math.cos(1e-4), math.sin(1e-4)]
    assert get_distance("cosine")([1, 0], [other])[0] == pytest.approx(5e-9, rel=1e-3)


@pytest.mark.parametrize("name", list(DISTANCES))
def test_scores(name: str) -> None:
    distance = get_distance(name)
    rows = distance.prepare(np.abs(np.random.default_rng(1).normal(size=(20, 6))))
    scores = distance.similarity(rows[3], rows)
    assert scores.argmax() == 3 and scores.dtype == np.float32
    apart = distance(rows[3], rows)
    np.testing.assert_allclose([distance.to_distance(score) for score in scores.tolist()], apart, atol=1e-6)
    np.testing.assert_allclose([distance.to_score(value) for value in apart.tolist()], scores, atol=1e-6)
    assert (distance.score is None) == (name == "cosine")
    assert distance.to_distance(1.0000001 if name == "cosine" else 1e-9) == 0


def test_unit_vectors() -> None:
    np.testing.assert_allclose(to_unit([[3, 4], [0, -2]]), [[0.6, 0.8], [0, -1]], atol=1e-7)
    for scale in (1e-200, 1e-30, 1e30, 1e200):  # beyond what float32, or a square in float64, holds
        np.testing.assert_allclose(to_unit(np.array([3, 4]) * scale), [0.6, 0.8], atol=1e-7)
    assert to_unit(np.zeros((0, 4))).shape == (0, 4)


@pytest.mark.parametrize(
    ("name", "vector", "said"),
    [
        ("cosine", [0, 0], "direction"),
        ("cosine", [np.nan, 1], "finite"),
        ("euclidean", [np.inf, 1], "finite"),
        ("euclidean", [1e39, 1], "finite"),
        ("chi-squared", [-0.1, 1], "0 or more"),
    ],
)
def test_what_a_distance_is_not_defined_for(name: str, vector: list[float], said: str) -> None:
    with pytest.raises(InputError, match=said):
        get_distance(name).prepare(vector)
    with pytest.raises(InputError, match=said):
        get_distance(name)([1, 1], [vector])


def test_bad_arguments() -> None:
    with pytest.raises(InputError, match="cosine, euclidean, weighted-l1, chi-squared"):
        get_distance("manhattan")
    with pytest.raises(InputError, match="takes no weights"):
        get_distance("cosine").with_weights([1, 1])
    for weights in ([-1, 1], [np.nan, 1], [0, 0], [[1, 1]]):
        with pytest.raises(InputError, match="weights must be"):
            get_distance("weighted-l1").with_weights(weights)
    with pytest.raises(InputError, match="for 2 values"):
        get_distance("weighted-l1").with_weights([1, 1]).prepare([1, 2, 3])
    with pytest.raises(InputError, match=r"\(D,\) query"):
        get_distance("euclidean")([1, 2], [[1, 2, 3]])
