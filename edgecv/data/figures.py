"""Stick figures with fourteen joints, drawn on the spot: a pose task that needs no download and carries no licence.

A figure faces the viewer. Its limbs turn freely within what people can do, the left ones are darker than the right
ones (a lamp from the figure's right), and often something stands before some of its joints.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecv.pose.joints import JOINTS
from edgecv_runtime.errors import InputError
from edgecv_runtime.images import cv2

_OVERSAMPLING = 2  # figures are drawn on a finer raster, then averaged down
_MARGIN = 0.05  # share of the picture that a joint keeps from its border
_SHADE = 0.62  # how bright a left limb is beside a right one

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class FigureSample:
    """One picture with one figure.

    Attributes
    ----------
    image : (S, S, 3) uint8, RGB
    joints : (14, 2) float32
        x, y in pixels, in the order of `JOINTS`; known also where something hides them.
    visible : (14,) bool
    """

    image: npt.NDArray[np.uint8]
    joints: npt.NDArray[np.float32]
    visible: npt.NDArray[np.bool_]


def generate_figures(count: int, size: int = 96, seed: int = 0, occlusion: float = 0.5) -> list[FigureSample]:
    """Draw figures; a longer call begins with the samples of a shorter one with the same seed.

    Parameters
    ----------
    count : int
        At least 1.
    size : int
        Side of a picture in pixels, at least 32.
    seed : int
        Any non-negative number; the same seed gives the same pictures.
    occlusion : float in [0, 1]
        Share of the pictures in which something stands before a joint or several.

    Raises
    ------
    InputError
        A number out of range.
    MissingPackageError
        OpenCV is not installed.

    Examples
    --------
    >>> sample = generate_figures(1, size=64)[0]
    >>> sample.image.shape, sample.joints.shape, sample.visible.dtype
    ((64, 64, 3), (14, 2), dtype('bool'))
    """
    if count < 1 or size < 32 or seed < 0:
        raise InputError(
            f"count must be at least 1, size at least 32 and seed not negative; received {count}, {size} and {seed}"
        )
    if not 0 <= occlusion <= 1:
        raise InputError(f"occlusion must be a share in 0..1; received {occlusion}")
    return [_draw(np.random.default_rng([seed, index]), size, occlusion) for index in range(count)]


def _draw(rng: np.random.Generator, size: int, occlusion: float) -> FigureSample:
    joints = _place(_pose(rng), rng)  # shares of the picture
    fine = size * _OVERSAMPLING
    canvas = _background(fine, rng)
    _figure(canvas, joints * fine, rng)
    visible = np.ones(len(joints), np.bool_)
    if rng.uniform() < occlusion:
        visible = _hide(canvas, joints * fine, rng)
    opencv = cv2("drawing figures")
    image = opencv.resize(canvas, (size, size), interpolation=opencv.INTER_AREA).astype(np.float32)
    image += rng.standard_normal(image.shape, np.float32) * np.float32(rng.uniform(0, 8))
    return FigureSample(np.clip(np.rint(image), 0, 255).astype(np.uint8), (joints * size).astype(np.float32), visible)


def _pose(rng: np.random.Generator) -> Array:
    """(14, 2) x, y of the joints in units of the torso's length, hips about the origin, y down."""

    def ahead(start: Array, length: float, degrees: float) -> Array:
        """From a joint along a direction: 0 down, 90 to the right of the picture, 180 up."""
        angle = np.deg2rad(degrees)
        return start + length * np.array([np.sin(angle), np.cos(angle)])

    def bent(first: tuple[float, float], second: tuple[float, float]) -> tuple[float, float]:
        """Outward angles of the two parts of a limb; the second adds to the first."""
        upper = rng.uniform(*first)
        return upper, upper + rng.uniform(*second)

    joints = np.zeros((len(JOINTS), 2))
    lean = rng.uniform(-20, 20)
    joints[12] = ahead(np.zeros(2), rng.uniform(0.95, 1.05), 180 + lean)  # neck
    joints[13] = ahead(joints[12], rng.uniform(0.42, 0.5), 180 + lean + rng.uniform(-20, 20))
    arm, leg = rng.uniform(0.42, 0.52), rng.uniform(0.58, 0.72)
    # side: which way in the picture is outward. The figure faces us, so its right is on the left.
    for side, (ankle, knee, hip, wrist, elbow, shoulder) in ((-1, (0, 1, 2, 6, 7, 8)), (1, (5, 4, 3, 11, 10, 9))):
        joints[hip] = ahead(np.zeros(2), rng.uniform(0.17, 0.21), lean + 90 * side)
        joints[shoulder] = ahead(joints[12], rng.uniform(0.28, 0.34), lean + 80 * side)
        upper, lower = bent((-10, 165), (-70, 70))
        joints[elbow] = ahead(joints[shoulder], arm, lean + side * upper)
        joints[wrist] = ahead(joints[elbow], arm, lean + side * lower)
        upper, lower = bent((-8, 60), (-60, 10))
        joints[knee] = ahead(joints[hip], leg, side * upper)
        joints[ankle] = ahead(joints[knee], leg, side * lower)
    return joints


def _place(joints: Array, rng: np.random.Generator) -> Array:
    """Scaled and moved into the picture, whose sides are 1."""
    low, high = joints.min(axis=0), joints.max(axis=0)
    scale = rng.uniform(0.6, 1 - 2 * _MARGIN) / (high - low).max()
    room = 1 - 2 * _MARGIN - scale * (high - low)
    placed: Array = (joints - low) * scale + _MARGIN + rng.uniform(0, 1, 2) * room
    return placed


def _background(size: int, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """A slope of two dim colours, with bars and discs of others on it."""
    opencv = cv2("drawing figures")
    ends = rng.uniform(10, 120, (2, 3))
    along = np.linspace(0, 1, size)[:, None, None] * rng.uniform(-1, 1) + np.linspace(0, 1, size)[None, :, None]
    along = (along - along.min()) / (along.max() - along.min())
    ends, along = ends.astype(np.float32), along.astype(np.float32)
    canvas = (ends[0] * (1 - along) + ends[1] * along).astype(np.uint8)
    for _ in range(rng.integers(0, 7)):
        color, width = rng.uniform(10, 120, 3).tolist(), max(1, round(size * rng.uniform(0.01, 0.06)))
        places = np.rint(rng.uniform(0, size, (2, 2))).astype(int).tolist()
        if rng.uniform() < 0.5:
            opencv.line(canvas, places[0], places[1], color, width, opencv.LINE_AA)
        else:
            opencv.circle(canvas, places[0], 2 * width, color, -1, opencv.LINE_AA)
    return canvas


def _figure(canvas: npt.NDArray[np.uint8], joints: Array, rng: np.random.Generator) -> None:
    """The limbs, brighter than any background; left ones darker, and first, so that right ones lie over them."""
    opencv = cv2("drawing figures")
    bright = rng.uniform(190, 255, 3)
    bright[rng.integers(3)] *= rng.uniform(0.4, 1)
    thickness = max(1, round(len(canvas) * rng.uniform(0.03, 0.05)))
    places = np.rint(joints).astype(int).tolist()
    middle = ((bright + _SHADE * bright) / 2).tolist()

    def limb(chain: tuple[int, ...], color: Any) -> None:
        for start, end in pairwise(chain):
            opencv.line(canvas, places[start], places[end], color, thickness, opencv.LINE_AA)

    limb((8, 12, 9, 3, 2, 8), middle)
    limb((3, 4, 5), (_SHADE * bright).tolist())
    limb((9, 10, 11), (_SHADE * bright).tolist())
    limb((2, 1, 0), bright.tolist())
    limb((8, 7, 6), bright.tolist())
    head = joints[13] - joints[12]
    half = float(np.hypot(*head)) / 2
    centre = np.rint((joints[12] + joints[13]) / 2).astype(int).tolist()
    angle = float(np.rad2deg(np.arctan2(head[1], head[0])))
    opencv.ellipse(canvas, centre, (round(half), round(0.75 * half)), angle, 0, 360, middle, -1, opencv.LINE_AA)


def _hide(canvas: npt.NDArray[np.uint8], joints: Array, rng: np.random.Generator) -> npt.NDArray[np.bool_]:
    """Put a box before a joint or several; (14,) bool: which are still to be seen."""
    opencv = cv2("drawing figures")
    size = len(canvas)
    half = rng.uniform(0.05, 0.12, 2) * size
    centre = joints[rng.integers(len(joints))] + rng.uniform(-0.5, 0.5, 2) * half
    low, high = np.rint(centre - half), np.rint(centre + half)
    corners = [tuple(corner.astype(int).tolist()) for corner in (low, high)]
    opencv.rectangle(canvas, corners[0], corners[1], rng.uniform(10, 255, 3).tolist(), -1)
    hidden: npt.NDArray[np.bool_] = ((joints >= low) & (joints <= high)).all(axis=1)
    return ~hidden
