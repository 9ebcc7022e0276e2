"""Callbacks, windows, and sinks by name."""

from __future__ import annotations

import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from edgecv_runtime.errors import EdgecvError, InputError, MissingPackageError, UnsupportedError
from edgecv_runtime.sinks import CallbackSink, JsonLinesSink, PictureSink, VideoSink, WindowSink, open_sink
from edgecv_runtime.sinks.common import safe_name


def test_a_callback_gets_everything_in_order(make_outcome: Any) -> None:
    got: list[int] = []
    sink = CallbackSink(lambda outcome: got.append(outcome.frame.index), queue=100, patience=20)
    for index in range(50):
        sink.write(make_outcome(index))
    sink.close()
    sink.close()
    sink.write(make_outcome(50))
    assert got == list(range(50)) and sink.dropped == 0


def test_a_callback_that_hangs_keeps_nobody(make_outcome: Any) -> None:
    taken, go_on = threading.Event(), threading.Event()
    got: list[int] = []

    def slow(outcome: Any) -> None:
        got.append(outcome.frame.index)
        taken.set()
        go_on.wait()

    sink = CallbackSink(slow, queue=3, patience=0.01)
    sink.write(make_outcome(0))
    taken.wait()
    for index in range(1, 11):
        sink.write(make_outcome(index))
    assert sink.dropped == 7  # of ten that came meanwhile the last three wait
    sink.close()
    assert sink.dropped == 10 and got == [0]
    go_on.set()


def test_a_callback_that_fails_is_called_again(make_outcome: Any, caplog: pytest.LogCaptureFixture) -> None:
    def fail(outcome: Any) -> None:
        raise RuntimeError("a mistake of the caller's")

    sink = CallbackSink(fail, patience=20)
    sink.write(make_outcome(0))
    sink.write(make_outcome(1))
    sink.close()
    assert sink.failed == 2 and "a mistake of the caller's" in caplog.text
    with pytest.raises(InputError, match="queue must be at least 1"):
        CallbackSink(fail, queue=0)


class Screen:
    """OpenCV with windows, as far as they are used."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, gui: str) -> None:
        import cv2

        self.shown: list[tuple[str, Any]] = []
        self.key, self.gone = -1, []
        fake = SimpleNamespace(
            **{name: getattr(cv2, name) for name in ("cvtColor", "COLOR_RGB2BGR", "WINDOW_NORMAL", "WINDOW_KEEPRATIO")},
            __version__="4.0",
            getBuildInformation=lambda: f"  Video I/O: yes\n\n  GUI:      {gui}\n\n  Media I/O: yes",
            namedWindow=lambda title, flags: None,
            imshow=lambda title, picture: self.shown.append((title, picture)),
            waitKey=lambda delay: self.key,
            destroyWindow=self.gone.append,
        )
        monkeypatch.setattr("edgecv_runtime.sinks.window.cv2", lambda purpose: fake)


def test_a_window(make_outcome: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Screen(monkeypatch, "GTK3")
    monkeypatch.setenv("DISPLAY", ":0")
    sink = WindowSink()
    sink.write(make_outcome(3))
    title, picture = screen.shown[0]
    assert title == "edgecv: door" and picture[20, 20].tolist() == [60, 60, 60] and not sink.quit
    screen.key = ord("q")
    sink.write(make_outcome(4))
    screen.key = -1
    sink.write(make_outcome(5))
    assert sink.quit
    sink.close()
    sink.close()
    assert screen.gone == ["edgecv: door"]


def test_where_there_is_no_window(monkeypatch: pytest.MonkeyPatch, one_line: Any) -> None:
    Screen(monkeypatch, "NONE")
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    with pytest.raises(UnsupportedError) as caught:
        WindowSink()
    assert one_line(caught).startswith("a window needs a display") and "--serve" in str(caught.value)
    monkeypatch.setenv("WAYLAND_DISPLAY", "wayland-0")
    with pytest.raises(UnsupportedError) as caught:
        WindowSink()
    assert "headless build" in one_line(caught)


def test_sinks_by_name(tmp_path: Path) -> None:
    for name, kind in (
        ("a.jsonl", JsonLinesSink), ("a.NDJSON", JsonLinesSink), ("a.mp4", VideoSink), ("b.avi", VideoSink),
        ("pictures/", PictureSink),
    ):  # fmt: skip
        sink = open_sink(f"{tmp_path}/{name}")
        assert isinstance(sink, kind)
        sink.close()
    assert isinstance(open_sink("-"), JsonLinesSink)
    assert open_sink(str(tmp_path), keep=7).keep == 7  # a folder that is there
    assert isinstance(open_sink(f"{tmp_path}/{{camera}}.mp4", cameras=2), VideoSink)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("a.gif", {}, "a sink must be a file .* received a.gif"),
        ("a.mp4", {"cameras": 2}, "a video holds one camera, and there are 2"),
        ("a.mp4", {"keep": 5}, "--keep is for a folder"),
        ("mqtt://", {}, "a broker's address is mqtt://HOST/TOPIC"),
        ("amqp://user:secret@host", {}, r"received amqp://\*\*\*@host"),
    ],
)
def test_what_is_no_sink(name: str, options: dict[str, Any], message: str, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(EdgecvError, match=message) as caught:
        open_sink(name, **options)
    assert "secret" not in str(caught.value)


def test_mqtt_without_its_package(block_import: Any) -> None:
    block_import("paho")
    with pytest.raises(MissingPackageError, match=r"pip install 'edgecv-runtime\[mqtt\]'"):
        open_sink("mqtt://localhost/a")


def test_names_in_paths() -> None:
    assert safe_name("front door/1") == "front_door_1" and safe_name("../../x") == "_x" and safe_name("ö") == "_"
    assert safe_name("a-B_3") == "a-B_3" and len(safe_name("x" * 200)) == 64
