"""What viewers see: of each camera the newest picture, encoded once for all of them.

The pipeline only leaves its newest outcome here. A thread of ours draws, shrinks and encodes, and only while somebody
watches; what viewers did not come to see is gone.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from edgecv_runtime.images import cv2
from edgecv_runtime.pipeline.outcome import Outcome
from edgecv_runtime.plain_json import json_text
from edgecv_runtime.sinks.common import light, picture_of

log = logging.getLogger("edgecv_runtime.serve")
log.addHandler(logging.NullHandler())

# Pictures a second to all viewers together: 15 each for 40 of them, 3 each for 200. Sending is cheap beside a model,
# but two hundred viewers at full rate would take a core from it.
_SENT_A_SECOND = 600


@dataclass
class _Slot:
    """One camera."""

    outcome: Outcome | None = None
    number: int = 0  # of the outcome
    encoded: int = 0  # of the outcome that picture and event show
    picture: bytes = b""
    event: bytes = b""
    watchers: int = 0


class Board:
    """The newest of each camera.

    Parameters
    ----------
    wake : callable
        Called from the encoding thread when there is something new.
    rate : float
        Most pictures a second of each camera.
    width : int
        Wider pictures are shrunk to it, after the result was drawn.
    quality : int
        Of the JPEG.
    """

    def __init__(self, wake: Callable[[], None], *, rate: float = 15.0, width: int = 960, quality: int = 80) -> None:
        self._wake, self._rate, self._width, self._quality = wake, rate, width, quality
        self._cv2 = cv2("a live picture")
        self._slots: dict[str, _Slot] = {}
        self._change = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="edgecv preview", daemon=True)
        self._thread.start()

    def put(self, outcome: Outcome) -> None:
        """Leave the newest outcome of a camera."""
        with self._change:
            slot = self._slots.setdefault(outcome.camera, _Slot())
            slot.outcome = outcome
            slot.number += 1
            if slot.watchers:
                self._change.notify()

    def watch(self, camera: str, more: int) -> None:
        """Count somebody who begins (1) or ceases (-1) to watch a camera."""
        with self._change:
            self._slots.setdefault(camera, _Slot()).watchers += more
            self._change.notify()

    def newest(self, camera: str) -> tuple[int, bytes, bytes]:
        """Number, JPEG and JSON of a camera's newest picture; number 0 where there is none yet."""
        with self._change:
            slot = self._slots.get(camera)
            return (0, b"", b"") if slot is None else (slot.encoded, slot.picture, slot.event)

    def close(self) -> None:
        """Stop encoding. Calling it again does nothing."""
        with self._change:
            self._closed = True
            self._change.notify()
        self._thread.join(1.0)

    # -- the encoding thread ---------------------------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            begun = time.monotonic()
            with self._change:
                self._change.wait_for(lambda: self._closed or self._due())
                if self._closed:
                    return
                due = [(slot, slot.outcome, slot.number) for slot in self._due()]
                watchers = sum(slot.watchers for slot in self._slots.values())
            for slot, outcome, number in due:
                self._encode(slot, outcome, number)
            self._wake()
            with self._change:
                pause = max(1 / self._rate, watchers / _SENT_A_SECOND) - (time.monotonic() - begun)
                if pause > 0 and self._change.wait_for(lambda: self._closed, pause):
                    return

    def _due(self) -> list[_Slot]:
        return [slot for slot in self._slots.values() if slot.watchers and slot.encoded < slot.number]

    def _encode(self, slot: _Slot, outcome: Outcome | None, number: int) -> None:
        picture, event = b"", b""
        if outcome is not None:
            try:
                picture, event = self._jpeg(outcome), _event(outcome)
            except Exception:  # a picture that cannot be shown must not end the preview
                log.exception("frame %d of %s cannot be shown", outcome.frame.index, outcome.camera)
        with self._change:
            slot.encoded = number
            if picture:
                slot.picture, slot.event = picture, event

    def _jpeg(self, outcome: Outcome) -> bytes:
        opencv, image = self._cv2, picture_of(outcome)
        height, width = image.shape[:2]
        if width > self._width:
            size = self._width, max(1, round(height * self._width / width))
            image = opencv.resize(image, size, interpolation=opencv.INTER_AREA)
        bgr = opencv.cvtColor(image, opencv.COLOR_RGB2BGR)
        _, content = opencv.imencode(".jpg", bgr, [opencv.IMWRITE_JPEG_QUALITY, self._quality])
        return bytes(content)


def _event(outcome: Outcome) -> bytes:
    values: dict[str, Any] = outcome.to_dict()
    result = light(values["result"]) | {"summary": getattr(outcome.result, "summary", "")[:500]}
    return json_text(values | {"result": result}).encode()
