"""One picture of a stream."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from edgecv_runtime.streams.pixels import Imaged, Pixels


@dataclass(frozen=True, eq=False)
class Frame(Imaged):
    """One picture of a stream.

    Attributes
    ----------
    pixels : (H, W, 3) uint8 RGB, or what gives it when called
        Look at `image`.
    index : int
        Position in the stream, from 0; frames that were dropped count.
    timestamp : float
        Seconds since the start of the stream: the media's own clock; of a live source, the time of capture.
    captured : float
        `time.monotonic()` when the picture was taken out of its source.
    dropped : int
        Frames left out between the one before and this one.
    path : Path or None
        The image file, for an image or a folder.
    stale : bool
        Whether it had waited longer than the stream's `stale_after` when it was handed out.
    """

    pixels: Pixels
    index: int
    timestamp: float
    captured: float
    dropped: int = 0
    path: Path | None = None
    stale: bool = False

    @property
    def age(self) -> float:
        """Seconds since the picture was taken out of its source."""
        return time.monotonic() - self.captured
