"""Is a face good enough to be enrolled or recognised? Measured, compared with a gate, and each refusal with its reason.

Where the gates' numbers come from: 320 aligned faces of 40 people were embedded once as they are and once spoiled, and
the share of pairs of one person still recognised (TAR, at the threshold that gives the untouched faces a FAR of 0.001)
was read off. Untouched it is 0.990.

====================  =====================================================================
face of 64 / 48 px    (the side of its box) 0.989 / 0.989 (48 px in a crop is 37 px: 0.987)
face of 31 / 25 px    0.975 / 0.917; 18 px: 0.648
Gaussian blur         σ 1 px: 0.988, 1.5 px: 0.974, 2 px: 0.923, 2.5 px: 0.753; the median sharpness is then
                      45, 20, 10 and 6, where no untouched face in twenty has less than 79
darkened              to a mean of 33: 0.978, 20: 0.921, 13: 0.658
overexposed           10 % of pixels clipped: 0.983, half of them: 0.908, 72 %: 0.734
turned                pairs with a frontal face: yaw up to 15° 0.995, 15° to 25° 0.98 to 1.00, 25° to 30° 0.97; pitch up
                      to 30° 0.97 to 0.99; the few beyond 40° fail (these angles measured by BlazeFace's landmarks)
====================  =====================================================================

``strict`` stands where nothing is lost yet, ``standard`` where it begins to show.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from edgecv_runtime.errors import InputError
from edgecv_runtime.faces.pose import HeadPose
from edgecv_runtime.images import Image, cv2

# Why a face may be refused, as `Rejection.reason` says it.
REASONS = (
    "size", "sharpness", "brightness", "detector score", "clipped share", "yaw angle", "pitch angle", "roll angle",
    "landmarks that form a face",
)  # fmt: skip

_DARK, _BRIGHT = 8, 247  # grey levels at which a pixel counts as clipped
# The part of a crop that shows skin rather than hair and background, in shares of its height and width.
_INNER_ROWS, _INNER_COLUMNS = (0.25, 0.93), (0.23, 0.77)


@dataclass(frozen=True)
class Gate:
    """What is required of a face. None: not asked for.

    Attributes
    ----------
    size : float
        Least side of the face in pixels of the picture: the geometric mean of the sides of its box.
    sharpness : float
        Least variance of the Laplacian of the aligned crop (Pech-Pacheco et al. 2000), in squared grey levels.
    yaw, pitch, roll : float
        Largest angles either way, in degrees.
    darkest, brightest : float
        Limits of the mean grey level of the face, 0 to 255.
    clipped : float
        Largest share of the face's pixels that are black or white, 0 to 1.
    score : float
        Least score of the detector.
    bystander : float
        For enrolment, which demands one face: others count where their side is at least this share of the largest's.
        0: every face counts.
    """

    size: float | None = None
    sharpness: float | None = None
    yaw: float | None = None
    pitch: float | None = None
    roll: float | None = None
    darkest: float | None = None
    brightest: float | None = None
    clipped: float | None = None
    score: float | None = None
    bystander: float = 0.0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value is not None and not (math.isfinite(value) and value >= 0):
                raise InputError(f"a gate's {name} must be a number from 0 up; received {value!r}")

    @property
    def needs_landmarks(self) -> bool:
        return (self.yaw, self.pitch, self.roll) != (None, None, None)


GATES: Mapping[str, Gate] = {
    "off": Gate(),
    "standard": Gate(
        size=32, sharpness=15, yaw=40, pitch=40, roll=45, darkest=25, brightest=230, clipped=0.5, score=0.5,
        bystander=0.5,
    ),
    "strict": Gate(
        size=48, sharpness=25, yaw=25, pitch=25, roll=30, darkest=45, brightest=210, clipped=0.25, score=0.7,
    ),
}  # fmt: skip


def gate_of(quality: str | Gate) -> Gate:
    """The gate of that name, or the one given.

    Raises
    ------
    InputError
    """
    if isinstance(quality, Gate):
        return quality
    if quality not in GATES:
        raise InputError(f"quality must be one of {', '.join(GATES)}, or a Gate; received {quality!r}")
    return GATES[quality]


@dataclass(frozen=True)
class Rejection:
    """One reason why a face was refused.

    Attributes
    ----------
    reason : str
        What was measured: one of `REASONS`.
    measured : float
    required : float
        The gate's limit.
    at_least : bool
        Whether the limit is the least that is required, or the most.
    """

    reason: str
    measured: float
    required: float
    at_least: bool = True

    def __str__(self) -> str:
        bound = "at least" if self.at_least else "at most"
        return f"{self.reason} {_short(self.measured)}, required {bound} {_short(self.required)}"

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "reason": self.reason,
            "measured": self.measured,
            "at_least" if self.at_least else "at_most": self.required,
        }


@dataclass(frozen=True)
class Quality:
    """What was measured on one face, and what a gate says to it.

    Attributes
    ----------
    size, sharpness, brightness, clipped : float
        As in `Gate`; brightness is the mean grey level.
    score : float
        The detector's; 1 where there was none.
    pose : HeadPose or None
        None where there are no landmarks.
    rejections : tuple of Rejection
        Every check that failed; empty: accepted.
    """

    size: float
    sharpness: float
    brightness: float
    clipped: float
    score: float
    pose: HeadPose | None
    rejections: tuple[Rejection, ...] = ()

    @property
    def accepted(self) -> bool:
        return not self.rejections

    @property
    def value(self) -> float:
        """One number in [0, 1]: 1 for a face that passes the strict gate, else how near the worst check comes to it."""
        shares = [1.0]
        for check in _checks(self, GATES["strict"]):
            if check.at_least:
                shares.append(check.measured / check.required)
            else:
                shares.append(check.required / check.measured if check.measured > check.required else 1.0)
        return max(0.0, min(shares))

    def judged(self, gate: Gate) -> Quality:
        """The same measures with what this gate says to them."""
        return replace(self, rejections=tuple(check for check in _checks(self, gate) if not _passes(check)))

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "accepted": self.accepted,
            "value": self.value,
            "size": self.size,
            "sharpness": self.sharpness,
            "brightness": self.brightness,
            "clipped": self.clipped,
            "score": self.score,
            "pose": None if self.pose is None else vars(self.pose),
            "rejections": [rejection.to_dict() for rejection in self.rejections],
        }


def measure(crop: Image, *, size: float, score: float = 1.0, pose: HeadPose | None = None) -> Quality:
    """The quality of one face, without a gate's word on it.

    Parameters
    ----------
    crop : (H, W, 3) uint8 RGB
        Aligned, as the embedder is given it.
    size : float
        Side of the face in pixels of the picture that the crop was taken from.
    score : float
    pose : HeadPose or None
    """
    opencv = cv2("measuring the quality of a face")
    grey = opencv.cvtColor(crop, opencv.COLOR_RGB2GRAY)
    height, width = grey.shape
    rows = slice(int(_INNER_ROWS[0] * height), math.ceil(_INNER_ROWS[1] * height))
    columns = slice(int(_INNER_COLUMNS[0] * width), math.ceil(_INNER_COLUMNS[1] * width))
    edges = opencv.Laplacian(grey.astype(np.float32), opencv.CV_32F)[rows, columns]
    inner = grey[rows, columns]
    return Quality(
        size=float(size),
        sharpness=float(edges.var()),
        brightness=float(inner.mean()),
        clipped=float(((inner <= _DARK) | (inner >= _BRIGHT)).mean()),
        score=float(score),
        pose=pose,
    )


def _checks(quality: Quality, gate: Gate) -> list[Rejection]:
    """Every comparison that a gate asks for and this face was measured for."""
    lower = [
        ("size", quality.size, gate.size),
        ("sharpness", quality.sharpness, gate.sharpness),
        ("brightness", quality.brightness, gate.darkest),
        ("detector score", quality.score, gate.score),
    ]
    upper = [("brightness", quality.brightness, gate.brightest), ("clipped share", quality.clipped, gate.clipped)]
    if quality.pose is not None:
        angles, limits = vars(quality.pose), {"yaw": gate.yaw, "pitch": gate.pitch, "roll": gate.roll}
        upper += [(f"{name} angle", abs(angles[name]), limits[name]) for name in ("yaw", "pitch", "roll")]
    found = [Rejection(reason, value, limit) for reason, value, limit in lower if limit is not None]
    return found + [Rejection(reason, value, limit, False) for reason, value, limit in upper if limit is not None]


def _passes(check: Rejection) -> bool:
    return check.measured >= check.required if check.at_least else check.measured <= check.required


def _short(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 10 or value == round(value) else f"{value:.2f}"
