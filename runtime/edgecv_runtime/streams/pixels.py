"""The pixels of a picture, which may wait in the decoder's own form until somebody looks at them."""

from __future__ import annotations

import importlib
import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from edgecv_runtime.images import Image, LazyImage

Pixels = Image | LazyImage

# Planar formats of eight bits, and how many pixels of a row and of a column share a colour.
_SHARED = {"yuv420p": (2, 2), "yuvj420p": (2, 2), "yuv422p": (2, 1), "yuvj422p": (2, 1)}
_COLUMNS, _ROWS = 16, 2  # what a part's borders lie on
_MOST = 0.8  # of the whole: a larger part costs as much

_own = threading.local()


class Imaged:
    """What has pixels shows them as `image`."""

    pixels: Pixels

    @property
    def image(self) -> Image:
        """(H, W, 3) uint8 RGB."""
        return self.pixels() if isinstance(self.pixels, LazyImage) else self.pixels


class DecodedFrame(LazyImage):
    """PyAV's frame, converted to RGB when it is first called for, by the thread that calls.

    A frame that is left out costs no conversion, and converting does not hold up the decoder.

    Parameters
    ----------
    frame : av.VideoFrame
    """

    def __init__(self, frame: Any) -> None:
        self.size = (frame.height, frame.width)
        self._frame = frame
        self._image: Image | None = None
        self._lock = threading.Lock()  # a frame's converter serves one thread at a time

    def __call__(self) -> Image:
        with self._lock:
            if self._image is None:
                self._image, self._frame = _converted(self._frame, type(self._frame).reformat), None
            return self._image

    def region(self, top: int, left: int, height: int, width: int) -> Image:
        # Outward to where FFmpeg's converter begins and ends in the whole picture, too.
        first_row, first_column = top - top % _ROWS, left - left % _COLUMNS
        rows = -(-(top + height - first_row) // _ROWS) * _ROWS
        columns = -(-(left + width - first_column) // _COLUMNS) * _COLUMNS
        with self._lock:
            apart = self._image is None and _comes_apart(self._frame)
            if apart and rows * columns <= _MOST * self.size[0] * self.size[1]:
                part = _converted(_part(self._frame, first_row, first_column, rows, columns), _converter().reformat)
                top, left = top - first_row, left - first_column
                return part[top : top + height, left : left + width]
        return self()[top : top + height, left : left + width]


def _comes_apart(frame: Any) -> bool:
    """Whether a part of it has the pixels that the whole has there.

    FFmpeg has several converters, which round differently, and the size of a picture decides which one it takes: the
    quick ones (of x86 and of Arm) want an even height and 16 columns at a time. Part and whole must meet that alike.
    """
    height, width = frame.height, frame.width
    sound = height % _ROWS == 0 and width % _COLUMNS == 0 and all(plane.line_size > 0 for plane in frame.planes)
    return frame.format.name in _SHARED and sound


def _part(frame: Any, top: int, left: int, height: int, width: int) -> Any:
    """A frame of its own with a part of another's, in the same form."""
    part = type(frame)(width, height, frame.format.name)
    for number, (source, target) in enumerate(zip(frame.planes, part.planes, strict=True)):
        x, y = _SHARED[frame.format.name] if number else (1, 1)
        there = _rows(source)[top // y : (top + height) // y, left // x : (left + width) // x]
        _rows(target)[: height // y, : width // x] = there
    part.colorspace, part.color_range = frame.colorspace, frame.color_range
    return part


def _converter() -> Any:
    """This thread's own: it serves one at a time, and making one would cost as much as a part."""
    if not hasattr(_own, "converter"):
        _own.converter = importlib.import_module("av.video.reformatter").VideoReformatter()
    return _own.converter


def _converted(frame: Any, reformat: Callable[..., Any]) -> Image:
    converted = reformat(frame, format="rgb24")
    height, width = converted.height, converted.width
    # FFmpeg pads rows to whole vectors; where there is no padding its memory is taken as it is.
    return np.ascontiguousarray(_rows(converted.planes[0])[:, : 3 * width]).reshape(height, width, 3)


def _rows(plane: Any) -> Image:
    """A plane's memory, row by row, with what pads them."""
    return np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
