"""What a live stream is doing, and when it tries again."""

from __future__ import annotations

import random
from dataclasses import dataclass
from enum import Enum

from edgecv_runtime.errors import InputError


class State(str, Enum):
    """What a live stream is doing.

    connecting → running ⇄ stalled → reconnecting → connecting …; ended, failed and closed are final.
    """

    CONNECTING = "connecting"
    RUNNING = "running"
    STALLED = "stalled"
    RECONNECTING = "reconnecting"
    ENDED = "ended"
    FAILED = "failed"
    CLOSED = "closed"

    @property
    def final(self) -> bool:
        """Whether no further frame can come."""
        return self in (State.ENDED, State.FAILED, State.CLOSED)


@dataclass(frozen=True)
class StreamEvent:
    """A change of state.

    Attributes
    ----------
    stream : str
        The source, without credentials.
    state, previous : State
    time : float
        `time.monotonic()`.
    reason : str
        Why; empty where there is nothing to say.
    attempt : int
        Which attempt to connect this is, or is waited for; from 1.
    delay : float
        Seconds until that attempt.
    """

    stream: str
    state: State
    previous: State
    time: float
    reason: str = ""
    attempt: int = 0
    delay: float = 0.0

    def __str__(self) -> str:
        words = f"{self.stream}: {self.state.value}"
        if self.state is State.RECONNECTING:
            words += f" in {self.delay:.1f} s (attempt {self.attempt})"
        return f"{words}: {self.reason}" if self.reason else words


@dataclass(frozen=True)
class Backoff:
    """How long to wait before each attempt to reconnect: exponential, with jitter, up to a cap.

    Attributes
    ----------
    first : float
        Seconds before the first attempt.
    factor : float
        By which each further wait is longer.
    cap : float
        The longest wait, seconds.
    jitter : float in [0, 1]
        A wait is shortened by up to this share, at random: a hundred cameras do not call a server all at once.
    attempts : int or None
        After so many in a row without a frame the stream has failed. None: never.
    """

    first: float = 0.5
    factor: float = 2.0
    cap: float = 30.0
    jitter: float = 0.5
    attempts: int | None = None

    def __post_init__(self) -> None:
        if self.first < 0 or self.factor < 1 or self.cap < self.first or not 0 <= self.jitter <= 1:
            raise InputError(
                "a backoff needs first >= 0, factor >= 1, cap >= first and jitter from 0 to 1; "
                f"received {self.first}, {self.factor}, {self.cap} and {self.jitter}"
            )
        if self.attempts is not None and self.attempts < 0:
            raise InputError(f"attempts must be 0 or more, or None; received {self.attempts}")

    def delay(self, attempt: int, chance: random.Random) -> float:
        """Seconds before attempt 1, 2, …"""
        full = min(self.cap, self.first * self.factor ** min(attempt - 1, 64))
        return full * (1 - self.jitter * chance.random())

    def exhausted(self, attempt: int) -> bool:
        """Whether attempt 1, 2, … is one too many."""
        return self.attempts is not None and attempt > self.attempts
