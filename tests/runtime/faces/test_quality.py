from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest

from edgecv_runtime.errors import InputError
from edgecv_runtime.faces.pose import HeadPose
from edgecv_runtime.faces.quality import GATES, Gate, Quality, gate_of, measure

GOOD = Quality(size=100, sharpness=300, brightness=120, clipped=0.01, score=0.95, pose=HeadPose(5, -5, 2))


def test_measures_by_hand() -> None:
    """Stripes of two columns of 100 and two of 140: the Laplacian of OpenCV's default kernel is ±40 everywhere."""
    stripes = np.tile(np.array([100, 100, 140, 140], np.uint8), (112, 28))
    found = measure(stripes[:, :, None].repeat(3, axis=2), size=80, score=0.5)
    assert found.sharpness == pytest.approx(1600, rel=0.01)  # variance of ±40 about 0
    assert found.brightness == pytest.approx(120, abs=1)
    assert (found.size, found.score, found.clipped, found.pose) == (80, 0.5, 0, None)


def test_only_the_inner_part_counts() -> None:
    """Hair and background: the upper quarter, the sides and the lower edge."""
    crop = np.full((112, 112, 3), 128, np.uint8)
    crop[:27], crop[106:], crop[:, :24], crop[:, 88:] = 255, 0, 0, 255
    found = measure(crop, size=80)
    assert (found.sharpness, found.brightness, found.clipped) == (0, 128, 0)
    dark = measure(np.full((112, 112, 3), 3, np.uint8), size=80)
    assert (dark.clipped, dark.brightness) == (1, 3)


def test_blur_is_measured() -> None:
    noise = np.random.default_rng(0).integers(60, 200, (112, 112, 3), np.uint8)
    values = [measure(cv2.GaussianBlur(noise, (0, 0), sigma), size=80).sharpness for sigma in (0.5, 1, 2, 4)]
    assert values == sorted(values, reverse=True) and values[0] > 50 * values[-1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"size": 20}, "size 20, required at least 32"),
        ({"sharpness": 4}, "sharpness 4, required at least 15"),
        ({"brightness": 12}, "brightness 12, required at least 25"),
        ({"brightness": 240}, "brightness 240, required at most 230"),
        ({"clipped": 0.7}, "clipped share 0.70, required at most 0.50"),
        ({"score": 0.4}, "detector score 0.40, required at least 0.50"),
        ({"pose": HeadPose(-60, 0, 0)}, "yaw angle 60, required at most 40"),
        ({"pose": HeadPose(0, 50, 0)}, "pitch angle 50, required at most 40"),
        ({"pose": HeadPose(0, 0, -50)}, "roll angle 50, required at most 45"),
    ],
)
def test_each_reason(change: dict[str, Any], message: str) -> None:
    judged = replace(GOOD, **change).judged(GATES["standard"])
    assert [str(rejection) for rejection in judged.rejections] == [message]
    assert not judged.accepted and judged.value < 1
    assert replace(GOOD, **change).judged(GATES["off"]).accepted
    assert not replace(GOOD, **change).judged(GATES["strict"]).accepted


def test_good_and_bad_together() -> None:
    assert GOOD.judged(GATES["strict"]).accepted and GOOD.value == 1
    bad = replace(GOOD, size=10, sharpness=1, score=0.1).judged(GATES["standard"])
    assert [rejection.reason for rejection in bad.rejections] == ["size", "sharpness", "detector score"]
    answer = bad.to_dict()
    assert answer["accepted"] is False
    assert answer["rejections"][0] == {"reason": "size", "measured": 10, "at_least": 32}
    assert answer["pose"] == {"yaw": 5, "pitch": -5, "roll": 2}
    # The worst check against the strict gate: sharpness 1 of 25.
    assert bad.value == pytest.approx(1 / 25)
    # What was not measured is not asked for.
    assert replace(GOOD, pose=None).judged(GATES["strict"]).accepted


def test_strict_asks_for_no_less_than_standard() -> None:
    standard, strict = GATES["standard"], GATES["strict"]
    for name in ("size", "sharpness", "darkest", "score"):
        assert getattr(strict, name) > getattr(standard, name)
    for name in ("yaw", "pitch", "roll", "brightest", "clipped"):
        assert getattr(strict, name) < getattr(standard, name)


def test_bad_gates(one_line: Callable[[Any], str]) -> None:
    with pytest.raises(InputError) as caught:
        gate_of("harsh")
    assert one_line(caught) == "quality must be one of off, standard, strict, or a Gate; received 'harsh'"
    with pytest.raises(InputError, match="a gate's size must be a number from 0 up; received -1"):
        Gate(size=-1)
    assert gate_of(Gate(size=7)).size == 7
