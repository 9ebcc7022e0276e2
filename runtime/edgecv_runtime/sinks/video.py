"""The annotated video file: of constant rate, whatever the rate at which results come.

OpenCV writes videos of one constant rate and size. Each picture is therefore put where its timestamp belongs on the
grid of that rate: it is repeated until the next one is due, or left out where a later one falls on the same place. What
is played back runs at the speed of the world, also when the model was slower than the camera.
"""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from edgecv_runtime.errors import InputError, OutputError
from edgecv_runtime.images import Image, cv2
from edgecv_runtime.pipeline.outcome import Outcome
from edgecv_runtime.sinks.common import picture_of, safe_name

CODECS = {".mp4": "mp4v", ".mov": "mp4v", ".mkv": "mp4v", ".avi": "MJPG"}

_USUAL_RATES = (1, 2, 5, 10, 12, 12.5, 15, 20, 24000 / 1001, 24, 25, 30000 / 1001, 30)
_NEAR = 0.03  # of a usual rate: clocks jitter, and timestamps are rounded to milliseconds
_HIGHEST_RATE = 30.0
_FIRST_LOOK = 4  # pictures that are held back to see the source's rate
_LONGEST_HOLD = 2.0  # seconds that a picture stands: a camera that was away for an hour leaves no hour of standstill
_RESERVE = 32 << 20  # bytes left on the disk: the end of the file must still be written


class VideoSink:
    """Write the pictures with their results drawn in as a video.

    The file gets its name when it is whole, at `close`; until then it is ``.NAME.part.SUFFIX`` beside it. It is closed
    early, whole, when the disk has no room for more.

    Parameters
    ----------
    path : str or Path
        ``.mp4``, ``.mov``, ``.mkv`` or ``.avi`` (Motion JPEG: playable even when power fails before it is closed).
        ``{camera}`` in it stands for the camera's name: then there is one file for each.
    fps : float, optional
        Pictures a second. Default: the rate of the source, 30 at the most.
    reserve : int
        Bytes that stay free on the disk.

    Raises
    ------
    InputError
        Another suffix, or a rate that is none.
    MissingPackageError
        OpenCV is not installed.
    """

    def __init__(self, path: str | Path, *, fps: float | None = None, reserve: int = _RESERVE) -> None:
        path = Path(path)
        if path.suffix.lower() not in CODECS:
            raise InputError(f"a video must end in {', '.join(CODECS)}; received {path.name!r}")
        if fps is not None and not 0 < fps <= 240:
            raise InputError(f"fps must be above 0 and at most 240; received {fps}")
        cv2("writing a video")
        self.path, self._fps, self._reserve = path, fps, reserve
        self._recordings: dict[str, _Recording] = {}
        self._closed = False

    def write(self, outcome: Outcome) -> None:
        """Put one picture where its timestamp belongs.

        Raises
        ------
        InputError
            A second camera, and no ``{camera}`` in the path.
        OutputError
            The file cannot be written further; what it has so far is whole.
        """
        if self._closed:
            raise OutputError(f"{self.path} is closed: no further picture can be written")
        recording = self._recordings.get(outcome.camera)
        if recording is None:
            recording = self._recordings[outcome.camera] = self._open(outcome.camera)
        recording.add(outcome.frame.timestamp, outcome.frame.index, picture_of(outcome))

    def _open(self, camera: str) -> _Recording:
        if "{camera}" not in str(self.path) and self._recordings:
            raise InputError(
                f"a video holds one camera, and there are {next(iter(self._recordings))!r} and {camera!r}: "
                f"put {{camera}} in its name, as in {self.path.stem}-{{camera}}{self.path.suffix}"
            )
        path = Path(str(self.path).replace("{camera}", safe_name(camera)))
        if any(path == other.path for other in self._recordings.values()):
            raise InputError(f"two cameras would both be written to {path}: give them names that differ in letters")
        return _Recording(path, self._fps, self._reserve)

    def close(self) -> None:
        """Give each file its end and its name. Calling it again does nothing.

        Raises
        ------
        OutputError
            A file is not whole; it is not kept. The others are.
        """
        self._closed = True
        recordings, self._recordings = self._recordings, {}
        failure: OutputError | None = None
        for recording in recordings.values():
            try:
                recording.close()
            except OutputError as error:
                failure = failure or error
        if failure is not None:
            raise failure

    def __repr__(self) -> str:
        return f"<VideoSink {self.path}: {len(self._recordings)} open>"


class _Recording:
    """The file of one camera.

    Attributes
    ----------
    written, left_out : int
        Pictures in the file, repeated ones counted; pictures that had no place on the grid of its own rate.
    """

    def __init__(self, path: Path, fps: float | None, reserve: int) -> None:
        self.path, self._fps, self._reserve = path, fps, reserve
        self._part = path.with_name(f".{path.stem}.part{path.suffix}")
        self._held: list[tuple[float, int, Image]] = []
        self._writer: Any = None
        self._size = (0, 0)
        self._pending: Image | None = None
        self._slot, self._origin, self._latest = 0, 0.0, 0.0
        self._done = False
        self.written = self.left_out = 0

    def add(self, timestamp: float, index: int, image: Image) -> None:
        if self._done:
            raise OutputError(f"{self.path} was closed: the disk has too little room")
        if self._writer is not None:
            self._place(timestamp, image)
            return
        self._held.append((timestamp, index, image))
        if self._fps is not None or len(self._held) >= _FIRST_LOOK:
            self._begin()

    def _begin(self) -> None:
        """Open the file, now that the rate is known, and put in what was held back."""
        opencv = cv2("writing a video")
        held, self._held = self._held, []
        self._fps = self._fps or source_rate([(timestamp, index) for timestamp, index, _ in held])
        height, width = held[0][2].shape[:2]
        self._size = width, height
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"cannot make the folder {self.path.parent}: {error.strerror or error}") from None
        code = opencv.VideoWriter_fourcc(*CODECS[self.path.suffix.lower()])
        self._check_room()
        self._writer = opencv.VideoWriter(str(self._part), code, self._fps, self._size)
        if not self._writer.isOpened():
            self._discard()
            raise OutputError(f"cannot write {self.path} as a video of {width}×{height} pixels")
        self._origin = self._latest = held[0][0]
        for timestamp, _, image in held:
            self._place(timestamp, image)

    def _place(self, timestamp: float, image: Image) -> None:
        assert self._fps is not None
        jump = timestamp - self._latest
        if jump < 0 or jump > _LONGEST_HOLD:  # the clock was set back, or the camera was away
            self._origin += jump - (1 / self._fps if jump < 0 else _LONGEST_HOLD)
        self._latest = timestamp
        slot = round((timestamp - self._origin) * self._fps)
        if self._pending is None:
            self._pending, self._slot = image, slot
            return
        if slot <= self._slot:
            self.left_out += 1
        else:
            self._put(slot - self._slot)
            self._slot = slot
        self._pending = image

    def _put(self, times: int) -> None:
        """Write the picture that is due, so many times."""
        assert self._pending is not None and self._fps is not None
        bgr = _fitted(self._pending, self._size)
        for _ in range(times):
            if self.written % max(1, int(self._fps)) == 0 and self._no_room():
                self._finish()
                raise OutputError(
                    f"{self.path} was closed after {self.written:,} pictures, whole: less than "
                    f"{self._reserve >> 20} MiB are free on its disk"
                )
            self._writer.write(bgr)
            self.written += 1

    def _no_room(self) -> bool:
        return shutil.disk_usage(self.path.parent).free < self._reserve

    def _check_room(self) -> None:
        if self._no_room():
            raise OutputError(f"cannot write {self.path}: less than {self._reserve >> 20} MiB are free on its disk")

    def close(self) -> None:
        if self._done:
            return
        if self._held:
            self._begin()
        if self._pending is not None:
            self._put(1)
        self._finish()

    def _finish(self) -> None:
        """The end of the file, a look whether it can be read, and its name."""
        self._done, self._pending = True, None
        if self._writer is None:
            return
        self._writer.release()
        self._writer = None
        there = _frames_in(self._part)
        if self.written and abs(there - self.written) > max(1, self.written // 100):
            self._discard()
            raise OutputError(f"{self.path} is not whole: {there:,} of {self.written:,} pictures reached the disk")
        try:
            self._part.replace(self.path)
        except OSError as error:
            self._discard()
            raise OutputError(f"cannot write {self.path}: {error.strerror or error}") from None

    def _discard(self) -> None:
        self._done = True
        with suppress(OSError):
            self._part.unlink()


def source_rate(seen: list[tuple[float, int]]) -> float:
    """Frames a second of a source, by the timestamps and numbers of a few of its frames.

    The numbers count frames that were dropped too: a slow model does not make the camera look slow.

    >>> source_rate([(0.0, 0), (0.133, 4), (0.267, 8)])  # 8 frames in 267 ms, 4 of them seen
    30.0
    """
    seconds, frames = seen[-1][0] - seen[0][0], seen[-1][1] - seen[0][1]
    if seconds <= 0 or frames <= 0:
        return 1.0  # a single picture
    rate = min(_HIGHEST_RATE, max(0.1, frames / seconds))
    usual = min(_USUAL_RATES, key=lambda one: abs(one - rate))
    return float(usual) if abs(usual - rate) <= _NEAR * usual else round(rate, 2)


def _fitted(image: Image, size: tuple[int, int]) -> Any:
    """BGR of the file's size: a picture of another one is scaled to fit, with black beside it."""
    opencv = cv2("writing a video")
    height, width = image.shape[:2]
    if (width, height) != size:
        factor = min(size[0] / width, size[1] / height)
        inner = max(1, round(width * factor)), max(1, round(height * factor))
        canvas = np.zeros((size[1], size[0], 3), np.uint8)
        left, top = (size[0] - inner[0]) // 2, (size[1] - inner[1]) // 2
        canvas[top : top + inner[1], left : left + inner[0]] = opencv.resize(image, inner)
        image = canvas
    return opencv.cvtColor(image, opencv.COLOR_RGB2BGR)


def _frames_in(path: Path) -> int:
    """Frames of a video file by its own index; 0 where it cannot be read."""
    opencv = cv2("reading a video file")
    capture = opencv.VideoCapture(str(path))
    try:
        return int(capture.get(opencv.CAP_PROP_FRAME_COUNT)) if capture.isOpened() and capture.grab() else 0
    finally:
        capture.release()
