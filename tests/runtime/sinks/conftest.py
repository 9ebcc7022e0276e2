"""Outcomes of known content."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from edgecv_runtime.pipeline.outcome import Outcome
from edgecv_runtime.results import Detections
from edgecv_runtime.streams.frame import Frame


@pytest.fixture
def make_outcome() -> Callable[..., Outcome]:
    """``make_outcome(7, timestamp=0.7)``: frame 7 is of the grey 7 · 20, with nothing found in it."""

    def make(
        index: int, *, timestamp: float | None = None, camera: str = "door", result: Any = None,
        size: tuple[int, int] = (48, 64), captured: float | None = None,
    ) -> Outcome:  # fmt: skip
        image = np.full((*size, 3), index * 20 % 256, np.uint8)
        moment = index / 10 if timestamp is None else timestamp
        frame = Frame(image, index, moment, time.monotonic() if captured is None else captured)
        found = Detections.none(("cat",)) if result is None else result
        seconds = {"wait": 0.001, "preprocess": 0.002, "infer": 0.003, "decode": 0.004}
        return Outcome(camera, frame, found, seconds, 0.0105)

    return make
