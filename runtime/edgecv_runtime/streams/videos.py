"""Video files, frame by frame: through PyAV, which converts only what is looked at, or through OpenCV."""

from __future__ import annotations

import importlib
import importlib.util
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from edgecv_runtime import cpu
from edgecv_runtime.errors import InputError
from edgecv_runtime.images import Image, cv2
from edgecv_runtime.streams.pixels import DecodedFrame, Pixels


class Video(ABC):
    """A video file that is read from its start.

    Attributes
    ----------
    length : int
        Frames, as the file says; 0 where it does not.
    """

    length: int

    @abstractmethod
    def grab(self) -> float | None:
        """Go to the next frame: its time in seconds since the start; None at the end."""

    @abstractmethod
    def pixels(self) -> Pixels:
        """The frame that was grabbed last; to be called before the next `grab`."""

    @abstractmethod
    def close(self) -> None:
        """Let go of the file. Calling it again does nothing."""


def open_video(path: Path) -> Video:
    """Open a video file, with PyAV where it is installed.

    Raises
    ------
    InputError
        It is not a video that can be decoded.
    MissingPackageError
        Neither PyAV nor OpenCV is installed.
    """
    if importlib.util.find_spec("av") is None:
        return _OpenCVVideo(path)
    video = _AVVideo(path)
    if not video.turned:
        return video
    video.close()
    return _OpenCVVideo(path)  # turns the pictures of a phone that was held upright


def _undecodable(path: Path) -> InputError:
    return InputError(f"{path} is not a video that can be decoded")


class _AVVideo(Video):
    """FFmpeg's libraries through PyAV: several frames are decoded at a time, by threads of its own."""

    def __init__(self, path: Path) -> None:
        av: Any = importlib.import_module("av")
        self._container: Any = None
        try:
            self._container = av.open(str(path))
            stream = self._container.streams.video[0]
            stream.thread_type = "AUTO"
            # Two more than there are cores: while one of them waits for its turn, or for a model, another has work.
            stream.codec_context.thread_count = cpu.available_cores() + 2
            self._frames = _decoded(self._container, stream)
            first = next(self._frames)
        except (OSError, ValueError, IndexError, StopIteration):  # PyAV's errors are of the first two kinds
            self.close()
            raise _undecodable(path) from None
        self._waiting: Any = first
        self._current: Any = None
        self._unit, self._start = float(stream.time_base), stream.start_time or 0
        rate = float(stream.average_rate or 0)
        self._seconds_per_frame, self._count = (1 / rate if rate else 0.0), 0
        seconds = (self._container.duration or 0) / av.time_base
        self.length = stream.frames or round(seconds * rate)
        self.turned = bool(first.rotation % 360)

    def grab(self) -> float | None:
        self._current = self._waiting or next(self._frames, None)
        self._waiting = None
        if self._current is None:
            return None
        self._count += 1
        if self._current.pts is None:
            return (self._count - 1) * self._seconds_per_frame
        return float(self._current.pts - self._start) * self._unit

    def pixels(self) -> Pixels:
        return DecodedFrame(self._current)

    def close(self) -> None:
        if self._container is not None:
            self._container.close()
            self._container, self._frames = None, iter(())
            self._current = self._waiting = None


def _decoded(container: Any, stream: Any) -> Iterator[Any]:
    """The frames of a file; what cannot be decoded is passed over, as players do."""
    for packet in container.demux(stream):
        try:
            frames = packet.decode()
        except ValueError:
            continue
        yield from frames


class _OpenCVVideo(Video):
    """OpenCV's reader."""

    def __init__(self, path: Path) -> None:
        self._cv2 = cv2("reading a video file")
        self._path = path
        self._capture = self._cv2.VideoCapture(str(path))
        if not self._capture.isOpened():
            self._capture.release()
            raise _undecodable(path)
        self.length = max(0, int(self._capture.get(self._cv2.CAP_PROP_FRAME_COUNT)))

    def grab(self) -> float | None:
        if not self._capture.grab():
            return None
        return float(self._capture.get(self._cv2.CAP_PROP_POS_MSEC)) / 1000  # of the frame just read

    def pixels(self) -> Pixels:
        there, bgr = self._capture.retrieve()
        if not there:
            raise InputError(f"{self._path} holds a frame that cannot be decoded")
        image: Image = self._cv2.cvtColor(bgr, self._cv2.COLOR_BGR2RGB)
        return image

    def close(self) -> None:
        self._capture.release()
