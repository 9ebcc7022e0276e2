"""What a service tells systemd: that it is ready, that it is alive, that it stops (sd_notify(3), in a few lines)."""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType

from edgecv_runtime.pipeline.outcome import CameraReport
from edgecv_runtime.streams.states import State

log = logging.getLogger("edgecv_runtime.systemd")
log.addHandler(logging.NullHandler())


class Notifier:
    """Sends messages to the service manager; does nothing where there is none.

    Parameters
    ----------
    environment : mapping
        ``NOTIFY_SOCKET``: the manager's socket; a name that begins with ``@`` is in Linux's abstract namespace.
        ``WATCHDOG_USEC`` and ``WATCHDOG_PID``: within how many microseconds the manager wants a sign of life, and
        whose.
    """

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        address = environment.get("NOTIFY_SOCKET", "")
        self._address = "\0" + address[1:] if address.startswith("@") else address
        microseconds = environment.get("WATCHDOG_USEC", "")
        owner = environment.get("WATCHDOG_PID", str(os.getpid()))
        ours = microseconds.isdecimal() and int(microseconds) > 0 and owner == str(os.getpid())
        self.watchdog_seconds = int(microseconds) / 1e6 if ours and self._address else None

    @property
    def there(self) -> bool:
        """Whether a service manager listens."""
        return bool(self._address)

    def say(self, **fields: str) -> bool:
        """Send ``NAME=value`` lines: ``say(READY="1", STATUS="2 cameras")``; whether they could be sent."""
        if not self._address:
            return False
        text = "\n".join(f"{name}={' '.join(value.split())}" for name, value in fields.items())
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as one:
                one.setblocking(False)
                one.connect(self._address)
                one.send(text.encode())
        except OSError as error:  # a manager that does not listen must not stop the cameras
            log.warning("systemd cannot be told %s: %s", ", ".join(fields), error)
            return False
        return True


class Watchdog:
    """Gives signs of life as long as the pipeline gets on, and only then.

    A thread that always says "alive" would say so of a pipeline that hangs too. This one looks at the reports: while a
    camera runs, results must come; while none does, there is nothing to wait for, and reconnecting is life enough.
    When results have failed to come for half the manager's time it falls silent, and the manager starts us anew.

    Parameters
    ----------
    reports : callable
        `Pipeline.reports`.
    notifier : Notifier, optional
    gated : bool
        Results may fail to come because nothing moves (a motion gate): then only the reports themselves must.
    clock : callable
        Seconds, monotonic.
    """

    def __init__(
        self,
        reports: Callable[[], Sequence[CameraReport]],
        notifier: Notifier | None = None,
        *,
        gated: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._reports, self._notifier, self._gated, self._clock = reports, notifier or Notifier(), gated, clock
        self._interval = self._notifier.watchdog_seconds
        self._results, self._since = -1, clock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Watchdog:
        """Say that the service is ready, and begin."""
        self._notifier.say(READY="1", STATUS="running")
        if self._notifier.there and self._thread is None:
            self._thread = threading.Thread(target=self._run, name="edgecv watchdog", daemon=True)
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Say that the service stops. Calling it again does nothing."""
        if self._stop.is_set():
            return
        self._stop.set()
        self._notifier.say(STOPPING="1", STATUS="stopping")
        if self._thread is not None:
            self._thread.join(1.0)

    def _run(self) -> None:
        pause = min(10.0, self._interval / 4 if self._interval is not None else 10.0)
        while not self._stop.wait(pause):
            self.look()

    def look(self) -> bool:
        """Tell how the cameras fare, and give a sign of life if there is one; whether there is."""
        reports = self._reports()
        alive = self._gets_on(reports)
        status = {"STATUS": summary(reports) + ("" if alive else "; no results: waiting to be started anew")}
        if alive and self._interval is not None:
            status["WATCHDOG"] = "1"
        self._notifier.say(**status)
        return alive

    def _gets_on(self, reports: Sequence[CameraReport]) -> bool:
        now, results = self._clock(), sum(report.frames_out for report in reports)
        waiting = any(report.state == State.RUNNING.value for report in reports) and not self._gated
        if results != self._results or not waiting:
            self._results, self._since = results, now
        return now - self._since <= (self._interval or float("inf")) / 2


def summary(reports: Sequence[CameraReport]) -> str:
    """One line on all cameras, for ``systemctl status``."""
    return "; ".join(f"{one.name} {one.state}, {one.frames_out} results" for one in reports) or "no cameras"
