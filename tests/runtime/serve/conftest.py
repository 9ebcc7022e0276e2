"""A pipeline of one's own making behind the server, a client that sends bytes as they are, and a browser."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgecv_runtime.errors import InputError
from edgecv_runtime.pipeline.outcome import CameraReport, Outcome
from edgecv_runtime.results import Detections
from edgecv_runtime.serve import Limits, Preview, Slider
from edgecv_runtime.streams.frame import Frame

SCORES = np.float32([0.95, 0.85, 0.75, 0.65, 0.55, 0.45, 0.35, 0.25])


@dataclass
class Scene:
    """A stand-in for a `Pipeline`: one camera or two, and objects of known scores, those above the threshold."""

    names: tuple[str, ...] = ("door",)
    size: tuple[int, int] = (96, 160)
    threshold: float = 0.3
    made: int = 0
    camera_reports: list[CameraReport] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.camera_reports = [CameraReport(name, "rtsp://***@camera", "running") for name in self.names]

    def reports(self) -> list[CameraReport]:
        return self.camera_reports

    def configure(self, **parameters: Any) -> None:
        if parameters["score_threshold"] == 1.0:
            raise InputError("score_threshold of decoder 'x' must be below 1 here")
        self.threshold = parameters["score_threshold"]

    def outcome(self, camera: str | None = None) -> Outcome:
        index, (height, width) = self.made, self.size
        self.made += 1
        image = np.full((height, width, 3), 40, np.uint8)
        left = index * 4 % (width - 20)
        image[10:30, left : left + 20] = (250, 200, 40)
        count = int((self.threshold <= SCORES).sum())
        tops = np.arange(count) * height / len(SCORES)
        boxes = np.stack([np.full(count, left), tops, np.full(count, left + 20), tops + 8], axis=1).astype(np.float32)
        result = Detections(boxes, SCORES[:count], np.zeros(count, np.int64), ("thing",))
        report = next(one for one in self.camera_reports if camera in (None, one.name))
        report.frames_in += 2
        report.frames_out += 1
        report.dropped += 1
        seconds = {"wait": 0.002, "preprocess": 0.004, "infer": 0.020 + 0.004 * (index % 3), "decode": 0.001}
        report.age.add(0.03)
        for stage, value in seconds.items():
            report.stages[stage].add(value)
        frame = Frame(image, index, index / 20, time.monotonic(), 1)
        return Outcome(report.name, frame, result, seconds, 0.03)


@pytest.fixture
def scene() -> Scene:
    return Scene()


SLIDERS = (Slider("score_threshold", 0.3, 0.0, 1.0, "detections that score lower are left out"),)


@pytest.fixture
def serving(scene: Scene) -> Iterator[Callable[..., Preview]]:
    """``serving(address=..., token=..., limits=...)``: a preview of `scene` that is closed after the test."""
    open_ones: list[Preview] = []

    def start(address: str = "127.0.0.1:0", **options: Any) -> Preview:
        preview = Preview(address, sliders=SLIDERS, **options)
        open_ones.append(preview)
        preview.attach(scene)
        return preview

    yield start
    for preview in open_ones:
        preview.close()


@pytest.fixture
def running(scene: Scene) -> Iterator[Callable[[Preview], None]]:
    """``running(preview)``: from now on the scene moves, 20 frames a second."""
    stop = threading.Event()
    threads: list[threading.Thread] = []

    def run(preview: Preview, pause: float = 0.05) -> None:
        def loop() -> None:
            while not stop.wait(pause):
                preview.write(scene.outcome())

        threads.append(threading.Thread(target=loop))
        threads[-1].start()

    yield run
    stop.set()
    for thread in threads:
        thread.join()


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


def port_of(preview: Preview) -> int:
    return int(preview.url.rstrip("/").rpartition(":")[2])


@pytest.fixture
def connect() -> Iterator[Callable[[Preview], socket.socket]]:
    sockets: list[socket.socket] = []

    def opened(preview: Preview) -> socket.socket:
        sockets.append(socket.create_connection(("127.0.0.1", port_of(preview)), timeout=20))
        return sockets[-1]

    yield opened
    for one in sockets:
        one.close()


def exchange(connection: socket.socket, content: bytes) -> Answer:
    """Send bytes, and read until the other side closes."""
    connection.sendall(content)
    received = b""
    while piece := connection.recv(65536):
        received += piece
    head, _, body = received.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    return Answer(int(first.split()[1]), headers, body)


@pytest.fixture
def ask(connect: Any) -> Callable[..., Answer]:
    """``ask(preview, "/healthz", headers={...}, body=...)``: one plain request."""

    def request(
        preview: Preview, target: str, *, method: str = "GET", headers: dict[str, str] | None = None, body: bytes = b""
    ) -> Answer:
        lines = {"Host": f"127.0.0.1:{port_of(preview)}"} | (headers or {})
        if body or method == "POST":
            lines = {"Content-Length": str(len(body)), "Content-Type": "application/json"} | lines
        text = f"{method} {target} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        return exchange(connect(preview), text.encode("latin-1") + b"\r\n" + body)

    return request


@pytest.fixture
def raw(connect: Any) -> Callable[[Preview, bytes], Answer]:
    return lambda preview, content: exchange(connect(preview), content)


@pytest.fixture
def quick_limits() -> Limits:
    return Limits(request_seconds=0.4, write_seconds=0.4)


class Browser:
    """Chromium without a screen, driven through the pipe that it offers for that (its DevTools protocol)."""

    def __init__(self, program: str, profile: Path) -> None:
        to_browser, self._write = os.pipe()
        self._read, from_browser = os.pipe()

        def descriptors() -> None:  # the protocol's are 3 and 4; moved out of the way first, they may be those already
            there, back = os.dup(to_browser), os.dup(from_browser)
            high = [os.dup2(there, 60), os.dup2(back, 61)]
            for place, descriptor in zip((3, 4), high, strict=True):
                os.dup2(descriptor, place)

        command = [
            program, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
            "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-extensions",
            "--force-color-profile=srgb", "--window-size=1280,860", f"--user-data-dir={profile}",
            "--remote-debugging-pipe", "about:blank",
        ]  # fmt: skip
        self._process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, close_fds=False, preexec_fn=descriptors
        )
        os.close(to_browser)
        os.close(from_browser)
        self._number, self._rest = 0, b""
        self.requests: list[str] = []
        self.errors: list[str] = []
        pages = self.call("Target.getTargets")["targetInfos"]
        page = next(one for one in pages if one["type"] == "page")
        self._session = self.call("Target.attachToTarget", targetId=page["targetId"], flatten=True)["sessionId"]
        for domain in ("Network", "Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    _session: str | None = None

    def call(self, method: str, **parameters: Any) -> Any:
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                return answer["result"]
            self._note(answer)

    def _next(self) -> Any:
        while b"\0" not in self._rest:
            piece = os.read(self._read, 1 << 20)
            assert piece, "the browser is gone"
            self._rest += piece
        text, _, self._rest = self._rest.partition(b"\0")
        return json.loads(text)

    def _note(self, event: Any) -> None:
        name, values = event.get("method"), event.get("params", {})
        if name == "Network.requestWillBeSent":
            self.requests.append(values["request"]["url"])
        elif name == "Runtime.exceptionThrown":
            self.errors.append(str(values["exceptionDetails"]))
        elif name == "Log.entryAdded" and values["entry"]["level"] == "error":
            self.errors.append(values["entry"]["text"])

    def open(self, url: str) -> None:
        self.call("Page.navigate", url=url)

    def evaluate(self, script: str) -> Any:
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def wait_for(self, script: str, seconds: float = 60) -> Any:
        """Until `script` is true; its value. The limit is only for a page that hangs."""
        until = time.monotonic() + seconds
        tried = f"(() => {{ try {{ return {script} }} catch {{ return false }} }})()"  # there may be no body yet
        while not (value := self.evaluate(tried)):
            assert time.monotonic() < until, f"{script} did not become true; errors: {self.errors}"
            time.sleep(0.1)
        return value

    def screenshot(self) -> bytes:
        import base64

        return base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"])

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(20)
        os.close(self._write)
        os.close(self._read)


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("needs Chromium (Debian: apt-get install chromium)")
    opened = Browser(program, tmp_path / "profile")
    yield opened
    opened.close()
