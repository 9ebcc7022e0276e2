"""What runs on the device, without a network between: its text is sent, its answers are read."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

SOURCE = files("edgecv_export.deploy").joinpath("agent.py").read_text()


class Device:
    """An agent at work."""

    def __init__(self, source: str = SOURCE) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-I", "-c", source], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def ask(self, do: str, **values: Any) -> dict[str, Any]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps({"do": do, **values}) + "\n")
        self.process.stdin.flush()
        answer: dict[str, Any] = json.loads(self.process.stdout.readline())
        return answer

    def hang_up(self) -> int:
        """End its stdin, as a lost connection does, and wait for it to end."""
        self.process.communicate(timeout=20)
        return self.process.returncode


@pytest.fixture
def device() -> Iterator[Device]:
    found = Device()
    yield found
    if found.process.poll() is None:
        found.hang_up()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_without_the_order_to_switch_nothing_stays(device: Device, tmp_path: Path) -> None:
    told = device.ask("begin", path=str(tmp_path / "base"), name="one", need=0)
    assert told["release"] == str(tmp_path / "base" / "releases" / "one")
    assert told["python"] == ".".join(str(part) for part in sys.version_info[:3])
    assert told["machine"] == os.uname().machine
    assert told["before"] is None
    done = device.ask("run", words=["{python}", "-c", "import os; os.mkdir('made'); print('out')"])
    assert (done["status"], done["out"], done["err"]) == (0, "out\n", "")
    assert names(Path(told["release"])) == ["made"]
    assert device.hang_up() == 0
    assert names(tmp_path / "base") == ["releases"]
    assert names(tmp_path / "base" / "releases") == []


def test_a_program_at_work_is_stopped_with_its_children(device: Device, tmp_path: Path) -> None:
    device.ask("begin", path=str(tmp_path), name="one", need=0)
    assert device.process.stdin is not None
    mark = tmp_path / "alive"
    program = f"sh -c 'while true; do touch {mark}; sleep 0.05; done' & wait"
    device.process.stdin.write(json.dumps({"do": "run", "words": ["sh", "-c", program]}) + "\n")
    device.process.stdin.flush()
    for _ in range(400):
        if mark.exists():
            break
        time.sleep(0.02)
    assert mark.exists()
    device.hang_up()
    mark.unlink()
    time.sleep(0.3)
    assert not mark.exists()
    assert names(tmp_path / "releases") == []


def test_current_is_switched_in_one_step_and_three_releases_are_kept(tmp_path: Path) -> None:
    for number in range(5):
        device = Device()
        told = device.ask("begin", path=str(tmp_path), name=f"r{number}", need=0)
        assert told["before"] == (f"releases/r{number - 1}" if number else None)
        switched = device.ask("switch")
        assert switched["current"] == str((tmp_path / "current").readlink()) == f"releases/r{number}"
        assert switched["removed"] == ([f"r{number - 3}"] if number >= 3 else [])
        assert "error" in device.ask("switch")  # there is nothing at work any more
        assert device.hang_up() == 0
    assert names(tmp_path / "releases") == ["r2", "r3", "r4"]
    assert names(tmp_path) == ["current", "releases"]


def test_leftovers_of_a_power_cut_go_after_a_day_and_no_sooner(device: Device, tmp_path: Path) -> None:
    for name, hours in (("old", 25), ("young", 23), ("whole", 25)):
        (tmp_path / "releases" / name).mkdir(parents=True)
        if name == "whole":
            (tmp_path / "releases" / name / "complete").touch()
        then = time.time() - 3600 * hours
        os.utime(tmp_path / "releases" / name, (then, then))
    device.ask("begin", path=str(tmp_path), name="new", need=0)
    assert names(tmp_path / "releases") == ["new", "whole", "young"]


def test_silence_is_taken_for_a_pulled_cable(tmp_path: Path) -> None:
    device = Device(SOURCE.replace("SILENCE = 60.0", "SILENCE = 0.6"))
    assert device.process.stdin is not None
    device.ask("begin", path=str(tmp_path), name="one", need=0)
    for _ in range(10):  # signs of life keep it up
        time.sleep(0.1)
        device.process.stdin.write("\n")
        device.process.stdin.flush()
    assert names(tmp_path / "releases") == ["one"]
    assert device.process.wait(timeout=20) == 0  # and stdin is open all the while
    assert names(tmp_path / "releases") == []
    device.process.stdin.close()
    assert device.process.stdout is not None
    device.process.stdout.close()


def test_what_cannot_be_done_is_an_answer(device: Device, tmp_path: Path) -> None:
    (tmp_path / "releases" / "one").mkdir(parents=True)
    assert "File exists" in device.ask("begin", path=str(tmp_path), name="one", need=0)["error"]
    assert names(tmp_path / "releases") == ["one"]  # somebody else's stays
    assert "are needed on the device" in device.ask("begin", path=str(tmp_path), name="two", need=10**18)["error"]
    assert "no release at work" in device.ask("run", words=["true"])["error"]
    assert "No such file" in device.ask("begin", path="/proc/nowhere", name="x", need=0)["error"]
