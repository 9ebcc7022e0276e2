"""A folder that holds the latest pictures, and never more than it may."""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from edgecv_runtime.bundle import write_atomically
from edgecv_runtime.errors import InputError, OutputError
from edgecv_runtime.images import cv2
from edgecv_runtime.pipeline.outcome import Outcome
from edgecv_runtime.sinks.common import picture_of, safe_name

_OURS = re.compile(r"[\w-]{1,64}_(\d{8}T\d{6}\.\d{3}Z)_\d{8}\.jpg", re.ASCII)


class PictureSink:
    """Write each picture with its result drawn in as ``CAMERA_TIME_INDEX.jpg``.

    Above `keep` the oldest goes. Pictures of an earlier run count too, so that a restart does not fill the disk; files
    with other names are never touched.

    Parameters
    ----------
    folder : str or Path
        Made where it is missing.
    keep : int
        Most pictures in the folder.
    quality : int
        Of the JPEG, 1 to 100.
    clock : callable
        Seconds since 1970: the time in the names (UTC).

    Raises
    ------
    InputError
        `keep` or `quality` is out of range.
    OutputError
        The folder cannot be made.
    """

    def __init__(
        self, folder: str | Path, *, keep: int = 1000, quality: int = 90, clock: Callable[[], float] = time.time
    ) -> None:
        if keep < 1 or not 1 <= quality <= 100:
            raise InputError(
                f"keep must be at least 1 and quality from 1 to 100; received keep={keep}, quality={quality}"
            )
        self._cv2 = cv2("writing pictures")
        self.folder, self.keep, self._quality, self._clock = Path(folder), keep, quality, clock
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            there = [(match[1], path) for path in self.folder.iterdir() if (match := _OURS.fullmatch(path.name))]
        except OSError as error:
            raise OutputError(f"{self.folder} cannot be used as a folder: {error.strerror or error}") from None
        self._there = deque(path for _, path in sorted(there))
        self._make_room(self.keep)

    def write(self, outcome: Outcome) -> None:
        """Add one picture.

        Raises
        ------
        OutputError
            It cannot be written; nothing of it is left behind.
        """
        bgr = self._cv2.cvtColor(picture_of(outcome), self._cv2.COLOR_RGB2BGR)
        done, content = self._cv2.imencode(".jpg", bgr, [self._cv2.IMWRITE_JPEG_QUALITY, self._quality])
        if not done:
            raise InputError(f"a picture of shape {bgr.shape} cannot be written as JPEG")
        path = self.folder / f"{safe_name(outcome.camera)}_{self._stamp()}_{outcome.frame.index:08d}.jpg"
        self._make_room(self.keep - 1)
        write_atomically(path, content.tobytes())
        self._there.append(path)

    def _stamp(self) -> str:
        milliseconds = round(1000 * self._clock())
        day = time.strftime("%Y%m%dT%H%M%S", time.gmtime(milliseconds // 1000))
        return f"{day}.{milliseconds % 1000:03d}Z"

    def _make_room(self, most: int) -> None:
        while len(self._there) > most:
            with suppress(FileNotFoundError):  # somebody else took it away
                self._there.popleft().unlink()

    def close(self) -> None:
        """Nothing is open between two pictures."""

    def __repr__(self) -> str:
        return f"<PictureSink {self.folder}: {len(self._there)} of at most {self.keep} pictures>"
