"""The pixels of a picture, which may wait in the decoder's own form until somebody looks at them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from edgecv_runtime.images import Image

Pixels = Image | Callable[[], Image]


class Imaged:
    """What has pixels shows them as `image`."""

    pixels: Pixels

    @property
    def image(self) -> Image:
        """(H, W, 3) uint8 RGB."""
        return self.pixels() if callable(self.pixels) else self.pixels


class DecodedFrame:
    """PyAV's frame, converted to RGB when it is first called for, by the thread that calls.

    A frame that is left out costs no conversion, and converting does not hold up the decoder.

    Parameters
    ----------
    frame : av.VideoFrame
    """

    def __init__(self, frame: Any) -> None:
        self._frame = frame
        self._image: Image | None = None
        self._lock = threading.Lock()  # a frame's converter serves one thread at a time

    def __call__(self) -> Image:
        """(H, W, 3) uint8 RGB; the same array each time."""
        with self._lock:
            if self._image is None:
                self._image, self._frame = _rgb(self._frame), None
            return self._image


def _rgb(frame: Any) -> Image:
    converted = frame.reformat(format="rgb24")
    plane, height, width = converted.planes[0], converted.height, converted.width
    rows = np.frombuffer(plane, np.uint8).reshape(height, plane.line_size)
    # FFmpeg pads rows to whole vectors; where there is no padding its memory is taken as it is.
    return np.ascontiguousarray(rows[:, : 3 * width]).reshape(height, width, 3)
