"""Alignment against scikit-image, OpenCV and arithmetic by hand."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest

from edgecv_runtime.errors import InputError
from edgecv_runtime.faces.alignment import (
    BLAZEFACE,
    FIVE_POINT,
    REFERENCE_POINTS,
    BoxCrop,
    apply,
    reference_points,
    similarity_transform,
    warp,
)


def _turned(degrees: float, scale: float, shift: tuple[float, float]) -> np.ndarray:
    angle = math.radians(degrees)
    return np.array([
        [scale * math.cos(angle), -scale * math.sin(angle), shift[0]],
        [scale * math.sin(angle), scale * math.cos(angle), shift[1]],
    ])  # fmt: skip


@pytest.mark.parametrize("noise", [0.0, 3.0, 40.0])
def test_equals_scikit_image(noise: float) -> None:
    """Points far from any similarity, too, among them such that a mirrored face would fit better."""
    transform = pytest.importorskip("skimage.transform")
    generator = np.random.default_rng(7)
    for _ in range(200):
        places = _turned(
            generator.uniform(-180, 180), generator.uniform(0.1, 8), tuple(generator.uniform(-500, 500, 2))
        )
        source = apply(places, REFERENCE_POINTS) + generator.normal(0, noise, (5, 2))
        if generator.random() < 0.3:
            source[:, 0] *= -1
        expected = transform.SimilarityTransform.from_estimate(source, REFERENCE_POINTS).params[:2]
        np.testing.assert_allclose(similarity_transform(source, REFERENCE_POINTS), expected, atol=1e-4)


@pytest.mark.parametrize("count", [2, 4, 5])
def test_a_known_transform_is_found_again(count: int) -> None:
    wanted = _turned(30, 2.5, (-7, 11))
    points = np.random.default_rng(0).uniform(0, 100, (count, 2))
    np.testing.assert_allclose(similarity_transform(points, apply(wanted, points)), wanted, atol=1e-10)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (np.zeros((5, 2)), "must not all lie in one place"),
        (np.full((5, 2), np.nan), "must be finite numbers"),
        (np.zeros((4, 2)), "received shapes (4, 2) and (5, 2)"),
        (np.zeros(10), "received shapes (10,) and (5, 2)"),
    ],
)
def test_bad_landmarks(source: np.ndarray, message: str, one_line: Callable[[Any], str]) -> None:
    with pytest.raises(InputError) as caught:
        similarity_transform(source, REFERENCE_POINTS)
    assert message in one_line(caught)


def test_the_templates() -> None:
    """SphereFace's points for 112 × 96, as published; ArcFace's are 8 pixels further right, and scale with the crop."""
    sphereface = [
        [30.2946, 51.6963],
        [65.5318, 51.5014],
        [48.0252, 71.7366],
        [33.5493, 92.3655],
        [62.7299, 92.2041],
    ]
    np.testing.assert_allclose(reference_points((112, 96)), sphereface, atol=1e-9)
    arcface = np.array(sphereface) + np.array([8.0, 0.0])
    np.testing.assert_allclose(reference_points((112, 112)), arcface, atol=1e-9)
    np.testing.assert_allclose(reference_points((224, 224)), 2 * arcface, atol=1e-9)
    np.testing.assert_array_equal(FIVE_POINT.places((112, 112)), REFERENCE_POINTS)
    # BlazeFace's eyes lie where the template's are, to two pixels; its mouth in the middle of the template's corners.
    blazeface = BLAZEFACE.places((112, 112))
    np.testing.assert_allclose(blazeface[:2], REFERENCE_POINTS[:2], atol=1.6)
    np.testing.assert_allclose(blazeface[3], REFERENCE_POINTS[3:].mean(axis=0), atol=1.6)


def test_warp_counts_from_the_edge_of_a_pixel() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)
    np.testing.assert_array_equal(warp(picture, _turned(0, 1, (0, 0)), (40, 50)), picture)
    shifted = warp(picture, _turned(0, 1, (-10, -20)), (20, 30))
    np.testing.assert_array_equal(shifted, picture[20:40, 10:40])
    turned = warp(picture, np.array([[0.0, -1.0, 40.0], [1.0, 0.0, 0.0]]), (50, 40))
    np.testing.assert_array_equal(turned, cv2.rotate(picture, cv2.ROTATE_90_CLOCKWISE))
    larger = warp(picture, _turned(0, 2, (0, 0)), (80, 100)).astype(int)
    expected = cv2.resize(picture, (100, 80), interpolation=cv2.INTER_LINEAR).astype(int)
    assert np.abs(larger - expected)[2:-2, 2:-2].max() <= 2  # the two round in fixed point of different widths


def test_outside_the_picture_is_black() -> None:
    crop = warp(np.full((10, 10, 3), 200, np.uint8), _turned(0, 1, (5, 5)), (20, 20))
    assert (crop[6:14, 6:14] == 200).all() and (crop[:4] == 0).all() and (crop[16:] == 0).all()


@pytest.mark.parametrize("shrink", [2.0, 3.7, 8.0])
def test_a_large_face_is_averaged_not_sampled(shrink: float) -> None:
    """A chessboard of single pixels is grey from afar; taking single pixels would show black and white."""
    rows, columns = np.mgrid[0:900, 0:900]
    board = (255 * ((rows + columns) % 2)).astype(np.uint8)[:, :, None].repeat(3, axis=2)
    size = int(900 / shrink)
    crop = warp(board, _turned(0, 1 / shrink, (0, 0)), (size, size))[2:-2, 2:-2]
    assert abs(float(crop.mean()) - 127.5) < 2 and float(crop.std()) < (3 if shrink == int(shrink) else 40)


def test_a_large_face_keeps_its_place() -> None:
    """A bright square in a large picture lands where the matrix puts it, to half a pixel."""
    picture = np.zeros((1000, 1400, 3), np.uint8)
    picture[400:600, 700:900] = 255
    matrix = _turned(0, 0.137, (-20.3, -10.6))
    crop = warp(picture, matrix, (112, 112)).astype(float)[..., 0]
    weights = crop / crop.sum()
    rows, columns = np.mgrid[0:112, 0:112] + 0.5
    middle = apply(matrix, [[800, 500]])[0]
    assert float((columns * weights).sum()) == pytest.approx(middle[0], abs=0.3)
    assert float((rows * weights).sum()) == pytest.approx(middle[1], abs=0.3)


def test_box_crop_by_hand() -> None:
    """A box of 40 × 90 has the mean side 60; 1.5 of that is 90; its middle (30, 65) rises by 0.1 × 90 to 56."""
    matrix = BoxCrop(1.5, 0.1).transform([10, 20, 50, 110], (112, 112))
    corners = apply(matrix, [[30 - 45, 56 - 45], [30 + 45, 56 + 45]])
    np.testing.assert_allclose(corners, [[0, 0], [112, 112]], atol=1e-9)
    narrow = BoxCrop(1.5, 0.1).transform([10, 20, 50, 110], (112, 96))
    np.testing.assert_allclose(apply(narrow, [[30, 56]]), [[48, 56]], atol=1e-9)


def test_bad_box_crops(one_line: Callable[[Any], str]) -> None:
    for scale, rise, message in ((0, 0, "scale must be in (0, 10]"), (1, math.nan, "rise must be in [-2, 2]")):
        with pytest.raises(InputError) as caught:
            BoxCrop(scale, rise)
        assert message in one_line(caught)
    with pytest.raises(InputError, match="must have an area"):
        BoxCrop(1, 0).transform([5, 5, 5, 9], (112, 112))
