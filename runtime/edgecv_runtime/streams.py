"""Frames from an image, a folder or a video file."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any

from edgecv_runtime.errors import InputError, MissingFileError, UnsupportedError
from edgecv_runtime.images import IMAGE_SUFFIXES, Image, cv2, list_images, read_image

VIDEO_SUFFIXES = frozenset({".mp4", ".avi", ".mkv", ".mov", ".webm", ".m4v", ".mpg", ".mpeg"})


@dataclass(frozen=True, eq=False)
class Frame:
    """One picture of a stream.

    Attributes
    ----------
    image : (H, W, 3) uint8 RGB
    index : int
        Position in the stream, from 0; frames that were dropped count.
    timestamp : float
        Seconds since the start of the stream: the media's own clock.
    captured : float
        `time.monotonic()` when the picture was taken out of its source.
    dropped : int
        Frames left out between the one before and this one.
    path : Path or None
        The image file, for an image or a folder.
    """

    image: Image
    index: int
    timestamp: float
    captured: float
    dropped: int = 0
    path: Path | None = None

    @property
    def age(self) -> float:
        """Seconds since the picture was taken out of its source."""
        return time.monotonic() - self.captured


class Stream:
    """An iterator of frames that must be closed; use it with ``with``."""

    def __init__(
        self, name: str, frames: Iterator[Frame], length: int | None, release: Callable[[], None] | None = None
    ) -> None:
        self.name = name
        self.length = length
        self._frames = frames
        self._release = release
        self._closed = False

    def __iter__(self) -> Iterator[Frame]:
        return self

    def __next__(self) -> Frame:
        if self._closed:
            raise InputError(f"this stream of {self.name} is closed")
        return next(self._frames)

    def __enter__(self) -> Stream:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Release the source. Calling it again does nothing."""
        if not self._closed and self._release is not None:
            self._release()
        self._closed = True

    def __repr__(self) -> str:
        length = "unknown" if self.length is None else self.length
        return f"<Stream {self.name}, {length} frames{', closed' if self._closed else ''}>"


def open_stream(source: str | Path, policy: str = "every") -> Stream:
    """Open an image, a folder of images or a video file.

    Parameters
    ----------
    source : str or Path
    policy : {"every"}
        Files give every frame, in order.

    Raises
    ------
    MissingFileError
        No such file or folder.
    InputError
        It is neither an image nor a video.
    UnsupportedError
        A live source, or a policy for one.
    """
    if policy != "every":
        raise UnsupportedError(f"files are read with policy 'every'; received {policy!r}")
    text = str(source)
    if "://" in text or text.isdecimal() or text.startswith("/dev/video"):
        raise UnsupportedError(
            "this version opens an image, a folder or a video file; "
            f"received {text.partition('://')[0]!r} as a live source"
        )
    path = Path(source)
    if path.is_dir():
        paths = list_images(path)
        return Stream(str(path), _image_frames(paths), len(paths))
    if not path.is_file():
        raise MissingFileError(f"no image, folder or video at {path}")
    suffix = path.suffix.lower()
    if suffix in VIDEO_SUFFIXES:
        return _open_video(path)
    if suffix in IMAGE_SUFFIXES:
        return Stream(str(path), _image_frames([path]), 1)
    raise InputError(
        f"{path.name} must be an image ({', '.join(sorted(IMAGE_SUFFIXES))}) "
        f"or a video ({', '.join(sorted(VIDEO_SUFFIXES))})"
    )


def _image_frames(paths: list[Path]) -> Iterator[Frame]:
    """Frames of image files; in a folder, files that cannot be read are left out with a warning, and counted."""
    dropped = 0
    for index, path in enumerate(paths):
        try:
            image = read_image(path)
        except (InputError, MissingFileError) as error:
            if len(paths) == 1:
                raise
            warnings.warn(f"skipped: {error}", RuntimeWarning, stacklevel=2)
            dropped += 1
            continue
        yield Frame(image, index, float(index), time.monotonic(), dropped, path)
        dropped = 0


def _open_video(path: Path) -> Stream:
    opencv = cv2("reading a video file")
    capture = opencv.VideoCapture(str(path))
    if not capture.isOpened():
        capture.release()
        raise InputError(f"{path} is not a video that can be decoded")
    length = int(capture.get(opencv.CAP_PROP_FRAME_COUNT))
    return Stream(str(path), _video_frames(opencv, capture), length if length > 0 else None, capture.release)


def _video_frames(opencv: Any, capture: Any) -> Iterator[Frame]:
    for index in count():
        there, bgr = capture.read()
        if not there:
            return
        timestamp = capture.get(opencv.CAP_PROP_POS_MSEC) / 1000  # of the frame just read
        yield Frame(opencv.cvtColor(bgr, opencv.COLOR_BGR2RGB), index, timestamp, time.monotonic())
