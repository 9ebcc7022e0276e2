"""Live streams on sources that are slow, lost, hung and full of errors."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from edgecv_runtime.errors import InputError, MissingFileError, UnsupportedError
from edgecv_runtime.streams import Backoff, LiveStream, State, StreamEvent, open_stream
from edgecv_runtime.streams.live import Policy
from edgecv_runtime.streams.sources import LiveSource, Picture, SourceLostError, pattern_number

QUICK = Backoff(first=0.005, cap=0.02)


def bars(options: str, policy: str | None = None, **how: Any) -> LiveStream:
    stream = open_stream(f"test://bars?size=64x48&{options}", policy, **{"backoff": QUICK, **how})
    assert isinstance(stream, LiveStream)
    return stream


def states(stream: LiveStream) -> list[str]:
    return [event.state.value for event in stream.events]


def until(condition: Callable[[], Any], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came to that"
        time.sleep(0.002)


# -- which frames --------------------------------------------------------------------------------------------------


def test_every_frame_in_order_and_true() -> None:
    with bars("fps=0&frames=200", "every") as stream:
        frames = list(stream)
    assert [frame.index for frame in frames] == list(range(200)) == [pattern_number(frame.image) for frame in frames]
    assert {frame.dropped for frame in frames} == {0}
    assert states(stream) == ["connecting", "running", "ended"]
    assert stream.counts.received == stream.counts.delivered == 200 and stream.counts.dropped == 0


def test_the_newest_frame_and_the_number_of_those_left_out() -> None:
    with bars("fps=200&frames=100") as stream:
        frames = []
        for frame in stream:
            frames.append(frame)
            time.sleep(0.03)
    assert len(frames) < 60 and frames[-1].index == 99
    assert sum(frame.dropped for frame in frames) + len(frames) == 100
    for before, frame in pairwise(frames):
        assert frame.index == before.index + frame.dropped + 1 == pattern_number(frame.image)
        assert frame.timestamp > before.timestamp


def test_rate_leaves_out_what_comes_too_soon() -> None:
    with bars("fps=200&frames=100", "rate=20") as stream:  # half a second
        frames = list(stream)
    assert 5 <= len(frames) <= 12
    gaps = np.diff([frame.captured for frame in frames])
    assert gaps.min() > 0.02


def test_a_frame_that_waited_is_marked_stale() -> None:
    with bars("fps=0&frames=1", stale_after=0.05) as stream:
        until(lambda: stream.counts.received)
        time.sleep(0.1)
        (frame,) = stream
    assert frame.stale and frame.age > 0.05 and stream.counts.stale == 1


def test_reading_with_a_time_limit() -> None:
    with bars("fps=10&hang=1", stall_after=5) as stream:
        assert stream.read(timeout=10) is not None
        assert stream.read(timeout=0.02) is None


# -- losses --------------------------------------------------------------------------------------------------------


def test_a_lost_source_comes_back_and_no_frame_is_invented() -> None:
    with bars("fps=0&lose=7", "every") as stream:
        frames = [frame for frame, _ in zip(stream, range(100), strict=False)]
        seen = list(stream.events)
    assert [pattern_number(frame.image) for frame in frames] == list(range(100))
    pairs = [(event.previous.value, event.state.value) for event in seen]
    assert pairs[:5] == [
        ("connecting", "connecting"),
        ("connecting", "running"),
        ("running", "reconnecting"),
        ("reconnecting", "connecting"),
        ("connecting", "running"),
    ]
    waits = [event for event in seen if event.state is State.RECONNECTING]
    assert all(event.attempt == 1 and 0.0025 <= event.delay <= 0.005 for event in waits)
    assert waits[0].reason == "test://bars was lost, as asked for"


def test_a_source_that_hangs_is_left_for_a_new_one() -> None:
    with bars("fps=100&hang=3", stall_after=0.05, give_up_after=0.15) as stream:
        until(lambda: stream.counts.connections >= 2)
        begun = time.monotonic()
    assert time.monotonic() - begun < 5  # closing does not wait for what hangs
    assert states(stream)[:6] == ["connecting", "running", "stalled", "reconnecting", "connecting", "running"]


def test_hanging_readers_are_bounded() -> None:
    with bars("fps=0&hang=0", stall_after=0.01, give_up_after=0.02) as stream:
        until(lambda: states(stream).count("reconnecting") >= 3)
        time.sleep(0.1)
        readers = [thread for thread in threading.enumerate() if thread.name.startswith("edgecv reader test")]
        assert states(stream).count("reconnecting") == 3  # and there it waits
    assert len(readers) >= 3


class Scripted(LiveSource):
    """Does what a list says: a number of frames, or an error; then it ends."""

    def __init__(self, script: list[Any]) -> None:
        self.script, self.closed = script, 0

    def open(self) -> None:
        if self.script and self.script[0] == "refuse":
            self.script.pop(0)
            raise SourceLostError("refused")

    def read(self) -> Picture | None:
        if not self.script:
            return None
        step = self.script.pop(0)
        if step == "refuse":
            raise SourceLostError("refused")
        if isinstance(step, BaseException):
            raise step
        return Picture(np.full((4, 4, 3), step, np.uint8), time.monotonic())

    def close(self) -> None:
        self.closed += 1


def scripted(script: list[Any], **how: Any) -> tuple[LiveStream, Scripted]:
    source = Scripted(script)
    return LiveStream("script", lambda: source, Policy.named("every"), **{"backoff": QUICK, **how}), source


def test_attempts_in_a_row_and_then_failure() -> None:
    stream, source = scripted(["refuse", 1, "refuse", "refuse", "refuse", 2], backoff=Backoff(0.001, attempts=2))
    with stream:
        assert next(stream).image[0, 0, 0] == 1
        with pytest.raises(SourceLostError, match="script is lost: refused"):
            next(stream)
        assert stream.state is State.FAILED and source.closed >= 4
        attempts = [event.attempt for event in stream.events if event.state is State.RECONNECTING]
    assert attempts == [2, 1, 2]  # a frame in between begins the count anew


def test_a_library_s_own_error_is_a_loss_and_ours_is_final() -> None:
    stream, _ = scripted([1, ValueError("bad packet"), 2])
    with stream:
        assert [next(stream).image[0, 0, 0] for _ in range(2)] == [1, 2]
        assert any(event.reason == "ValueError: bad packet" for event in stream.events)
    stream, _ = scripted([1, UnsupportedError("this camera has no such mode"), 2])
    with stream:
        next(stream)
        with pytest.raises(SourceLostError, match="this camera has no such mode"):
            next(stream)


def test_the_end_of_what_should_not_end_is_a_loss() -> None:
    stream, _ = scripted([1])
    with stream:
        next(stream)
        until(lambda: stream.state is State.RECONNECTING)
        assert stream.reason == "script gives no more frames"


# -- callbacks and closing -----------------------------------------------------------------------------------------


def test_events_reach_a_callback_in_order() -> None:
    seen: list[StreamEvent] = []
    with bars("fps=0&frames=50", "every", on_event=seen.append) as stream:
        list(stream)
    until(lambda: len(seen) == 3)
    assert [event.state for event in seen] == [State.CONNECTING, State.RUNNING, State.ENDED]


@pytest.mark.parametrize("kind", ["hangs", "fails"])
def test_a_bad_callback_hurts_nobody(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    release = threading.Event()

    def callback(event: StreamEvent) -> None:
        if kind == "fails":
            raise RuntimeError("not my day")
        release.wait(30)

    with bars("fps=0&lose=5", "every", on_event=callback) as stream:
        assert len([frame for frame, _ in zip(stream, range(50), strict=False)]) == 50
    release.set()
    assert (kind == "fails") == ("not my day" in caplog.text)


def closing(stream: LiveStream) -> float:
    begun = time.monotonic()
    stream.close()
    stream.close()
    return time.monotonic() - begun


@pytest.mark.parametrize("options", ["fps=0", "fps=1", "fps=100&lose=1", "fps=0&hang=0", "fps=0&hang=5"])
@pytest.mark.parametrize("policy", ["latest", "every"])
def test_closing_from_any_state(options: str, policy: str) -> None:
    stream = bars(options, policy, backoff=Backoff(first=30, cap=30))
    time.sleep(0.02)
    assert closing(stream) < 5  # a second, on a machine that has one to spare
    assert stream.state is State.CLOSED
    with pytest.raises(InputError, match="is closed"):
        next(stream)


def test_closing_ends_a_wait_in_another_thread() -> None:
    stream = bars("fps=0&hang=0")
    frames: list[Any] = []
    waiting = threading.Thread(target=lambda: frames.extend(stream), daemon=True)
    waiting.start()
    time.sleep(0.05)
    stream.close()
    waiting.join(10)
    assert not waiting.is_alive() and not frames


@pytest.fixture
def no_threads_left() -> Iterator[None]:
    before = {thread.ident for thread in threading.enumerate()}
    yield
    until(lambda: all(thread.ident in before for thread in threading.enumerate() if "edgecv" in thread.name), 10)


@pytest.mark.usefixtures("no_threads_left")
def test_threads_end_with_the_stream() -> None:
    with bars("fps=0&lose=3", "every", on_event=lambda event: None) as stream:
        for _ in zip(stream, range(30), strict=False):
            pass


# -- refused -------------------------------------------------------------------------------------------------------


def test_options_are_checked() -> None:
    with pytest.raises(InputError, match="stall_after the smaller"):
        bars("fps=0", stall_after=5, give_up_after=1)
    for options in ("frames=many", "speed=3"):
        with pytest.raises(InputError):
            bars(options)
    with pytest.raises(InputError, match="test:// has one picture"):
        open_stream("test://noise")
    with pytest.raises(InputError, match="at least 32 pixels wide"):
        open_stream("test://bars?size=16x16")


def test_a_camera_that_is_not_there() -> None:
    with pytest.raises(MissingFileError, match="no camera at /dev/video77"):
        open_stream("77")
    with pytest.raises(UnsupportedError, match="csi:// needs Picamera2"):
        open_stream("csi://0")
    with pytest.raises(InputError, match="csi:// needs a camera's number"):
        open_stream("csi://front")


def test_an_unreachable_server_shows_no_password() -> None:
    with open_stream("rtsp://admin:hunter2@127.0.0.1:9/live", backoff=Backoff(attempts=0)) as stream:
        with pytest.raises(SourceLostError) as caught:
            next(stream)
        texts = [str(caught.value), repr(stream), *(str(event) for event in stream.events)]
    assert "cannot be opened" in texts[0] and not any("hunter2" in text for text in texts)
