"""The server as a client sees it: pages, streams, sliders, and what an attacker would try."""

from __future__ import annotations

import json
import re
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edgecv_runtime.errors import InputError
from edgecv_runtime.serve import Limits, Preview

TOKEN = "0123456789abcdef"


def until(condition: Callable[[], Any], seconds: float = 20) -> None:
    """Wait for something that must come; the limit is only for one that never does."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.01)


def test_the_page_is_whole_and_asks_nobody_else(serving: Any, ask: Any) -> None:
    preview = serving()
    page = ask(preview, "/")
    assert page.status == 200 and page.headers["Content-Type"] == "text/html; charset=utf-8"
    linked = re.findall(r'(?:src|href)="([^"]+)"', page.body.decode())
    assert set(linked) == {"data:,", "/live.css", "/charts.js", "/live.js"}
    for path in ("/live.css", "/charts.js", "/live.js"):
        answer = ask(preview, path)
        assert answer.status == 200 and int(answer.headers["Content-Length"]) == len(answer.body) > 500
        assert not re.search(rb"https?://", answer.body)
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    assert page.headers["Cross-Origin-Resource-Policy"] == "same-origin"
    head = ask(preview, "/", method="HEAD")
    assert (head.status, head.body, head.headers["Content-Length"]) == (200, b"", str(len(page.body)))


@pytest.mark.parametrize(
    "target",
    [
        "/../../etc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/page/../../__init__.py",
        "/live.js/../../preview.py",
        "//etc/passwd",
        "/live.js%00.html",
        "/.git/config",
        "/..%5c..%5cwindows",
        "/index.html",
    ],
)
def test_there_is_no_path_to_anything_else(serving: Any, ask: Any, target: str) -> None:
    answer = ask(serving(), target)
    assert answer.status == 404 and answer.body == b"there is nothing at this address\n"


def test_methods(serving: Any, ask: Any) -> None:
    preview = serving()
    assert ask(preview, "/metrics", method="DELETE").status == 405
    assert ask(preview, "/parameters").headers["Allow"] == "POST"
    assert ask(preview, "/events", method="POST", body=b"{}").status == 405


def test_metrics_health_and_state(serving: Any, ask: Any, scene: Any) -> None:
    preview = serving()
    for _ in range(3):
        preview.write(scene.outcome())
    metrics = ask(preview, "/metrics")
    assert metrics.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    assert 'edgecv_frames_out_total{camera="door"} 3\n' in metrics.body.decode()
    health = ask(preview, "/healthz")
    assert (health.status, health.json()) == (200, {"status": "ok", "cameras": {"door": "running"}})
    scene.camera_reports[0].state = "reconnecting"
    health = ask(preview, "/healthz")
    assert (health.status, health.json()["status"]) == (503, "failing")
    state = ask(preview, "/state").json()
    assert state["cameras"][0]["source"] == "rtsp://***@camera" and state["cameras"][0]["frames_out"] == 3
    assert state["sliders"] == [
        {"name": "score_threshold", "value": 0.3, "low": 0.0, "high": 1.0,
         "help": "detections that score lower are left out"}
    ]  # fmt: skip


def test_two_cameras_of_which_one_is_gone(serving: Any, ask: Any, scene: Any) -> None:
    preview = serving()
    scene.camera_reports += type(scene)(names=("yard",)).camera_reports
    scene.camera_reports[1].state = "reconnecting"
    health = ask(preview, "/healthz")
    assert (health.status, health.json()["status"]) == (200, "degraded")


def parts(connection: socket.socket, count: int) -> list[bytes]:
    """The first JPEGs of an MJPEG stream."""
    file = connection.makefile("rb")
    head = b"".join(iter(file.readline, b"\r\n")).decode()
    boundary = re.search(r"multipart/x-mixed-replace; boundary=(\w+)", head)
    assert head.startswith("HTTP/1.1 200 ") and boundary
    pictures = []
    assert (file.readline(), file.readline()) == (b"\r\n", b"--" + boundary[1].encode() + b"\r\n")
    for _ in range(count):
        assert file.readline() == b"Content-Type: image/jpeg\r\n"
        length = int(file.readline().removeprefix(b"Content-Length: "))
        assert file.readline() == b"\r\n"
        pictures.append(file.read(length))
        assert file.read(2 + 4 + len(boundary[1])) == b"\r\n--" + boundary[1].encode() + b"\r\n"
    return pictures


def get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()


def test_the_picture_moves(serving: Any, running: Any, connect: Any) -> None:
    preview = serving()
    running(preview)
    connection = connect(preview)
    connection.sendall(get("/stream.mjpg"))
    first, second, third = (
        cv2.imdecode(np.frombuffer(one, np.uint8), cv2.IMREAD_COLOR) for one in parts(connection, 3)
    )
    assert first.shape == (96, 160, 3)
    # The yellow square of 20×20 stands further right each time: columns of its colour, BGR (40, 200, 250).
    places = [np.abs(one[11, :].astype(int) - (40, 200, 250)).sum(axis=1).argmin() for one in (first, second, third)]
    assert len({*places}) == 3


def events(connection: socket.socket) -> Any:
    file = connection.makefile("r", encoding="utf-8")
    while file.readline() != "\n":
        pass
    kind = ""
    while line := file.readline():
        if line.startswith("event: "):
            kind = line[7:-1]
        elif line.startswith("data: "):
            yield kind, json.loads(line[6:])


def test_results_come_as_events_and_a_slider_acts_at_once(serving: Any, running: Any, connect: Any, ask: Any) -> None:
    preview = serving()
    running(preview)
    connection = connect(preview)
    connection.sendall(get("/events"))
    stream = events(connection)
    kind, state = next(stream)
    assert kind == "state" and state["cameras"][0]["name"] == "door" and state["sliders"][0]["value"] == 0.3
    outcomes = (value for kind, value in stream if kind == "outcome")
    first = next(outcomes)
    assert first["camera"] == "door" and set(first["ms"]) == {"wait", "preprocess", "infer", "decode"}
    assert len(first["result"]["scores"]) == 7  # 0.95 … 0.35 are at least 0.3
    answer = ask(preview, "/parameters", body=b'{"score_threshold": 0.6}', method="POST")
    assert (answer.status, answer.json()) == (200, {"score_threshold": 0.6})
    until(lambda: len(next(outcomes)["result"]["scores"]) == 4)  # 0.95, 0.85, 0.75, 0.65
    assert ask(preview, "/state").json()["sliders"][0]["value"] == 0.6


@pytest.mark.parametrize(
    ("body", "status", "text"),
    [
        (b"", 400, "not JSON"),
        (b"[1]", 400, "not a JSON object"),
        (b"[" * 4000, 400, "not JSON"),
        (b'{"score_threshold": "0.5"}', 400, "must be a number from 0 to 1"),
        (b'{"score_threshold": true}', 400, "must be a number"),
        (b'{"score_threshold": 1.01}', 400, "must be a number from 0 to 1"),
        (b'{"score_threshold": NaN}', 400, "must be a number"),
        (b'{"score_threshold": 1' + b"0" * 400 + b"}", 400, "must be a number"),
        (b'{"max_detections": 1}', 400, "no slider of that name; there are score_threshold"),
        (b'{"score_threshold": 1.0}', 400, "must be below 1 here"),  # the pipeline's own refusal
        (b" " * 4097, 413, "4096 bytes"),
    ],
)
def test_what_sliders_refuse(serving: Any, ask: Any, scene: Any, body: bytes, status: int, text: str) -> None:
    preview = serving()
    answer = ask(preview, "/parameters", method="POST", body=body)
    assert answer.status == status and text in answer.body.decode()
    assert scene.threshold == 0.3 and ask(preview, "/state").json()["sliders"][0]["value"] == 0.3


def test_without_the_token_nothing(serving: Any, ask: Any, scene: Any) -> None:
    with pytest.raises(InputError, match="needs a token"):
        Preview("0.0.0.0:0")
    preview = serving("0.0.0.0:0", token=TOKEN)
    preview.write(scene.outcome())
    for path in ("/", "/stream.mjpg", "/events", "/state", "/metrics", "/healthz", "/live.js", "/nothing"):
        answer = ask(preview, path)
        assert answer.status == 401 and answer.headers["WWW-Authenticate"] == 'Bearer realm="edgecv"'
    assert ask(preview, "/parameters", method="POST", body=b"{}").status == 401
    assert ask(preview, "/healthz", headers={"Authorization": f"Bearer {TOKEN}"}).status == 200
    assert ask(preview, f"/metrics?token={TOKEN}").status == 200
    entered = ask(preview, f"/?token={TOKEN}")
    assert (entered.status, entered.headers["Location"]) == (303, "/")
    cookie = entered.headers["Set-Cookie"].partition(";")[0]
    assert TOKEN not in cookie and ask(preview, "/", headers={"Cookie": cookie}).status == 200
    assert TOKEN not in repr(preview) + preview.url


def test_the_token_from_the_environment(serving: Any, ask: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGECV_TOKEN", TOKEN)
    preview = serving()
    assert ask(preview, "/").status == 401
    assert ask(preview, "/", headers={"Authorization": f"Bearer {TOKEN}"}).status == 200


def test_requests_that_are_too_large(serving: Any, raw: Any, ask: Any) -> None:
    preview = serving()
    assert raw(preview, b"GET / HTTP/1.1\r\nA: " + b"b" * 9000).status == 431
    assert raw(preview, b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 100 + b"\r\n").status == 431
    assert raw(preview, b"POST /parameters HTTP/1.1\r\nContent-Length: 999999999\r\n\r\n").status == 413
    assert raw(preview, b"POST /parameters HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n").status == 501
    assert raw(preview, b"POST /parameters HTTP/1.1\r\n\r\n").status == 411
    assert raw(preview, b"\x16\x03\x01\x02\x00\x01" + b"\r\n\r\n").status == 400  # TLS
    assert ask(preview, "/healthz").status == 200


def test_a_client_that_never_finishes_its_request(serving: Any, quick_limits: Limits, raw: Any, ask: Any) -> None:
    preview = serving(limits=quick_limits)
    assert raw(preview, b"GET / HTTP/1.1\r\nHost: localhost\r\n").status == 408
    body = (
        b"POST /parameters HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{"
    )
    assert raw(preview, body).status == 408
    assert ask(preview, "/healthz").status == 200


def test_idle_connections_make_room_for_one_that_asks(serving: Any, connect: Any, ask: Any) -> None:
    """More than may be open at a time, none of which says a word."""
    preview = serving(limits=Limits(connections=8, streams=4, request_seconds=600))
    idle = [connect(preview) for _ in range(20)]
    assert ask(preview, "/healthz").status == 200
    assert sum(one.recv(1) == b"" for one in idle[:12]) == 12  # the longest idle were closed


def test_streams_leave_room_for_short_requests(serving: Any, connect: Any, ask: Any, scene: Any) -> None:
    preview = serving(limits=Limits(connections=8, streams=4))
    for _ in range(4):
        connect(preview).sendall(get("/events"))
    until(lambda: preview.viewers == 4)
    refused = ask(preview, "/stream.mjpg")
    assert (refused.status, refused.headers["Retry-After"]) == (503, "10")
    assert ask(preview, "/healthz").status == 200


def test_a_viewer_that_leaves_is_forgotten(serving: Any, connect: Any, ask: Any) -> None:
    preview = serving()  # no picture comes at all
    connection = connect(preview)
    connection.sendall(get("/stream.mjpg"))
    until(lambda: preview.viewers == 1)
    connection.close()
    until(lambda: preview.viewers == 0)
    assert ask(preview, "/stream.mjpg?camera=nobody").status == 404


def test_a_viewer_that_takes_nothing_is_dropped(
    serving: Any, running: Any, connect: Any, quick_limits: Limits, scene: Any
) -> None:
    scene.size = (720, 1280)  # pictures that fill the system's buffers
    preview = serving(limits=quick_limits)
    running(preview)
    connection = connect(preview)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.sendall(get("/stream.mjpg"))
    until(lambda: preview.viewers == 1)
    until(lambda: preview.viewers == 0)


def test_nothing_is_encoded_while_nobody_watches(serving: Any, scene: Any, connect: Any) -> None:
    preview = serving()
    for _ in range(50):
        preview.write(scene.outcome())
    assert preview._server.board.newest("door") == (0, b"", b"")
    connection = connect(preview)
    connection.sendall(get("/stream.mjpg"))
    assert len(parts(connection, 1)) == 1
    assert preview._server.board.newest("door")[0] == 50  # the newest of them, and only that


def test_fifty_viewers_are_shown_the_same_bytes(serving: Any, running: Any, connect: Any, scene: Any) -> None:
    preview = serving()
    connections = [connect(preview) for _ in range(50)]
    preview.write(scene.outcome())
    for connection in connections:
        connection.sendall(get("/stream.mjpg"))
    pictures = {parts(connection, 1)[0] for connection in connections}
    assert len(pictures) == 1 and preview.viewers == 50


def test_closing_lets_everybody_go(serving: Any, running: Any, connect: Any) -> None:
    preview = serving()
    running(preview)
    connection = connect(preview)
    connection.sendall(get("/events"))
    until(lambda: preview.viewers == 1)
    port = int(preview.url.rstrip("/").rpartition(":")[2])
    preview.close()
    preview.close()
    while connection.recv(65536):
        pass
    assert not any(thread.name in ("edgecv server", "edgecv preview") for thread in threading.enumerate())
    with socket.socket() as free:
        free.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        free.bind(("127.0.0.1", port))


def test_before_there_is_a_pipeline(ask: Any) -> None:
    preview = Preview("127.0.0.1:0")
    try:
        assert ask(preview, "/stream.mjpg").status == ask(preview, "/events").status == 503
        health = ask(preview, "/healthz")
        assert (health.status, health.json()) == (503, {"status": "starting", "cameras": {}})
        assert ask(preview, "/metrics").status == ask(preview, "/").status == 200
    finally:
        preview.close()


def test_a_port_that_is_taken(serving: Any) -> None:
    preview = serving()
    address = preview.url.removeprefix("http://").rstrip("/")
    with pytest.raises(InputError, match=f"cannot serve at {address}: .*; choose another port"):
        Preview(address)


def test_a_result_that_cannot_be_shown_does_not_end_the_preview(
    serving: Any, scene: Any, connect: Any, caplog: pytest.LogCaptureFixture
) -> None:
    preview = serving()
    connection = connect(preview)
    connection.sendall(get("/stream.mjpg"))
    until(lambda: preview.viewers == 1)
    broken = scene.outcome()
    object.__setattr__(broken, "result", object())
    preview.write(broken)
    until(lambda: "cannot be shown" in caplog.text)
    preview.write(scene.outcome())
    assert len(parts(connection, 1)) == 1


def test_the_page_is_in_the_package() -> None:
    import edgecv_runtime.serve as package

    assert sorted(path.name for path in (Path(package.__file__).parent / "page").iterdir()) == [
        "charts.js",
        "index.html",
        "live.css",
        "live.js",
    ]
