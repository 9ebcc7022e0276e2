"""Coordinates to a pose."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from edgecv_runtime.errors import BundleError
from edgecv_runtime.preprocess import Geometry

Make = Callable[..., Any]


def test_by_hand(decoder: Make, letterboxed: Geometry) -> None:
    head = decoder("regression-pose", {"o": (1, 4)}, labels=("nose", "tail"), skeleton=[[0, 1]])
    found = head.decode([np.float32([0.5, 0.5, 0.25, 0.75])], letterboxed)
    # Shares of 64 pixels; times 3.125, and 50 up.
    np.testing.assert_allclose(found.keypoints, [[100, 50], [50, 100]], atol=1e-4)
    assert found.scores.tolist() == [1, 1]
    assert found.labels == ("nose", "tail") and found.skeleton == ((0, 1),)


def test_sigmoid_of_a_wide_input(decoder: Make) -> None:
    head = decoder("regression-pose", {"o": (1, 2)}, size=(32, 64), activation="sigmoid")
    found = head.decode([np.float32([0, np.log(3)])], Geometry((32, 64), (1.0, 1.0), (0.0, 0.0)))
    np.testing.assert_allclose(found.keypoints, [[32, 24]], atol=1e-4)


@pytest.mark.parametrize(
    ("shape", "parameters", "message"),
    [
        ((1, 5), {}, r"reads \(batch, 2 K\); the manifest says \[1, 5\]"),
        ((1, 2, 2), {}, r"reads \(batch, 2 K\)"),
        ((1, 4), {"labels": ("a",)}, "2 keypoints, 1 labels"),
        ((1, 4), {"skeleton": [[0, 2]]}, "skeleton must join keypoints 0..1"),
        ((1, 4), {"activation": "softmax"}, "activation of decoder 'regression-pose' must be none | sigmoid"),
    ],
)
def test_refused(
    shape: tuple[int, ...], parameters: dict[str, Any], message: str, decoder: Make, one_line: Any
) -> None:
    with pytest.raises(BundleError, match=message) as caught:
        decoder("regression-pose", {"o": shape}, **parameters)
    one_line(caught)
