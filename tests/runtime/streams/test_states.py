from __future__ import annotations

import random
from typing import Any

import pytest

from edgecv_runtime.errors import InputError
from edgecv_runtime.streams import Backoff, State, StreamEvent


def test_waits_double_up_to_the_cap() -> None:
    plain = Backoff(first=0.5, factor=2, cap=5, jitter=0)
    assert [plain.delay(attempt, random.Random(0)) for attempt in range(1, 7)] == [0.5, 1, 2, 4, 5, 5]
    assert plain.delay(10**6, random.Random(0)) == 5


def test_jitter_shortens_a_wait_by_at_most_its_share() -> None:
    chance = random.Random(1)
    waits = [Backoff(first=1, cap=1, jitter=0.5).delay(1, chance) for _ in range(1000)]
    assert 0.5 <= min(waits) < 0.51 and 0.99 < max(waits) <= 1


def test_attempts() -> None:
    assert not Backoff().exhausted(10**9)
    assert [Backoff(attempts=2).exhausted(attempt) for attempt in (1, 2, 3)] == [False, False, True]


@pytest.mark.parametrize("options", [{"first": -1}, {"factor": 0.5}, {"cap": 0.1}, {"jitter": 2}, {"attempts": -1}])
def test_refused(options: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        Backoff(**options)


def test_events_in_words() -> None:
    event = StreamEvent("door", State.RECONNECTING, State.RUNNING, 0.0, "no frame for 10 s", 3, 1.25)
    assert str(event) == "door: reconnecting in 1.2 s (attempt 3): no frame for 10 s"
    assert str(StreamEvent("door", State.RUNNING, State.CONNECTING, 0.0)) == "door: running"
    assert [state.value for state in State if state.final] == ["ended", "failed", "closed"]
