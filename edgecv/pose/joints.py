"""The fourteen joints of the Leeds Sports Pose data (Johnson & Everingham 2010), and how they hang together.

No Keras and no OpenCV is needed to ask.
"""

from __future__ import annotations

JOINTS = (
    "right ankle",
    "right knee",
    "right hip",
    "left hip",
    "left knee",
    "left ankle",
    "right wrist",
    "right elbow",
    "right shoulder",
    "left shoulder",
    "left elbow",
    "left wrist",
    "neck",
    "head top",
)
"""In the data's order; sides are the figure's own."""

SKELETON = (
    (0, 1), (1, 2), (5, 4), (4, 3), (6, 7), (7, 8), (11, 10), (10, 9), (2, 3), (8, 12), (9, 12), (2, 8),
    (3, 9), (12, 13),
)  # fmt: skip
"""Pairs of joints to join in a drawing."""


def skeleton_of(joints: int) -> list[list[int]] | None:
    """For a decoder's parameters: the pairs, where there are as many joints as are known here; else None."""
    return [list(pair) for pair in SKELETON] if joints == len(JOINTS) else None
