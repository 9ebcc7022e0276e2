"""Signs of life on a socket of our own."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgecv_runtime.pipeline.outcome import CameraReport
from edgecv_runtime.systemd import Notifier, Watchdog


class Manager:
    """Listens as systemd does."""

    def __init__(self, address: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(address)
        self.socket.settimeout(20)

    def heard(self) -> dict[str, str]:
        return dict(line.split("=", 1) for line in self.socket.recv(4096).decode().split("\n"))


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    one = Manager(str(tmp_path / "notify"))
    yield one
    one.socket.close()


def test_without_a_manager_nothing_is_said() -> None:
    notifier = Notifier({})
    assert not notifier.there and not notifier.say(READY="1") and notifier.watchdog_seconds is None
    with Watchdog(list, notifier) as watchdog:
        assert watchdog._thread is None


def test_messages(manager: Manager, tmp_path: Path) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "30000000"})
    assert notifier.there and notifier.watchdog_seconds == 30
    assert notifier.say(READY="1", STATUS="two\nlines")
    assert manager.heard() == {"READY": "1", "STATUS": "two lines"}


@pytest.mark.skipif(not Path("/proc/net/unix").exists(), reason="needs Linux's abstract namespace")
def test_an_abstract_address() -> None:
    name = f"edgecv-test-{os.getpid()}"
    manager = Manager(f"\0{name}")
    assert Notifier({"NOTIFY_SOCKET": f"@{name}"}).say(READY="1") and manager.heard() == {"READY": "1"}
    manager.socket.close()


def test_the_watchdog_of_another_process_and_nonsense(tmp_path: Path) -> None:
    there = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "1000000"}
    assert Notifier(there | {"WATCHDOG_PID": "1"}).watchdog_seconds is None
    assert Notifier(there | {"WATCHDOG_PID": str(os.getpid())}).watchdog_seconds == 1
    assert Notifier(there | {"WATCHDOG_USEC": "x"}).watchdog_seconds is None


def test_a_manager_that_went_away(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert not Notifier({"NOTIFY_SOCKET": str(tmp_path / "none")}).say(READY="1")
    assert "systemd cannot be told READY" in caplog.text


def test_life_is_results_while_a_camera_runs(manager: Manager, tmp_path: Path) -> None:
    now = [0.0]
    report = CameraReport("door", "0", "connecting")
    notifier = Notifier({"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "20000000"})
    watchdog = Watchdog(lambda: [report], notifier, clock=lambda: now[0])

    def looks(seconds: float) -> bool:
        now[0] = seconds
        alive = watchdog.look()
        heard = manager.heard()
        assert ("WATCHDOG" in heard) == alive and heard["STATUS"].startswith(f"door {report.state}")
        return alive

    assert looks(1) and looks(100)  # it connects, however long that takes
    report.state, report.frames_out = "running", 1
    assert looks(105)
    assert looks(115)  # 10 s without a result are half of the 20
    assert not looks(116)
    report.frames_out = 2
    assert looks(117)
    report.state = "reconnecting"
    assert looks(200)
    report.state = "running"  # and hangs from its first frame on
    assert looks(205) and not looks(211)
    still = Watchdog(lambda: [report], notifier, gated=True, clock=lambda: now[0])
    now[0] = 1000
    assert still.look()  # nothing moves before the camera


def test_ready_alive_and_stopping(manager: Manager, tmp_path: Path) -> None:
    report = CameraReport("door", "0", "running", frames_out=5)
    notifier = Notifier({"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "40000"})
    with Watchdog(lambda: [report], notifier) as watchdog:
        assert manager.heard() == {"READY": "1", "STATUS": "running"}
        assert manager.heard() == {"STATUS": "door running, 5 results", "WATCHDOG": "1"}
    watchdog.close()
    heard = manager.heard()
    while "STOPPING" not in heard:
        heard = manager.heard()
    assert heard["STOPPING"] == "1"
