"""Where live frames come from. Each source is read by a thread of its own, which may hang in the library it calls."""

from __future__ import annotations

import os
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgecv_runtime.errors import EdgecvError, InputError, UnsupportedError
from edgecv_runtime.images import Image, cv2
from edgecv_runtime.streams.pixels import Imaged, Pixels
from edgecv_runtime.streams.uri import LiveUri

OPEN_SECONDS, READ_SECONDS = 10.0, 5.0  # that FFmpeg waits for a server


class SourceLostError(EdgecvError, ConnectionError):
    """A source cannot be opened, or gives nothing more; it may come back."""


@dataclass(frozen=True, eq=False)
class Picture(Imaged):
    """What a source gives: RGB pixels, and when they were taken (`time.monotonic`)."""

    pixels: Pixels
    captured: float


class LiveSource(ABC):
    """A source of live frames.

    Attributes
    ----------
    finite : bool
        Whether the end of the frames is the end of the stream; else it is a loss.
    """

    finite = False

    @abstractmethod
    def open(self) -> None:
        """Connect.

        Raises
        ------
        SourceLostError
            Not now; it is worth trying again.
        EdgecvError
            Never.
        """

    @abstractmethod
    def read(self) -> Picture | None:
        """The next frame, as soon as it is there; None at the end.

        Raises
        ------
        SourceLostError
        """

    @abstractmethod
    def close(self) -> None:
        """Let go. Called by the thread that reads, once it does not read."""


class OpenCVSource(LiveSource):
    """What OpenCV reads: V4L2 cameras and GStreamer pipelines; RTSP and HTTP where PyAV is not installed.

    A server that changes its resolution is then shown at the size that it began with: so OpenCV does it.
    """

    def __init__(self, uri: LiveUri) -> None:
        self.uri = uri
        self._cv2 = cv2("reading a camera")
        self._capture: Any = None
        os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # what it would print may hold a password
        if uri.scheme == "gst" and not self._has_gstreamer():
            raise UnsupportedError(
                "gst:// needs an OpenCV that was built with GStreamer (the board maker's, or Debian's python3-opencv); "
                f"this one ({self._cv2.__version__}) was not"
            )

    def _has_gstreamer(self) -> bool:
        registry = self._cv2.videoio_registry
        return self._cv2.CAP_GSTREAMER in registry.getBackends()

    def open(self) -> None:
        opencv, uri = self._cv2, self.uri
        if uri.scheme == "v4l2":
            number = uri.address.removeprefix("/dev/video")
            where = int(number) if number.isdecimal() else uri.address
            self._capture = opencv.VideoCapture(where, opencv.CAP_V4L2)
            self._set_up_camera()
        elif uri.scheme == "gst":
            self._capture = opencv.VideoCapture(uri.address, opencv.CAP_GSTREAMER)
        else:
            limits = [
                opencv.CAP_PROP_OPEN_TIMEOUT_MSEC, round(1000 * OPEN_SECONDS),
                opencv.CAP_PROP_READ_TIMEOUT_MSEC, round(1000 * READ_SECONDS),
            ]  # fmt: skip
            self._capture = opencv.VideoCapture(uri.address, opencv.CAP_FFMPEG, limits)
        if not self._capture.isOpened():
            self.close()
            raise SourceLostError(f"{uri.name} cannot be opened")

    def _set_up_camera(self) -> None:
        opencv, uri, capture = self._cv2, self.uri, self._capture
        capture.set(opencv.CAP_PROP_BUFFERSIZE, 1)
        code = uri.options.get("fourcc")
        if code is not None:
            if len(code) != 4:
                raise InputError(f"fourcc must be four letters, such as MJPG; received {code!r}")
            capture.set(opencv.CAP_PROP_FOURCC, opencv.VideoWriter_fourcc(*code))
        if uri.size is not None:
            capture.set(opencv.CAP_PROP_FRAME_WIDTH, uri.size[0])
            capture.set(opencv.CAP_PROP_FRAME_HEIGHT, uri.size[1])
        if uri.fps is not None:
            capture.set(opencv.CAP_PROP_FPS, uri.fps)

    def read(self) -> Picture | None:
        there, bgr = self._capture.read()
        captured = time.monotonic()
        if not there or bgr is None:
            raise SourceLostError(f"{self.uri.name} gives no more frames")
        if bgr.ndim == 2:
            return Picture(self._cv2.cvtColor(bgr, self._cv2.COLOR_GRAY2RGB), captured)
        return Picture(self._cv2.cvtColor(bgr, self._cv2.COLOR_BGR2RGB), captured)

    def close(self) -> None:
        if self._capture is not None:
            self._capture.release()
            self._capture = None


class PatternSource(LiveSource):
    """``test://bars``: colour bars with a line that moves, and the frame's number in the first row.

    Options: ``size``, ``fps`` (0: as quickly as they are taken), ``frames`` (then it ends), ``lose`` (after so many
    frames of a connection it is lost), ``hang`` (after so many it gives nothing more, and does not return).
    """

    _BARS = np.array(
        [[235, 235, 235], [235, 235, 16], [16, 235, 235], [16, 235, 16], [235, 16, 235], [235, 16, 16], [16, 16, 235]],
        np.uint8,
    )

    def __init__(self, uri: LiveUri) -> None:
        if uri.address != "bars":
            raise InputError(f"test:// has one picture, test://bars; received {uri.name}")
        unknown = set(uri.options) - {"frames", "lose", "hang"}
        if unknown:
            raise InputError(f"test://bars takes size, fps, frames, lose and hang; received {sorted(unknown)[0]!r}")
        try:
            self._limits = {name: int(value) for name, value in uri.options.items()}
        except ValueError:
            raise InputError(f"frames, lose and hang must be whole numbers; received {uri.name}") from None
        self.finite = "frames" in self._limits
        width, height = uri.size or (1280, 720)
        if width < 32:
            raise InputError(f"test://bars must be at least 32 pixels wide, for the number; received {width}")
        columns = self._BARS[np.arange(width) * len(self._BARS) // width]
        self._still = np.repeat(columns[None], height, axis=0)
        self._interval = 0.0 if uri.fps == 0 else 1 / (uri.fps or 30.0)
        self._given = self._here = 0
        self._start = 0.0

    def open(self) -> None:
        self._here, self._start = 0, time.monotonic()

    def read(self) -> Picture | None:
        if self._given == self._limits.get("frames"):
            return None
        if self._here == self._limits.get("lose"):
            raise SourceLostError("test://bars was lost, as asked for")
        if self._here == self._limits.get("hang"):
            time.sleep(3600)
        wait = self._start + self._here * self._interval - time.monotonic()
        if wait > 0:
            time.sleep(wait)
        image = self._still.copy()
        line = self._given * 4 % image.shape[1]
        image[:, line : line + 4] = 255
        image[0, :32] = 255 * (self._given >> np.arange(32) & 1)[:, None]
        self._given += 1
        self._here += 1
        return Picture(image, time.monotonic())

    def close(self) -> None:
        """Nothing to let go of."""


def pattern_number(image: Image) -> int:
    """The number that `PatternSource` wrote into a frame, counted over all of the source's connections."""
    bits = image[0, :32, 0] > 127
    return int((bits.astype(np.int64) << np.arange(32)).sum())
