"""Results to a function, in a thread of its own: it may be slow, it may fail, it may hang."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable

from edgecv_runtime.errors import InputError
from edgecv_runtime.pipeline.outcome import Outcome

log = logging.getLogger("edgecv_runtime.sinks")
log.addHandler(logging.NullHandler())


class CallbackSink:
    """Call a function with each outcome.

    Parameters
    ----------
    function : callable
        Takes an `Outcome`. What it raises is logged, and counted in `failed`.
    queue : int
        Outcomes that may wait for it; above that the oldest is forgotten, and counted in `dropped`.
    patience : float
        Seconds that `close` waits for the function to take what is there.

    Raises
    ------
    InputError
        `queue` or `patience` is out of range.
    """

    def __init__(self, function: Callable[[Outcome], object], *, queue: int = 8, patience: float = 0.5) -> None:
        if queue < 1 or patience < 0:
            raise InputError(f"queue must be at least 1 and patience at least 0; received {queue} and {patience}")
        self._function, self._patience, self._limit = function, patience, queue
        self._waiting: deque[Outcome] = deque()
        self._change = threading.Condition()
        self._closed = False
        self.dropped = self.failed = 0
        self._thread = threading.Thread(target=self._run, name="edgecv callback", daemon=True)
        self._thread.start()

    def write(self, outcome: Outcome) -> None:
        with self._change:
            if self._closed:
                return
            if len(self._waiting) >= self._limit:
                self._waiting.popleft()
                self.dropped += 1
            self._waiting.append(outcome)
            self._change.notify()

    def close(self) -> None:
        """Let the function take what waits, as long as it does not keep us. Calling it again does nothing."""
        with self._change:
            self._closed = True
            self._change.notify()
        if self._thread is not threading.current_thread():
            self._thread.join(self._patience)
        with self._change:
            self.dropped += len(self._waiting)
            self._waiting.clear()

    def _run(self) -> None:
        while True:
            with self._change:
                self._change.wait_for(lambda: self._waiting or self._closed)
                if not self._waiting:
                    return
                outcome = self._waiting.popleft()
            try:
                self._function(outcome)
            except Exception:  # a caller's mistake must not stop the cameras
                self.failed += 1
                log.exception("the callback failed for frame %d of %s", outcome.frame.index, outcome.camera)

    def __repr__(self) -> str:
        return f"<CallbackSink {getattr(self._function, '__name__', self._function)!s}: {self.dropped} dropped>"
