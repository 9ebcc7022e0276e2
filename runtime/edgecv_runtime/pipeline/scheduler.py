"""Which camera's frame comes next: each in its turn, of those that have one."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from edgecv_runtime.errors import EdgecvError
from edgecv_runtime.streams.frame import Frame
from edgecv_runtime.streams.live import LiveStream
from edgecv_runtime.streams.stream import Stream

_AHEAD = 3  # frames of a file that are read before they are asked for
_LONGEST = 0.2  # seconds between frames from which on none is waited for


@dataclass(frozen=True, eq=False)
class Turn:
    """A frame that is to be looked at.

    Attributes
    ----------
    number : int
        In the order in which frames were handed out, from 0.
    camera : str
    frame : Frame
    """

    number: int
    camera: str
    frame: Frame


class _Feed:
    """The frames of one stream, read by a thread of its own.

    Of a live stream one frame is held at the most, and a newer one takes its place: what waits here would only grow
    old. Files are read a few frames ahead.
    """

    def __init__(self, name: str, stream: Stream, change: threading.Condition) -> None:
        self.name, self.stream, self.change = name, stream, change
        self.newest_only = isinstance(stream, LiveStream) and stream.drops
        self.waiting: deque[Frame] = deque()
        self.interval, self._last = 0.0, 0.0  # seconds between frames, smoothed; capture of the last one
        self.ended = False
        self.error: EdgecvError | None = None
        self.thread = threading.Thread(target=self._run, name=f"edgecv feed {name}", daemon=True)

    def _run(self) -> None:
        try:
            for frame in self.stream:
                if not self._offer(frame):
                    return
        except EdgecvError as error:
            self.error = error
        finally:
            self.stream.close()  # here: a decoder must not be released while another thread reads it
            with self.change:
                self.ended = True
                self.change.notify_all()

    def _offer(self, frame: Frame) -> bool:
        self._keep_time(frame)
        with self.change:
            if self.newest_only and self.waiting:
                older = self.waiting.popleft()
                frame = replace(frame, dropped=frame.dropped + older.dropped + 1)
            elif not self.newest_only:
                self.change.wait_for(lambda: len(self.waiting) < _AHEAD or self.ended)
            if self.ended:
                return False
            self.waiting.append(frame)
            self.change.notify_all()
        return True

    def _keep_time(self, frame: Frame) -> None:
        gap = (frame.captured - self._last) / (frame.dropped + 1)
        if self._last:
            self.interval = gap if not self.interval else 0.9 * self.interval + 0.1 * gap
        self._last = frame.captured

    def worth_waiting(self, now: float) -> float:
        """Seconds in which a newer frame is due that is nearer than the age of the one that waits; 0: take that.

        A frame that has waited for more than half an interval would be older at its result than the next one will be.
        """
        if not self.newest_only or not 0 < self.interval < _LONGEST:
            return 0.0
        age = now - self.waiting[0].captured
        return max(0.0, 1.25 * self.interval - age) if age > self.interval / 2 else 0.0


class Scheduler:
    """Hands out the frames of several streams, in turn.

    Parameters
    ----------
    streams : mapping of camera to Stream
    """

    def __init__(self, streams: Mapping[str, Stream]) -> None:
        self._change = threading.Condition()
        self._feeds = [_Feed(name, stream, self._change) for name, stream in streams.items()]
        self._next, self._given = 0, 0
        self._closed = False
        for feed in self._feeds:
            feed.thread.start()

    def take(self) -> Turn | None:
        """The next frame, when there is one; None when no stream can give another.

        Raises
        ------
        EdgecvError
            The last stream that was left has failed.
        """
        with self._change:
            feed = self._choose()
            if feed is None:
                for one in self._feeds:
                    if one.error is not None and not self._closed:
                        raise one.error
                return None
            self._next = (self._feeds.index(feed) + 1) % len(self._feeds)
            frame = feed.waiting.popleft()
            if isinstance(feed.stream, LiveStream):
                frame = replace(frame, stale=frame.age > feed.stream.stale_after)
            turn = Turn(self._given, feed.name, frame)
            self._given += 1
            self._change.notify_all()
            return turn

    def _choose(self) -> _Feed | None:
        """The feed whose turn it is, of those with a frame; where all of these are about to get a newer one, that."""
        while not self._closed:
            count, now = len(self._feeds), time.monotonic()
            order = [self._feeds[(self._next + place) % count] for place in range(count)]
            waits = {feed: feed.worth_waiting(now) for feed in order if feed.waiting}
            fresh = next((feed for feed, seconds in waits.items() if seconds == 0), None)
            if fresh is not None:
                return fresh
            if not waits and self._over():
                return None
            self._change.wait(min(waits.values(), default=None))
        return None

    def _over(self) -> bool:
        return all(feed.ended for feed in self._feeds)

    def close(self) -> None:
        """Let go of all streams."""
        with self._change:
            self._closed = True
            for feed in self._feeds:
                feed.ended = True
                feed.waiting.clear()
            self._change.notify_all()
        for feed in self._feeds:
            if isinstance(feed.stream, LiveStream):
                feed.stream.close()
        until = time.monotonic() + 1.0
        for feed in self._feeds:
            feed.thread.join(max(0.0, until - time.monotonic()))

    def __iter__(self) -> Iterator[Turn]:
        while (turn := self.take()) is not None:
            yield turn
