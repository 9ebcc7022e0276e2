"""What a pipeline gives for each frame, and what it knows of each camera."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from edgecv_runtime.streams.frame import Frame

STAGES = ("wait", "preprocess", "infer", "decode")

# Upper bounds of histogram buckets, seconds: as in Prometheus, the last is open.
BUCKETS = (0.005, 0.01, 0.02, 0.033, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5, 5.0, float("inf"))


@dataclass(frozen=True, eq=False)
class Outcome:
    """One frame and what the model found in it.

    Attributes
    ----------
    camera : str
        Which source: the name it was given, else its number.
    frame : Frame
    result : Classification, Detections, Segmentation, Pose or Embedding
    seconds : mapping of stage to float
        Of `STAGES`: how long the frame waited, and what it took to prepare it, to run the model and to decode.
    age : float
        Seconds from the frame's capture to this result.
    """

    camera: str
    frame: Frame
    result: Any
    seconds: dict[str, float]
    age: float

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, without the picture."""
        return {
            "camera": self.camera,
            "index": self.frame.index,
            "timestamp": self.frame.timestamp,
            "age_ms": 1000 * self.age,
            "dropped": self.frame.dropped,
            "stale": self.frame.stale,
            "ms": {stage: 1000 * seconds for stage, seconds in self.seconds.items()},
            "result": self.result.to_dict(),
        }


class Sink(Protocol):
    """Where outcomes go. `write` is called by the pipeline's own thread, one outcome after the other."""

    def write(self, outcome: Outcome) -> None:
        """Take one outcome. It must not keep the pipeline waiting for a network or a viewer."""

    def close(self) -> None:
        """Finish: what was written must be whole afterwards. Calling it again does nothing."""


class Histogram:
    """Counts by bucket, and the sum: what Prometheus reads."""

    def __init__(self) -> None:
        self.counts = np.zeros(len(BUCKETS), np.int64)
        self.sum = 0.0

    def add(self, seconds: float) -> None:
        self.counts[int(np.searchsorted(BUCKETS, seconds))] += 1
        self.sum += seconds

    @property
    def total(self) -> int:
        return int(self.counts.sum())


@dataclass(eq=False)
class CameraReport:
    """What is known of one camera: everything the preview page and ``/metrics`` show.

    Attributes
    ----------
    name, source : str
        The source without credentials.
    state, reason : str
        Of the stream (`State`).
    frames_in, frames_out, dropped, stale, connections : int
    frame_age : float
        Seconds since the source gave its last frame.
    age : Histogram
        Seconds from capture to result.
    stages : mapping of stage to Histogram
    started : float
        `time.monotonic()`.
    """

    name: str
    source: str
    state: str = "connecting"
    reason: str = ""
    frames_in: int = 0
    frames_out: int = 0
    dropped: int = 0
    stale: int = 0
    connections: int = 0
    frame_age: float = 0.0
    age: Histogram = field(default_factory=Histogram)
    stages: dict[str, Histogram] = field(default_factory=lambda: {stage: Histogram() for stage in STAGES})
    started: float = field(default_factory=time.monotonic)
