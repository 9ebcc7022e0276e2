"""Where a box will be: a Kalman filter of constant velocity.

State: middle x and y, aspect (width over height), height, and their velocities; noise in proportion to the height, as
in Wojke et al. 2017 ("Simple Online and Realtime Tracking with a Deep Association Metric", section 2.1), whose
standard deviations hold for one frame of 30 a second.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Vector = npt.NDArray[np.float64]

_POSITION, _VELOCITY = 1 / 20, 1 / 160  # of the height
_ASPECT_SEEN, _ASPECT, _ASPECT_VELOCITY = 1e-1, 1e-2, 1e-5


class BoxFilter:
    """One box.

    Parameters
    ----------
    box : (4,) xyxy, of some height
    """

    def __init__(self, box: npt.NDArray[Any]) -> None:
        seen = _measured(box)
        self.mean: Vector = np.concatenate([seen, np.zeros(4)])
        height = seen[3]
        spread = np.array([2 * _POSITION * height] * 4 + [10 * _VELOCITY * height] * 4)
        spread[2], spread[6] = _ASPECT, _ASPECT_VELOCITY
        self.covariance = np.diag(spread**2)

    def predict(self, frames: float = 1.0) -> None:
        """Go on by a time in frames of a thirtieth of a second."""
        step = np.eye(8)
        step[:4, 4:] = frames * np.eye(4)
        height = max(1.0, self.mean[3])
        noise = np.array([_POSITION * height] * 4 + [_VELOCITY * height] * 4)
        noise[2], noise[6] = _ASPECT, _ASPECT_VELOCITY
        self.mean = step @ self.mean
        self.mean[2:4] = np.maximum(self.mean[2:4], 1e-3)
        self.covariance = step @ self.covariance @ step.T + np.diag(noise**2) * frames

    def update(self, box: npt.NDArray[Any]) -> None:
        """Take in a box that was seen."""
        seen = _measured(box)
        noise = np.full(4, _POSITION * max(1.0, self.mean[3]))
        noise[2] = _ASPECT_SEEN
        innovation = self.covariance[:4, :4] + np.diag(noise**2)
        gain = np.linalg.solve(innovation, self.covariance[:4]).T
        self.mean = self.mean + gain @ (seen - self.mean[:4])
        self.covariance = self.covariance - gain @ innovation @ gain.T

    @property
    def box(self) -> Vector:
        """(4,) xyxy: where it is now."""
        x, y, aspect, height = self.mean[:4]
        across, down = aspect * height / 2, height / 2
        return np.array([x - across, y - down, x + across, y + down])


def _measured(box: npt.NDArray[Any]) -> Vector:
    x1, y1, x2, y2 = (float(value) for value in box)
    height = max(y2 - y1, 1e-3)
    return np.array([(x1 + x2) / 2, (y1 + y2) / 2, max(x2 - x1, 1e-3) / height, height])
