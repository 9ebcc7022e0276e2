"""Drawn figures: repeatable, inside the picture, and what is said of them is to be seen."""

from __future__ import annotations

import numpy as np
import pytest

from edgecv.data.figures import generate_figures
from edgecv.pose.joints import JOINTS
from edgecv_runtime.errors import InputError


def test_a_longer_call_begins_with_a_shorter_one() -> None:
    short, long = generate_figures(3, 64, seed=5), generate_figures(6, 64, seed=5)
    for one, other in zip(short, long, strict=False):
        np.testing.assert_array_equal(one.image, other.image)
        np.testing.assert_array_equal(one.joints, other.joints)
    assert not np.array_equal(short[0].image, generate_figures(1, 64, seed=6)[0].image)


def test_joints_lie_in_the_picture_and_limbs_have_their_lengths() -> None:
    for sample in generate_figures(60, 96, seed=1):
        assert sample.image.shape == (96, 96, 3) and sample.image.dtype == np.uint8
        assert sample.joints.min() >= 0.049 * 96 and sample.joints.max() <= 0.951 * 96
        points = dict(zip(JOINTS, sample.joints, strict=True))

        def length(a: str, b: str, points: dict[str, np.ndarray] = points) -> float:
            return float(np.hypot(*(points[a] - points[b])))

        # Both sides of a body are alike, and so are both parts of a limb.
        assert length("left elbow", "left wrist") == pytest.approx(length("right elbow", "right wrist"), rel=1e-3)
        assert length("left hip", "left knee") == pytest.approx(length("right knee", "right ankle"), rel=1e-3)


def test_a_joint_in_sight_shows_the_figure_and_sides_differ() -> None:
    bright = {"left": [], "right": []}
    for sample in generate_figures(80, 96, seed=2, occlusion=0.0):
        assert sample.visible.all()
        for side, values in bright.items():
            x, y = np.floor(sample.joints[JOINTS.index(f"{side} wrist")]).astype(int)
            values.append(float(sample.image[y, x].max()))
    # A right limb is the bright colour itself (190 at least in its brightest channel), a left one 0.62 of it. A hand at
    # the very end of its limb is half background; an arm may cross the other.
    assert np.median(bright["right"]) > 180
    assert 110 < np.median(bright["left"]) < 170


def test_something_hides_joints() -> None:
    hidden = [~sample.visible for sample in generate_figures(100, 64, seed=3, occlusion=1.0)]
    assert np.mean([one.any() for one in hidden]) > 0.9
    assert max(one.sum() for one in hidden) < len(JOINTS)


def test_refused() -> None:
    with pytest.raises(InputError, match="received 0, 96 and 0"):
        generate_figures(0)
    with pytest.raises(InputError, match=r"a share in 0\.\.1; received 2"):
        generate_figures(1, occlusion=2)
