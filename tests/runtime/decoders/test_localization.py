"""One object of a picture: its class and its box."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from edgecv_runtime.errors import BundleError
from edgecv_runtime.preprocess import Geometry

Make = Callable[..., Any]
SHAPES = {"b": (1, 4), "c": (1, 3)}
ROLES = {"classes": "c", "box": "b"}


def test_by_hand(decoder: Make, letterboxed: Geometry) -> None:
    """A picture 200 wide and 100 high, in 64×64: the middles coincide, a pixel is 3.125 of the picture's."""
    head = decoder("localization", SHAPES, outputs=ROLES, activation="softmax", labels=("x", "y", "z"))
    found = head.decode([np.float32([0.5, 0.5, 0.25, 0.25]), np.log(np.float32([0.2, 0.7, 0.1]))], letterboxed)
    assert found.labels == ("y",) and found.scores[0] == pytest.approx(0.7)
    np.testing.assert_allclose(found.boxes, [[75, 25, 125, 75]], atol=1e-3)
    wide = head.decode([np.float32([0.5, 0.5, 2, 2]), np.zeros(3, np.float32)], letterboxed)
    np.testing.assert_allclose(wide.boxes, [[0, 0, 200, 100]])


def test_nothing(decoder: Make, plain: Geometry) -> None:
    head = decoder("localization", SHAPES, outputs=ROLES, score_threshold=0.6)
    box = np.float32([0.5, 0.5, 0.25, 0.25])
    assert len(head.decode([box, np.float32([0.5, 0.3, 0.2])], plain)) == 0
    assert len(head.decode([box * np.nan, np.float32([0.9, 0.1, 0])], plain)) == 0
    assert len(head.decode([box, np.float32([0.9, 0.1, 0])], plain)) == 1


def test_refused(decoder: Make) -> None:
    for shapes, labels, message in (
        ({"b": (1, 5), "c": (1, 3)}, None, "reads classes .batch, C. and a box"),
        ({"b": (1, 4), "c": (1, 1, 3)}, None, "reads classes .batch, C. and a box"),
        (SHAPES, ("one",), "one label per class: 3 classes, 1 labels"),
    ):
        with pytest.raises(BundleError, match=message):
            decoder("localization", shapes, outputs=ROLES, labels=labels)
    with pytest.raises(BundleError, match="needs outputs = {classes: NAME, box: NAME}"):
        decoder("localization", SHAPES)
