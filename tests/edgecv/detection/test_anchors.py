"""Scales of eq. 4 by hand, published counts of default boxes, and k-means on clusters that are known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from edgecv.detection.anchors import (
    grid_anchors,
    kmeans_anchors,
    plain_numbers,
    size_iou,
    ssd_anchors,
    ssd_scales,
    ssd_shapes,
)
from edgecv.models import ssd, ssdlite
from edgecv_runtime.errors import InputError


def test_scales_of_equation_4() -> None:
    # m = 6, 0.2 to 0.9: steps of 0.7 / 5.
    assert ssd_scales(6) == pytest.approx([0.2, 0.34, 0.48, 0.62, 0.76, 0.9])
    assert ssd_scales(2, 0.1, 0.5) == pytest.approx([0.1, 0.5])


def test_shapes_by_hand() -> None:
    shapes = ssd_shapes(0.2, 0.37, (2, 3))
    between = math.sqrt(0.2 * 0.37)
    expected = [(0.2, 0.2), (between, between)]
    for ratio in (2, 0.5, 3, 1 / 3):
        expected.append((0.2 * math.sqrt(ratio), 0.2 / math.sqrt(ratio)))
    np.testing.assert_allclose(shapes, expected, rtol=1e-12)


def test_anchors_lie_row_by_row_and_all_of_a_cell_together() -> None:
    found = grid_anchors((2, 3), [(0.5, 0.25), (1, 1)])
    assert found.shape == (12, 4)
    np.testing.assert_allclose(found[:4, 0], [1 / 6, 1 / 6, 0.5, 0.5])
    np.testing.assert_allclose(found[4:8, :2], [[5 / 6, 0.25], [5 / 6, 0.25], [1 / 6, 0.75], [1 / 6, 0.75]])
    np.testing.assert_allclose(found[::2, 2:], [[0.5, 0.25]] * 6)


def test_ssd300_has_the_published_default_boxes() -> None:
    grids = ssd.grids((300, 300))
    assert grids == [(38, 38), (19, 19), (10, 10), (5, 5), (3, 3), (1, 1)]
    name, parameters = ssd._decoder((300, 300, 3), 20, {"smallest": 0.1})
    anchors = np.array(parameters["anchors"])
    assert (name, anchors.shape) == ("ssd", (8732, 4))
    # The published network's sides in pixels, of the smaller and the larger square of each map.
    firsts = np.cumsum([0, *(4 * 38**2, 6 * 19**2, 6 * 10**2, 6 * 5**2, 4 * 3**2)])
    np.testing.assert_allclose(300 * anchors[firsts, 2], [30, 60, 111, 162, 213, 264], atol=1e-4)
    larger = [math.sqrt(a * b) for a, b in ((30, 60), (60, 111), (111, 162), (162, 213), (213, 264), (264, 315))]
    np.testing.assert_allclose(300 * anchors[firsts + 1, 3], larger, atol=1e-4)
    np.testing.assert_allclose(300 * anchors[-1, :2], [150, 150], atol=1e-4)


def test_ssdlite_has_the_published_default_boxes() -> None:
    # 3 · 19² + 6 · (10² + 5² + 3² + 2² + 1) = 1917 at 300, as the authors' own graph; 2034 at 320.
    assert ssdlite.grids((300, 300), 16, rounds_up=True) == [(19, 19), (10, 10), (5, 5), (3, 3), (2, 2), (1, 1)]
    for side, count in ((300, 1917), (320, 2034)):
        maps = ssdlite.grids((side, side), 16, rounds_up=True)
        anchors = ssdlite.default_boxes(maps, 0.2, 0.95)
        assert anchors.shape == (count, 4)
    np.testing.assert_allclose(anchors[0, 2:], [0.1, 0.1], rtol=1e-6)
    # Squares of the maps behind: 0.35, 0.5, 0.65, 0.8, 0.95, and √(0.95 · 1) last.
    firsts = 1200 + 6 * np.cumsum([0, 100, 25, 9, 4])
    np.testing.assert_allclose(anchors[firsts, 2], [0.35, 0.5, 0.65, 0.8, 0.95], rtol=1e-5)
    assert anchors[firsts[-1] + 1, 2] == pytest.approx(math.sqrt(0.95))


def test_overlap_of_sizes_by_hand() -> None:
    np.testing.assert_allclose(size_iou([[10, 10]], [[10, 10], [20, 5], [5, 5]]), [[1, 50 / 150, 0.25]])


def test_k_means_finds_the_clusters() -> None:
    rng = np.random.default_rng(0)
    centres = np.array([[10, 10], [20, 60], [80, 40]])
    sizes = np.concatenate([centre * rng.uniform(0.95, 1.05, (50, 2)) for centre in centres])
    found = kmeans_anchors(sizes, 3, seed=1)
    means = [sizes[start : start + 50].mean(axis=0) for start in (0, 50, 100)]
    np.testing.assert_allclose(found, means, rtol=1e-6)
    np.testing.assert_array_equal(found, kmeans_anchors(sizes, 3, seed=1))


def test_plain_numbers_are_as_good_as_the_anchors() -> None:
    anchors = ssdlite.default_boxes(ssdlite.grids((320, 320), 16, rounds_up=True), 0.2, 0.95)
    assert np.abs(np.array(plain_numbers(anchors)) - anchors.astype(np.float64)).max() * 320 < 1e-4


def test_refused() -> None:
    with pytest.raises(InputError, match="two maps or more and 0 < smallest < largest; received 1, 0.2 and 0.9"):
        ssd_scales(1)
    with pytest.raises(InputError, match="one scale more than maps; received 1 maps, 1 ratios and 1 scales"):
        ssd_anchors([(1, 1)], [0.2], [(2,)])
    with pytest.raises(InputError, match=r"count must be in \[1, 2\], the number of different sizes; received 3"):
        kmeans_anchors([[1, 1], [2, 2], [1, 1]], 3)
    with pytest.raises(InputError, match="sizes must be above 0"):
        kmeans_anchors([[1, 0]], 1)
