"""Frames from an image, a folder, a glob or a video file."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from itertools import count
from pathlib import Path
from typing import Any

from edgecv_runtime.errors import InputError, MissingFileError, UnsupportedError
from edgecv_runtime.images import IMAGE_SUFFIXES, list_images, read_image
from edgecv_runtime.streams.frame import Frame
from edgecv_runtime.streams.live import LiveStream, Policy
from edgecv_runtime.streams.sources import LiveSource, Picture
from edgecv_runtime.streams.stream import Stream
from edgecv_runtime.streams.videos import Video, open_video

VIDEO_SUFFIXES = frozenset({".mp4", ".avi", ".mkv", ".mov", ".webm", ".m4v", ".mpg", ".mpeg"})


class FileStream(Stream):
    """Every frame of files, in order, read when it is asked for."""

    def __init__(
        self, name: str, frames: Iterator[Frame], length: int | None, release: Callable[[], None] | None = None
    ) -> None:
        super().__init__(name, length)
        self._frames, self._close_source = frames, release

    def _next(self) -> Frame:
        return next(self._frames)

    def _release(self) -> None:
        if self._close_source is not None:
            self._close_source()


def open_files(source: str | Path, policy: str, live_options: Mapping[str, Any]) -> Stream:
    """Open an image, a folder of images, a glob or a video file.

    Parameters
    ----------
    source : str or Path
    policy : str
        ``"every"``; ``"rate=N"``: by the media's own clock; a video with ``"latest"`` runs as a camera would.
    live_options : mapping
        For `LiveStream`.

    Raises
    ------
    MissingFileError
        No such file or folder.
    InputError
        It is neither an image nor a video, or a policy that there is not.
    UnsupportedError
        ``"latest"`` of pictures: they have no clock.
    """
    path = Path(str(source).removeprefix("file://"))
    interval = 0.0 if policy == "every" else Policy.named(policy).interval
    paths = _pictures(path)
    if paths is not None:
        if policy != "every":
            raise UnsupportedError(f"pictures have no clock: they are read with policy 'every'; received {policy!r}")
        return FileStream(str(path), _image_frames(paths), len(paths))
    if policy == "latest":
        open_video(path).close()
        return LiveStream(str(path), lambda: PacedVideo(path), Policy.named(policy), **live_options)
    return _open_video(path, interval)


def _pictures(path: Path) -> list[Path] | None:
    """The image files that a path stands for, or None for a video."""
    if path.is_dir():
        return list_images(path)
    if not path.is_file() and any(letter in str(path) for letter in "*?["):
        return _matching(path)
    if not path.is_file():
        raise MissingFileError(f"no image, folder or video at {path}")
    suffix = path.suffix.lower()
    if suffix in VIDEO_SUFFIXES:
        return None
    if suffix in IMAGE_SUFFIXES:
        return [path]
    raise InputError(
        f"{path.name} must be an image ({', '.join(sorted(IMAGE_SUFFIXES))}) "
        f"or a video ({', '.join(sorted(VIDEO_SUFFIXES))})"
    )


def _matching(pattern: Path) -> list[Path]:
    """The image files that a glob matches, sorted."""
    fixed = next(number for number, part in enumerate(pattern.parts) if any(letter in part for letter in "*?["))
    folder, rest = Path(*pattern.parts[:fixed]), str(Path(*pattern.parts[fixed:]))
    images = sorted(path for path in folder.glob(rest) if path.suffix.lower() in IMAGE_SUFFIXES)
    if not images:
        raise MissingFileError(f"no image matches {pattern}")
    return images


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


def _open_video(path: Path, interval: float) -> Stream:
    video = open_video(path)
    length = video.length or None
    return FileStream(str(path), _video_frames(video, interval), None if interval else length, video.close)


def _video_frames(video: Video, interval: float) -> Iterator[Frame]:
    due, dropped = 0.0, 0
    for index in count():
        timestamp = video.grab()
        if timestamp is None:
            return
        if timestamp < due - 1e-6:
            dropped += 1
            continue
        due = max(due, timestamp - interval) + interval
        yield Frame(video.pixels(), index, timestamp, time.monotonic(), dropped)
        dropped = 0


class PacedVideo(LiveSource):
    """A video file at the pace of its own clock: what a camera would have given."""

    finite = True

    def __init__(self, path: Path) -> None:
        self._path = path
        self._video: Video | None = None
        self._start = 0.0

    def open(self) -> None:
        self._video = open_video(self._path)
        self._start = time.monotonic()

    def read(self) -> Picture | None:
        timestamp = None if self._video is None else self._video.grab()
        if self._video is None or timestamp is None:
            return None
        wait = self._start + timestamp - time.monotonic()
        if wait > 0:
            time.sleep(wait)
        return Picture(self._video.pixels(), time.monotonic())

    def close(self) -> None:
        if self._video is not None:
            self._video.close()
            self._video = None
