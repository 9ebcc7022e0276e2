"""``edgecv run`` with sinks, several sources and the live page."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edgecv_runtime.cli.live import named_sources
from edgecv_runtime.errors import InputError

ROWS = np.float32([[[2, 3, 4, 6, 1, 0.9, 0.1], [6, 3, 4, 6, 1, 0.1, 0.8], [1, 1, 2, 2, 1, 0.35, 0]]])
BARS = "test://bars?size=64x48&fps=0&frames=12"


@pytest.fixture
def detector(object_bundle: Callable[..., Path]) -> Path:
    return object_bundle("yolov5", ROWS, labels=("cat", "dog"))


def test_sinks(edgecv: Any, detector: Path, tmp_path: Path) -> None:
    outcome = edgecv(
        "run", detector, "--source", BARS, "--policy", "every", "--track", "--json", "--keep", 5,
        "--sink", tmp_path / "out.jsonl", "--sink", tmp_path / "out.avi", "--sink", f"{tmp_path}/pictures/",
    )  # fmt: skip
    assert (outcome.status, outcome.err) == (0, "")
    lines = [json.loads(line) for line in outcome.out.splitlines()]
    assert [line["index"] for line in lines] == list(range(12)) and {line["camera"] for line in lines} == {"0"}
    assert (
        lines[-1]["result"]["labels"][:2] == ["cat", "dog"] and lines[-1]["result"]["ids"] == lines[-2]["result"]["ids"]
    )
    assert (tmp_path / "out.jsonl").read_text() == outcome.out
    capture = cv2.VideoCapture(str(tmp_path / "out.avi"))
    assert capture.grab() and not list(tmp_path.glob(".*"))
    capture.release()
    assert len(list((tmp_path / "pictures").glob("0_*.jpg"))) == 5


def test_augmented(edgecv: Any, detector: Path, tmp_path: Path) -> None:
    """The model answers every view alike, in the view's own places: the mirrored picture doubles the boxes."""
    path = tmp_path / "out.jsonl"
    outcome = edgecv("run", detector, "--source", BARS, "--policy", "every", "--tta", "hflip", "--sink", path)
    assert (outcome.status, outcome.err) == (0, "")
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["index"] for line in lines] == list(range(12))
    # 64 pixels wide, an input of 8: the cat is at 0..32, and at 32..64 in the mirror; both stay.
    plain = edgecv("run", detector, "--source", BARS, "--policy", "every", "--max-frames", 1, "--json")
    before = json.loads(plain.out)["result"]
    cats = {
        tuple(np.round(box)) for box, label in zip(before["boxes"], before["labels"], strict=True) if label == "cat"
    }
    both = cats | {(64 - right, top, 64 - left, bottom) for left, top, right, bottom in cats}
    result = lines[0]["result"]
    found = {
        tuple(np.round(box)) for box, label in zip(result["boxes"], result["labels"], strict=True) if label == "cat"
    }
    assert found == both and len(both) > len(cats)


def test_augmented_pictures(edgecv: Any, detector: Path, tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((48, 64, 3), np.uint8))
    counts = []
    for more in ((), ("--tta", "hflip")):
        outcome = edgecv("run", detector, "--source", tmp_path / "a.png", "--json", *more)
        assert outcome.status == 0, outcome.err
        counts.append(len(json.loads(outcome.out)["boxes"]))
    assert counts[1] > counts[0]
    outcome = edgecv("run", detector, "--source", tmp_path / "a.png", "--tta", "sideways")
    assert outcome.status == 2 and "sideways" in outcome.err and outcome.err.count("\n") == 1


def test_a_deadline(edgecv: Any, detector: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A deadline that nothing can keep, and a bundle to fall back on; every step is logged."""
    source, path = "test://bars?size=64x48&fps=20&frames=60", tmp_path / "out.jsonl"
    outcome = edgecv(
        "run", detector, "--source", source, "--deadline", "0.001", "--lighter", detector, "--sink", path
    )  # fmt: skip
    assert outcome.status == 0
    assert "from every frame, model 0 to 15 frames a second, model 0" in caplog.text
    assert "results later than 0 ms" in caplog.text
    for words, message in (
        (("--lighter", detector), "--lighter goes with --deadline"),
        (("--deadline", 50, "--tta", "hflip"), "--deadline is for the bundle alone"),
        (("--deadline", 0), "deadline, trouble and calm must be above 0"),
        (("--gallery", "a.db", "--embedder", "e.edgecv", "--tta", "hflip"), "choose one of --tta and --gallery"),
    ):
        outcome = edgecv("run", detector, "--source", source, *words)
        assert outcome.status == 2 and message in outcome.err and outcome.err.count("\n") == 1, outcome.err


def test_two_sources(edgecv: Any, detector: Path, tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    outcome = edgecv(
        "run", detector, "--source", f"door={BARS}", "--source", BARS, "--policy", "every", "--sink", path,
        "--max-frames", 10,
    )  # fmt: skip
    assert outcome.status == 0 and outcome.out == ""
    cameras = [json.loads(line)["camera"] for line in path.read_text().splitlines()]
    assert len(cameras) == 10 and set(cameras) == {"door", "1"}


def test_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert named_sources(["0", "front door=rtsp://u:p@h/?a=b", "rtsp://h/?a=b"]) == {
        "0": "0",
        "front door": "rtsp://u:p@h/?a=b",
        "2": "rtsp://h/?a=b",
    }
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a=b.mp4").touch()
    assert named_sources(["a=b.mp4"]) == {"0": "a=b.mp4"}
    with pytest.raises(InputError, match="there are two 'a'"):
        named_sources(["a=0", "a=1"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--sink", "out.gif"], "a sink must be a file"),
        (["--keep", "3"], "--keep goes with a folder of pictures"),
        (["--token", "0123456789abcdef"], "--token goes with --serve"),
        (["--serve", "0.0.0.0:0"], "lets others in and needs a token"),
        (["--serve", "127.0.0.1"], "HOST:PORT"),
        (["--serve", "127.0.0.1:0", "--save", "x"], "--save does not go with .* use --sink DIR/"),
        (["--serve", "127.0.0.1:0", "--top", "1"], "--top does not go with"),
        (["--policy", "oldest"], "policy must be"),
        (["--mqtt", "broker"], "a sink must be"),
        (["--source", "yard=0", "--sink", "out.mp4"], "a video holds one camera, and there are 2"),
    ],
)
def test_what_does_not_fit(edgecv: Any, detector: Path, options: list[str], message: str) -> None:
    outcome = edgecv("run", detector, "--source", BARS, *options)
    assert outcome.status == 2 and re.search(message, outcome.error)


TOKEN = "a token of many letters"


def _heeding_interrupts() -> None:
    """A shell starts background jobs with SIGINT ignored, and what they start inherits it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.fixture
def served(detector: Path, device_program: str, tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Runs the command with ``--serve`` until the test ends; gives the process and where the page is."""
    processes: list[subprocess.Popen[str]] = []

    def start(*arguments: str, **environment: str) -> tuple[subprocess.Popen[str], str]:
        command = [sys.executable, "-c", device_program, "run", str(detector), *arguments]
        process = subprocess.Popen(
            command,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **environment},
            preexec_fn=_heeding_interrupts,
        )
        processes.append(process)
        assert process.stderr is not None
        return process, process.stderr.readline().strip()

    yield start
    for process in processes:
        process.kill()
        process.wait()
        if process.stderr is not None:
            process.stderr.close()


def fetch(url: str, token: str | None = None, body: bytes | None = None) -> bytes:
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
    with urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=20) as answer:
        content: bytes = answer.read()
        return content


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_page_and_a_clean_end(served: Any, tmp_path: Path, number: signal.Signals) -> None:
    notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    notify.bind(str(tmp_path / "notify"))
    notify.settimeout(60)
    process, url = served(
        "--source", "door=test://bars?size=64x48&fps=50", "--serve", "127.0.0.1:0", "--sink", str(tmp_path / "out.avi"),
        NOTIFY_SOCKET=str(tmp_path / "notify"), WATCHDOG_USEC="400000",
    )  # fmt: skip
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/", url)
    assert notify.recv(1000) == b"READY=1\nSTATUS=running"
    while b"WATCHDOG=1" not in (said := notify.recv(1000)):
        pass
    assert said.startswith(b"STATUS=door running, ")
    state = json.loads(fetch(f"{url}state"))
    assert state["cameras"][0]["name"] == "door"
    assert [slider["name"] for slider in state["sliders"]] == ["score_threshold", "iou_threshold"]
    assert json.loads(fetch(f"{url}parameters", body=b'{"score_threshold": 0.5}'))["score_threshold"] == 0.5
    assert json.loads(fetch(f"{url}healthz"))["status"] == "ok"
    assert 'edgecv_frames_out_total{camera="door"}' in fetch(f"{url}metrics").decode()
    process.send_signal(number)
    assert process.wait(60) == 130
    capture = cv2.VideoCapture(str(tmp_path / "out.avi"))  # whole all the same
    assert capture.grab()
    capture.release()
    while b"STOPPING=1" not in notify.recv(1000):
        pass
    notify.close()


def test_a_token_for_others(served: Any) -> None:
    _, url = served("--source", "test://bars?size=64x48&fps=50", "--serve", "0.0.0.0:0", EDGECV_TOKEN=TOKEN)
    url = url.replace("0.0.0.0", "127.0.0.1")
    with pytest.raises(urllib.error.HTTPError) as caught:
        fetch(f"{url}metrics")
    with caught.value as refused:
        assert refused.code == 401
    assert b"edgecv_info" in fetch(f"{url}metrics", TOKEN)
