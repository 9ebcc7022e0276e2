"""COCO's outlines beside the reference implementation, pixel by pixel."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edgecv_runtime.errors import InputError
from edgecv_runtime.outlines import draw_outline


@pytest.mark.parametrize("seed", range(5))
def test_polygons_equal_pycocotools(seed: int) -> None:
    rle = pytest.importorskip("pycocotools.mask")
    generator = np.random.default_rng(seed)
    height, width = 47, 61
    for _ in range(20):
        polygons = [
            (generator.uniform(-8, 68, (int(generator.integers(3, 9)), 2)) * [1, 47 / 61]).ravel().round(2).tolist()
            for _ in range(int(generator.integers(1, 4)))
        ]
        expected = rle.decode(rle.merge(rle.frPyObjects(polygons, height, width))) > 0
        np.testing.assert_array_equal(draw_outline(polygons, height, width), expected)


def test_whole_pixels_by_hand() -> None:
    mask = draw_outline([[2, 1, 6, 1, 6, 4, 2, 4]], 6, 8)
    expected = np.zeros((6, 8), bool)
    expected[1:4, 2:6] = True
    np.testing.assert_array_equal(mask, expected)


@pytest.mark.parametrize("seed", range(3))
def test_runs_equal_pycocotools(seed: int) -> None:
    rle = pytest.importorskip("pycocotools.mask")
    mask = np.random.default_rng(seed).random((40, 300)) < (0.02, 0.5, 0.98)[seed]
    packed = rle.encode(np.asfortranarray(mask.astype(np.uint8)))
    text = {"size": packed["size"], "counts": packed["counts"].decode()}
    np.testing.assert_array_equal(draw_outline(text, 40, 300), mask)
    flat = mask.T.ravel()
    changes = np.flatnonzero(np.diff(np.concatenate([[False], flat])))
    runs = np.diff(np.concatenate([[0], changes, [flat.size]])).tolist()
    np.testing.assert_array_equal(draw_outline({"size": [40, 300], "counts": runs}, 40, 300), mask)


@pytest.mark.parametrize(
    ("outline", "message"),
    [
        ("x", "must be polygons or run lengths"),
        ([[1, 2, 3, 4]], "three or more pairs"),
        ([[1, 2, 3, 4, 5, "a"]], "a polygon must be numbers"),
        ([[1, 2, 3, 4, 5, float("nan")]], "must be finite"),
        ({"counts": [4], "size": [3, 2]}, r"of the picture's size \[2, 2\]; received \[3, 2\]"),
        ({"counts": [3], "size": [2, 2]}, "add up to 4"),
        ({"counts": "4", "size": None}, "of the picture's size"),
    ],
)
def test_refused(outline: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        draw_outline(outline, 2, 2)
