"""A live stream: one thread reads, one watches over it, and whoever iterates gets frames that are fresh.

A library that reads a camera may hang for minutes. The reader is therefore a thread that can be left behind: it hands
its frames in under the number of its connection, and when the watcher has opened another one, what still comes from
the old is not taken.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from edgecv_runtime.errors import EdgecvError, InputError
from edgecv_runtime.streams.frame import Frame
from edgecv_runtime.streams.sources import LiveSource, Picture, SourceLostError
from edgecv_runtime.streams.states import Backoff, State, StreamEvent
from edgecv_runtime.streams.stream import Stream

log = logging.getLogger("edgecv_runtime.streams")
log.addHandler(logging.NullHandler())  # who wants to read it sets up logging

_LEFT_BEHIND = 3  # readers that may hang before the watcher waits for one of them
_CLOSING = 0.8  # seconds that close() waits for the threads
_EVENTS = 256  # kept for `LiveStream.events`, and waiting for a slow callback


@dataclass(frozen=True)
class Policy:
    """Which frames are handed out.

    Attributes
    ----------
    queue : int
        Frames that may wait.
    drop : bool
        Whether a newer frame takes the place of one that waits; else the source has to wait.
    interval : float
        Least seconds between frames.
    """

    queue: int = 1
    drop: bool = True
    interval: float = 0.0

    @classmethod
    def named(cls, name: str) -> Policy:
        """``"latest"``, ``"every"`` or ``"rate=N"``.

        Raises
        ------
        InputError
        """
        if name == "latest":
            return cls()
        if name == "every":
            return cls(queue=4, drop=False)
        word, _, value = name.partition("=")
        try:
            rate = float(value) if word == "rate" else 0.0
        except ValueError:
            rate = 0.0
        if not 0 < rate < float("inf"):
            raise InputError(f"policy must be 'latest', 'every' or 'rate=N' (N frames a second); received {name!r}")
        return cls(interval=1 / rate)


@dataclass
class Counts:
    """What has passed through a stream so far.

    Attributes
    ----------
    received : int
        Frames that the source gave.
    delivered, dropped : int
        Frames handed out, and frames that a newer one replaced or the rate left out.
    stale : int
        Frames handed out late.
    connections : int
        Times that a first frame came.
    """

    received: int = 0
    delivered: int = 0
    dropped: int = 0
    stale: int = 0
    connections: int = 0


class LiveStream(Stream):
    """Frames of a camera or a server.

    Parameters
    ----------
    name : str
        Without credentials.
    make_source : callable
        Gives a source for each connection.
    policy : Policy
    backoff : Backoff
    stall_after : float
        Seconds without a frame after which the stream counts as stalled.
    give_up_after : float
        Seconds without a frame after which the connection is given up for a new one.
    stale_after : float
        Age in seconds above which a frame is marked stale.
    on_event : callable, optional
        Called with each `StreamEvent`, in a thread of its own: it may be slow, it may fail, it may hang.
    seed : int, optional
        For the jitter of the waits.
    """

    live = True

    def __init__(
        self,
        name: str,
        make_source: Callable[[], LiveSource],
        policy: Policy,
        *,
        backoff: Backoff | None = None,
        stall_after: float = 1.0,
        give_up_after: float = 10.0,
        stale_after: float = 1.0,
        on_event: Callable[[StreamEvent], object] | None = None,
        seed: int | None = None,
    ) -> None:
        super().__init__(name)
        if not 0 < stall_after <= give_up_after or stale_after <= 0:
            raise InputError(
                "stall_after, give_up_after and stale_after must be above 0, and stall_after the smaller of the first "
                f"two; received {stall_after}, {give_up_after} and {stale_after}"
            )
        self._make_source, self._policy, self._backoff = make_source, policy, backoff or Backoff()
        self._stall_after, self._give_up_after, self.stale_after = stall_after, give_up_after, stale_after
        self._chance = random.Random(seed)
        self._change = threading.Condition()
        self._state, self._reason = State.CONNECTING, ""
        self._waiting: deque[tuple[int, Picture]] = deque()
        self._connection = 0  # number of the one whose frames are taken
        self._readers: list[threading.Thread] = []
        self._outcome: EdgecvError | str | None = None  # how the present connection came to its end
        self._last_frame, self._next_due, self._delivered_index = 0.0, 0.0, -1
        self._started = time.monotonic()
        self.counts = Counts()
        self.events: deque[StreamEvent] = deque(maxlen=_EVENTS)
        self._announcer = _Announcer(on_event) if on_event is not None else None
        self._announce(State.CONNECTING, State.CONNECTING, attempt=1)
        self._watcher = threading.Thread(target=self._watch, name=f"edgecv watcher {name}", daemon=True)
        self._watcher.start()

    # -- for whoever takes the frames ------------------------------------------------------------------------------

    @property
    def state(self) -> State:
        return self._state

    @property
    def drops(self) -> bool:
        """Whether a newer frame takes the place of one that waits."""
        return self._policy.drop

    @property
    def reason(self) -> str:
        """Why it is in this state."""
        return self._reason

    @property
    def frame_age(self) -> float:
        """Seconds since the source gave its last frame; since the start where it gave none."""
        return time.monotonic() - (self._last_frame or self._started)

    def read(self, timeout: float | None = None) -> Frame | None:
        """The next frame; None where none came in `timeout` seconds.

        Raises
        ------
        StopIteration
            The stream has ended or was closed.
        SourceLostError
            It has failed for good.
        """
        with self._change:
            there = self._change.wait_for(lambda: self._waiting or self._state.final, timeout)
            if not there:
                return None
            if not self._waiting:
                if self._state is State.FAILED:
                    raise SourceLostError(f"{self.name} is lost: {self._reason}")
                raise StopIteration
            index, picture = self._waiting.popleft()
            dropped = index - self._delivered_index - 1
            self._delivered_index = index
            late = time.monotonic() - picture.captured > self.stale_after
            self.counts.delivered += 1
            self.counts.dropped += dropped
            self.counts.stale += late
            self._change.notify_all()  # a source that waits may go on
        return Frame(picture.pixels, index, picture.captured - self._started, picture.captured, dropped, stale=late)

    def _next(self) -> Frame:
        frame = self.read()
        assert frame is not None  # without a timeout
        return frame

    def _release(self) -> None:
        with self._change:
            self._waiting.clear()
            self._enter(State.CLOSED)
        until = time.monotonic() + _CLOSING
        for thread in (self._watcher, *self._readers):
            if thread is not threading.current_thread():
                thread.join(max(0.0, until - time.monotonic()))
        if self._announcer is not None:
            self._announcer.stop()

    def __repr__(self) -> str:
        return f"<LiveStream {self.name}: {self._state.value}, {self.counts.delivered} frames>"

    # -- the watcher -----------------------------------------------------------------------------------------------

    def _watch(self) -> None:
        attempt = 1
        while True:
            before = self.counts.received
            self._connect()
            had_frames = self._supervise(before)
            with self._change:
                if self._state.final:
                    return
                outcome, self._connection = self._outcome, self._connection + 1  # what still comes is not taken
                if outcome == "end":
                    self._enter(State.ENDED)
                    return
                reason = str(outcome or f"no frame for {self._give_up_after:g} s")
                if isinstance(outcome, EdgecvError) and not isinstance(outcome, SourceLostError):
                    self._enter(State.FAILED, reason)
                    return
                attempt = 1 if had_frames else attempt + 1
                if self._backoff.exhausted(attempt):
                    self._enter(State.FAILED, reason)
                    return
                delay = self._backoff.delay(attempt, self._chance)
                self._enter(State.RECONNECTING, reason, attempt, delay)
                if self._change.wait_for(lambda: self._state.final, delay):
                    return
                if self._change.wait_for(lambda: self._state.final or self._may_connect(), None) and self._state.final:
                    return
                self._enter(State.CONNECTING, "", attempt)

    def _may_connect(self) -> bool:
        """Whether few enough readers hang."""
        self._readers = [thread for thread in self._readers if thread.is_alive()]
        return len(self._readers) < _LEFT_BEHIND

    def _connect(self) -> None:
        with self._change:
            self._outcome = None
            number = self._connection
        reader = threading.Thread(target=self._read, args=(number,), name=f"edgecv reader {self.name}", daemon=True)
        self._readers.append(reader)
        reader.start()

    def _supervise(self, first: int) -> bool:
        """Until the connection is lost, hangs or is closed; whether more than the `first` frames came."""
        opened = time.monotonic()
        with self._change:
            while True:
                seen = self.counts.received
                since = self._last_frame if seen > first else opened
                quiet = time.monotonic() - since
                full = not self._policy.drop and len(self._waiting) >= self._policy.queue
                if self._state.final or self._outcome is not None:
                    return seen > first
                if full:  # whoever takes the frames is slow, not the source
                    self._change.wait(self._stall_after)
                    self._last_frame = max(self._last_frame, time.monotonic() - self._stall_after / 2)
                    continue
                if quiet >= self._give_up_after:
                    return seen > first
                if quiet >= self._stall_after and self._state is State.RUNNING:
                    self._enter(State.STALLED, f"no frame for {quiet:.1f} s")
                limit = self._stall_after if self._state is State.RUNNING else self._give_up_after
                self._change.wait(max(0.001, since + limit - time.monotonic()))

    # -- the reader ------------------------------------------------------------------------------------------------

    def _read(self, number: int) -> None:
        source: LiveSource | None = None
        outcome: EdgecvError | str
        try:
            source = self._make_source()
            source.open()
            outcome = "closed"
            while (picture := source.read()) is not None:
                if not self._take(number, picture):
                    break
            else:
                outcome = "end" if source.finite else SourceLostError(f"{self.name} gives no more frames")
        except EdgecvError as error:
            outcome = error
        except Exception as error:  # noqa: BLE001  # a library's; the stream must outlive it
            outcome = SourceLostError(f"{type(error).__name__}: {' '.join(str(error).split())}")
        finally:
            if source is not None:
                source.close()
        with self._change:
            if number == self._connection and outcome != "closed":
                self._outcome = outcome
            self._change.notify_all()

    def _take(self, number: int, picture: Picture) -> bool:
        """Put a frame where it is waited for; False when this reader has been left behind."""
        with self._change:
            if not self._policy.drop:
                self._change.wait_for(
                    lambda: len(self._waiting) < self._policy.queue or number != self._connection or self._state.final
                )
            if number != self._connection or self._state.final:
                return False
            index = self.counts.received
            self.counts.received += 1
            self.counts.connections += self._state in (State.CONNECTING,)
            self._last_frame = picture.captured
            if self._state is not State.RUNNING:
                self._enter(State.RUNNING)
            if picture.captured >= self._next_due:
                # On the beat, whatever the source's own rate; but no burst after a pause.
                late = picture.captured - self._next_due >= self._policy.interval
                self._next_due = (picture.captured if late else self._next_due) + self._policy.interval
                if len(self._waiting) >= self._policy.queue:
                    self._waiting.popleft()
                self._waiting.append((index, picture))
            self._change.notify_all()
        return True

    # -- states ----------------------------------------------------------------------------------------------------

    def _enter(self, state: State, reason: str = "", attempt: int = 0, delay: float = 0.0) -> None:
        """With the lock held."""
        previous = self._state
        if previous.final:
            return
        self._state, self._reason = state, reason
        self._announce(state, previous, reason, attempt, delay)
        self._change.notify_all()

    def _announce(self, state: State, previous: State, reason: str = "", attempt: int = 0, delay: float = 0.0) -> None:
        event = StreamEvent(self.name, state, previous, time.monotonic(), reason, attempt, delay)
        self.events.append(event)
        troubled = state in (State.STALLED, State.RECONNECTING, State.FAILED)
        log.log(logging.WARNING if troubled else logging.INFO, "%s", event)
        if self._announcer is not None:
            self._announcer.say(event)


class _Announcer:
    """Calls a callback in a thread of its own; where it hangs, the oldest events are forgotten."""

    def __init__(self, callback: Callable[[StreamEvent], object]) -> None:
        self._callback = callback
        self._waiting: deque[StreamEvent] = deque(maxlen=_EVENTS)
        self._change = threading.Condition()
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="edgecv events", daemon=True)
        self._thread.start()

    def say(self, event: StreamEvent) -> None:
        with self._change:
            self._waiting.append(event)
            self._change.notify()

    def stop(self) -> None:
        with self._change:
            self._stopped = True
            self._change.notify()
        if self._thread is not threading.current_thread():
            self._thread.join(0.1)

    def _run(self) -> None:
        while True:
            with self._change:
                self._change.wait_for(lambda: self._waiting or self._stopped)
                if not self._waiting:
                    return
                event = self._waiting.popleft()
            try:
                self._callback(event)
            except Exception:  # a caller's mistake must not stop the stream
                log.exception("the callback for %s failed", event)
