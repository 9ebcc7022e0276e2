"""Whether anything moves: a still scene needs no inference."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from edgecv_runtime.errors import InputError
from edgecv_runtime.images import Image, as_rgb

_CELLS = 48  # of the longer side of the picture that is compared


class MotionGate:
    """Says of each frame whether it differs from the last one that was let through.

    The picture is averaged over a coarse grid, so that a sensor's noise cancels out, and compared cell by cell with
    the grid of the frame that was last let through: slow movement adds up until it is seen.

    Parameters
    ----------
    change : float
        Grey levels (of 255) by which a cell must differ.
    share : float in (0, 1]
        Of the cells that must differ.
    at_least_every : float, optional
        Seconds after which a frame is let through all the same. None: never.

    Raises
    ------
    InputError
        A number out of range.
    """

    def __init__(self, change: float = 6.0, share: float = 0.002, at_least_every: float | None = 10.0) -> None:
        if change <= 0 or not 0 < share <= 1 or (at_least_every is not None and at_least_every <= 0):
            raise InputError(
                "change and at_least_every must be above 0, share in (0, 1]; "
                f"received {change}, {at_least_every} and {share}"
            )
        self.change, self.share, self.at_least_every = change, share, at_least_every
        self._last: npt.NDArray[np.float32] | None = None
        self._time = 0.0

    def moving(self, image: Any, timestamp: float) -> bool:
        """Whether to look at this frame.

        Parameters
        ----------
        image : (H, W, 3) uint8 RGB
        timestamp : float
            Seconds.
        """
        grid = _grid(as_rgb(image))
        due = self.at_least_every is not None and timestamp - self._time >= self.at_least_every
        if due or self._last is None or self._last.shape != grid.shape or self._differ(self._last, grid):
            self._last, self._time = grid, timestamp
            return True
        return False

    def _differ(self, before: npt.NDArray[np.float32], now: npt.NDArray[np.float32]) -> bool:
        changed = np.abs(now - before) > self.change
        return bool(changed.mean() >= self.share)


def _grid(image: Image) -> npt.NDArray[np.float32]:
    """Means of green over square cells; what is left over at the right and below is not looked at."""
    height, width = image.shape[:2]
    side = max(1, max(height, width) // _CELLS)
    rows, columns = max(1, height // side), max(1, width // side)
    cells = image[: rows * side, : columns * side, 1].reshape(rows, min(side, height), columns, min(side, width))
    means: npt.NDArray[np.float32] = cells.mean(axis=(1, 3), dtype=np.float32)
    return means
