"""Poses of a head made by hand, turned in three dimensions and projected."""

from __future__ import annotations

import math

import numpy as np
import pytest

from edgecv_runtime.faces.alignment import BLAZEFACE, FIVE_POINT, Scheme
from edgecv_runtime.faces.pose import NOSE_DEPTH, head_pose


def _head(scheme: Scheme) -> np.ndarray:
    """(K, 3): the template of a scheme in the plane z = 0, and the nose in front of it, toward the camera (−z)."""
    points = np.array(scheme.template)
    between = points[1] - points[0]
    depth = np.zeros(len(points))
    depth[2] = -NOSE_DEPTH * np.hypot(*between)
    return np.c_[points - points[:2].mean(axis=0), depth]


def _project(head: np.ndarray, yaw: float = 0, pitch: float = 0, roll: float = 0) -> np.ndarray:
    """Turned by rotation matrices (x right, y down, z away from the camera), and seen from far away."""
    a, b, c = (math.radians(angle) for angle in (yaw, pitch, roll))
    about_y = np.array([[math.cos(a), 0, -math.sin(a)], [0, 1, 0], [math.sin(a), 0, math.cos(a)]])
    about_x = np.array([[1, 0, 0], [0, math.cos(b), -math.sin(b)], [0, math.sin(b), math.cos(b)]])
    about_z = np.array([[math.cos(c), -math.sin(c), 0], [math.sin(c), math.cos(c), 0], [0, 0, 1]])
    return (head @ (about_z @ about_y @ about_x).T)[:, :2] * 3.1 + [200, 100]


@pytest.mark.parametrize("scheme", [FIVE_POINT, BLAZEFACE], ids=lambda scheme: scheme.name)
@pytest.mark.parametrize("angle", [-40.0, -15.0, 0.0, 10.0, 35.0])
def test_single_angles(scheme: Scheme, angle: float) -> None:
    head = _head(scheme)
    # The template's nose and mouth are not exactly below the middle of the eyes: half a degree.
    rest = head_pose(_project(head), scheme)
    assert rest is not None and abs(rest.yaw) < 1 and abs(rest.pitch) < 1e-6 and abs(rest.roll) < 0.5
    turned = head_pose(_project(head, yaw=angle), scheme)
    nodding = head_pose(_project(head, pitch=angle), scheme)
    tilted = head_pose(_project(head, roll=angle), scheme)
    assert turned is not None and nodding is not None and tilted is not None
    assert turned.yaw == pytest.approx(angle, abs=1)
    assert nodding.pitch == pytest.approx(angle, abs=1.5)
    assert tilted.roll == pytest.approx(angle, abs=0.5)
    assert abs(tilted.yaw) < 1 and abs(tilted.pitch) < 1


def test_angles_together() -> None:
    for yaw, pitch, roll in ((20, 10, 5), (-25, -15, 20), (30, -10, -30)):
        found = head_pose(_project(_head(FIVE_POINT), yaw, pitch, roll), FIVE_POINT)
        assert found is not None
        np.testing.assert_allclose([found.yaw, found.pitch], [yaw, pitch], atol=8)
        assert found.roll == pytest.approx(roll, abs=8)


def test_in_the_mirror() -> None:
    seen = _project(_head(FIVE_POINT), 25, 5, 10)
    mirrored = (seen * [-1, 1])[[1, 0, 2, 4, 3]]
    one, other = head_pose(seen, FIVE_POINT), head_pose(mirrored, FIVE_POINT)
    assert one is not None and other is not None
    np.testing.assert_allclose([-one.yaw, one.pitch, -one.roll], [other.yaw, other.pitch, other.roll], atol=1e-9)


@pytest.mark.parametrize(
    "points",
    [
        np.zeros((5, 2)),
        np.array([[0, 0], [10, 0], [5, 0], [2, 0], [8, 0]]),  # all in a line
        np.array([[0, 0], [10, 0], [5, -5], [2, -10], [8, -10]]),  # the mouth above the eyes: mirrored
        np.full((5, 2), np.nan),
    ],
)
def test_what_is_no_face(points: np.ndarray) -> None:
    assert head_pose(points, FIVE_POINT) is None
