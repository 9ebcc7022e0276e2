"""``edgecv deploy``; what it does on a device is tested in tests/export/deploy."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgecv_export.deploy import Deployed, Host
from edgecv_runtime.errors import CheckFailedError


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the command asks for; nothing is sent."""
    found: dict[str, Any] = {}

    def stand_in(bundle: str, host: Host, *, notify: Callable[[str], None], **given: Any) -> Deployed:
        found.update(given, bundle=bundle, host=host)
        notify("connect")
        if bundle == "bad.edgecv":
            failure = CheckFailedError("verify does not pass on pi@here, which is left as it was")
            failure.report = {"verify": {"passed": False}}
            raise failure
        return Deployed(
            host.name,
            "/home/pi/edgecv/releases/2",
            "releases/1",
            "releases/2",
            {"machine": "aarch64", "system": "Linux", "python": "3.11.2"},
            "rsync",
            {"connect": 0.5},
            {"system": {"board": "Raspberry Pi 4", "cpu": "aarch64 neon"}},
            {"checks": [{"passed": True}, {"passed": True}]},
            {"latency": {"p50_ms": 24.0, "p99_ms": 26.5, "n": 50}},
        )

    monkeypatch.setattr("edgecv_export.deploy.deploy", stand_in)
    return found


def test_what_was_measured_there_comes_back(
    edgecv_command: Callable[..., Any], asked: dict[str, Any], tmp_path: Path
) -> None:
    words = ("deploy", "m.edgecv", "pi@here", "--port", "2222", "--path", "/opt/edgecv", "--extras", "litert, cv")
    ran = edgecv_command(*words, "--report", tmp_path / "r.json")
    assert ran.status == 0
    assert asked["host"] == Host("pi@here", 2222)
    assert asked["path"] == "/opt/edgecv"
    assert asked["extras"] == ("litert", "cv")
    assert asked["wheels"] is None and asked["on"] == []
    assert ran.err == "connect …\n"
    assert ran.out.splitlines() == [
        "device    Raspberry Pi 4: aarch64 neon, Python 3.11.2",
        "verify    2 of 2 checks passed",
        "latency   p50 24.00 ms, p99 26.50 ms (50 calls)",
        "current   releases/1 → releases/2",
        "run       /opt/edgecv/current/env/bin/edgecv run /opt/edgecv/current/model.edgecv",
    ]
    assert json.loads((tmp_path / "r.json").read_text())["bench"]["latency"]["p50_ms"] == 24.0


def test_the_device_s_accelerator_is_asked_for_there(edgecv_command: Callable[..., Any], asked: dict[str, Any]) -> None:
    words = ("--device", "NPU", "--delegate", "libedgetpu.so.1", "--device-option", "device=usb", "--fallback", "cpu")
    ran = edgecv_command("deploy", "m.edgecv", "pi@here", *words)
    assert ran.status == 0
    assert sorted(asked["on"]) == sorted(words)
    assert ran.out.splitlines()[-1].endswith(f"model.edgecv {' '.join(asked['on'])}")


def test_a_check_that_fails_is_status_1_and_its_report_is_kept(
    edgecv_command: Callable[..., Any], asked: dict[str, Any], tmp_path: Path
) -> None:
    ran = edgecv_command("deploy", "bad.edgecv", "pi@here", "--report", tmp_path / "r.json")
    assert ran.status == 1
    assert ran.err.splitlines()[-1].startswith("edgecv deploy: verify does not pass on pi@here")
    assert json.loads((tmp_path / "r.json").read_text()) == {"verify": {"passed": False}}


def test_a_name_that_is_an_option_is_refused(edgecv_command: Callable[..., Any]) -> None:
    ran = edgecv_command("deploy", "m.edgecv", "x;reboot")
    assert ran.status == 2
    assert "user@host" in ran.err
