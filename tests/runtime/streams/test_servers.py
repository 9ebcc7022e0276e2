"""Streams from real servers on loopback that are killed, stall, send garbage and change their minds."""

from __future__ import annotations

import random
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol

import pytest

from edgecv_runtime.streams import Backoff, LiveStream, State, open_stream

BACKOFF = Backoff(first=0.05, cap=0.4)


class Server(Protocol):
    url: str

    def start(self) -> None: ...
    def kill(self) -> None: ...


class Mjpeg:
    def __init__(self, make: Any) -> None:
        self.make, self.server = make, make()
        self.port = self.server.port
        self.url = f"http://127.0.0.1:{self.port}/camera.mjpg"

    def start(self) -> None:
        self.server = self.make(self.port)

    def kill(self) -> None:
        self.server.stop()


class Rtsp:
    python = next(
        (path for path in ("/usr/bin/python3", shutil.which("python3")) if path and Path(path).exists()), None
    )

    def __init__(self) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"rtsp://127.0.0.1:{self.port}/live"
        self.process: subprocess.Popen[str] | None = None
        self.start()

    def start(self) -> None:
        script = Path(__file__).parent / "rtsp_server.py"
        command = [str(self.python), str(script), str(self.port), "320", "240", "30"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert self.process.stdout is not None and self.process.stdout.readline() == "ready\n"

    def kill(self) -> None:
        assert self.process is not None and self.process.stdout is not None
        self.process.kill()
        self.process.wait(10)
        self.process.stdout.close()


def gstreamer() -> bool:
    probe = "import gi; gi.require_version('GstRtspServer', '1.0'); from gi.repository import GstRtspServer"
    return Rtsp.python is not None and subprocess.run([Rtsp.python, "-c", probe], capture_output=True).returncode == 0


@pytest.fixture(params=["mjpeg", "rtsp"])
def server(request: pytest.FixtureRequest, mjpeg_server: Any) -> Iterator[Server]:
    if request.param == "rtsp" and not gstreamer():
        pytest.skip(
            "no GStreamer RTSP server: apt install python3-gi gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-good"
        )
    made: Server = Mjpeg(mjpeg_server) if request.param == "mjpeg" else Rtsp()
    yield made
    made.kill()


class Watch:
    """Reads frames and sees to it that each is a true one, and newer than the last."""

    def __init__(self, stream: LiveStream, number_in: Callable[[Any], int]) -> None:
        self.number_in = number_in
        self.stream, self.last, self.frames = stream, -1, 0

    def read(self, timeout: float) -> Any:
        frame = self.stream.read(timeout)
        if frame is not None:
            number = self.number_in(frame.image)
            assert self.last < 0 or 0 < (number - self.last) % 65536 < 32768, "an old frame once more"
            self.last, self.frames = number, self.frames + 1
        return frame

    def until_frame(self, seconds: float = 30.0) -> float:
        begun = time.monotonic()
        while self.read(0.2) is None:
            assert time.monotonic() - begun < seconds, f"no frame: {self.stream}, {self.stream.reason}"
        return time.monotonic() - begun

    def for_(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.read(0.05)


@pytest.fixture
def watched(server: Server, read_number: Callable[[Any], int]) -> Iterator[Watch]:
    with open_stream(server.url, backoff=BACKOFF, stall_after=0.5, give_up_after=2.0) as stream:
        yield Watch(stream, read_number)


def outlive(server: Server, watch: Watch, times: int) -> None:
    stream, chance = watch.stream, random.Random(7)
    for _ in range(times):
        watch.until_frame()
        watch.for_(chance.uniform(0, 0.5))
        server.kill()
        watch.for_(chance.uniform(0, 0.6))
        server.start()
    watch.until_frame()
    waits = [event.delay for event in stream.events if event.state is State.RECONNECTING]
    assert len(waits) >= times and max(waits) <= BACKOFF.cap
    assert stream.counts.connections >= times + 1
    order = [event.state for event in stream.events]
    assert order.count(State.FAILED) == 0
    for before, after in pairwise(stream.events):
        assert after.previous is before.state
        if after.state is State.CONNECTING:
            assert after.time - before.time < before.delay + 2.0


def test_a_server_killed_and_started_again(server: Server, watched: Watch) -> None:
    outlive(server, watched, 2)


@pytest.mark.slow
def test_a_server_killed_and_started_again_twenty_times(server: Server, watched: Watch) -> None:
    outlive(server, watched, 20)


@pytest.fixture
def mjpeg(mjpeg_server: Any) -> Iterator[Mjpeg]:
    made = Mjpeg(mjpeg_server)
    yield made
    made.kill()


@pytest.fixture
def opened(mjpeg: Mjpeg, read_number: Callable[[Any], int]) -> Iterator[Callable[..., Watch]]:
    streams = []

    def open_(**how: Any) -> Watch:
        streams.append(open_stream(mjpeg.url, **{"backoff": BACKOFF, "stall_after": 0.3, "give_up_after": 1.0, **how}))
        return Watch(streams[-1], read_number)

    yield open_
    for stream in streams:
        stream.close()


def test_a_network_that_goes_silent_without_closing(mjpeg: Mjpeg, opened: Callable[..., Watch]) -> None:
    watch = opened()
    watch.until_frame()
    mjpeg.server.mode = "silent"
    watch.for_(2.5)
    assert {State.STALLED, State.RECONNECTING} <= {event.state for event in watch.stream.events}
    before = watch.frames
    watch.for_(0.3)
    assert watch.frames == before  # nothing is invented meanwhile
    mjpeg.server.mode = "good"
    watch.until_frame()
    assert watch.stream.state is State.RUNNING


def test_without_pyav_opencv_reads_servers(
    opened: Callable[..., Watch], block_import: Callable[[str], None], mjpeg: Mjpeg
) -> None:
    block_import("av")
    watch = opened()
    watch.until_frame()
    watch.for_(0.5)
    assert watch.frames > 3


def test_garbage_on_the_line(mjpeg: Mjpeg, opened: Callable[..., Watch]) -> None:
    watch = opened()
    watch.until_frame()
    mjpeg.server.mode = "garbage"
    before = watch.frames
    watch.for_(2.0)  # each frame that is shown was sent whole
    watch.until_frame()
    assert watch.frames > before
    mjpeg.server.mode = "good"
    watch.for_(1.0)
    watch.until_frame()
    assert watch.stream.state in (State.RUNNING, State.STALLED)


def test_another_resolution_in_mid_stream(mjpeg: Mjpeg, opened: Callable[..., Watch]) -> None:
    watch = opened()
    watch.until_frame()
    mjpeg.server.size = (640, 480)
    end = time.monotonic() + 20
    while (frame := watch.read(0.2)) is None or frame.image.shape != (480, 640, 3):
        assert time.monotonic() < end
    assert frame.image.shape == (480, 640, 3)


def test_a_slow_consumer_gets_new_frames(mjpeg: Mjpeg, opened: Callable[..., Watch]) -> None:
    watch = opened()
    watch.until_frame()
    for _ in range(5):
        time.sleep(0.3)
        frame = watch.read(1.0)
        assert frame is not None and (int(time.time() * 30) - watch.last) % 65536 < 30  # less than a second old
    assert watch.stream.counts.dropped > 10
