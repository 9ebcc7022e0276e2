"""How a head is turned, from the eyes, the nose and the mouth: three angles, good to about ten degrees."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgecv_runtime.faces.alignment import Scheme

# How far the tip of the nose stands out before the plane of eyes and mouth, in distances of the eyes. The average face
# has about 63 mm between the pupils and a nose of about 25 mm; people differ by a fifth either way.
NOSE_DEPTH = 0.4


@dataclass(frozen=True)
class HeadPose:
    """Angles in degrees, each 0 for a face that looks straight ahead.

    Attributes
    ----------
    yaw : float
        Positive where the nose points to the right of the picture.
    pitch : float
        Positive where it points down.
    roll : float
        Positive where the head is turned clockwise in the picture: the right eye is the lower one.
    """

    yaw: float
    pitch: float
    roll: float


def head_pose(landmarks: npt.ArrayLike, scheme: Scheme) -> HeadPose | None:
    """The pose of a head under parallel projection.

    With e the vector from eye to eye, m the one from the middle of the eyes to the mouth, and the nose at
    ``u e + v m`` from the middle of the eyes, a nose of depth d (in distances of the eyes) before a face of length l
    gives ``tan(yaw) = u / d`` for a head that is only turned, and ``tan(pitch) = (v - v0) l / d`` for one that only
    nods. Where it does both, each is still right to a few degrees up to 30.

    Parameters
    ----------
    landmarks : (K, 2) x, y
    scheme : Scheme
        What they are.

    Returns
    -------
    HeadPose or None
        None where the landmarks do not form a face: eyes and mouth in one line.
    """
    found = _nose_in_face(np.asarray(landmarks, np.float64), scheme)
    straight = _nose_in_face(np.array(scheme.template), scheme)
    if found is None or straight is None:
        return None
    return HeadPose(
        yaw=math.degrees(math.atan(found[0] / NOSE_DEPTH)),
        pitch=math.degrees(math.atan((found[1] - straight[1]) * straight[2] / NOSE_DEPTH)),
        roll=found[3],
    )


def _nose_in_face(points: npt.NDArray[np.float64], scheme: Scheme) -> tuple[float, float, float, float] | None:
    """u, v, the face's length in distances of the eyes, and the roll in degrees; None for what is no face."""
    left, right, nose = points[0], points[1], points[2]
    middle, across = (left + right) / 2, right - left
    down = points[list(scheme.mouth)].mean(axis=0) - middle
    area = float(across[0] * down[1] - across[1] * down[0])
    width, length = float(np.hypot(*across)), float(np.hypot(*down))
    # The mouth must lie below the eyes (as the head is turned), and not nearly in line with them.
    if not math.isfinite(area) or area <= 0.2 * width * length or width < 1e-6:
        return None
    u, v = np.linalg.solve(np.stack([across, down], axis=1), nose - middle).tolist()
    return u, v, length / width, math.degrees(math.atan2(float(across[1]), float(across[0])))
