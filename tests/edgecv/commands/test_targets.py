"""``edgecv targets``."""

from __future__ import annotations

import argparse
import json
from typing import Any

import pytest

from edgecv.commands.targets import TARGETS
from edgecv_runtime.errors import InputError
from edgecv_targets import list_targets


def run(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    parser = argparse.ArgumentParser()
    TARGETS.configure(parser)
    assert TARGETS.run(parser.parse_args(list(words))) == 0
    return capsys.readouterr().out


def test_list(capsys: pytest.CaptureFixture[str]) -> None:
    lines = run(capsys).splitlines()
    assert lines[0].split() == ["target", "device", "export", "as", "accelerator", "compiler"]
    assert [line.split()[0] for line in lines[2:]] == list(list_targets())
    assert any("Coral USB" in line and "edgetpu_compiler (not public)" in line for line in lines)


def test_one(capsys: pytest.CaptureFixture[str]) -> None:
    out = run(capsys, "pi-4")
    assert out.startswith("pi-4: Raspberry Pi 4 Model B\n")
    assert "1.5 GHz [pi]" in out
    assert "46 ms, mobilenet_v2 fp32 on the cpu, 4 threads [xnnpack]" in out
    assert "[xnnpack]    XNNPACK, README" in out
    assert "no figure    memory_bytes, memory_bandwidth" in out


def test_json(capsys: pytest.CaptureFixture[str]) -> None:
    found: list[dict[str, Any]] = json.loads(run(capsys, "--json"))
    assert [target["id"] for target in found] == list(list_targets())
    one = json.loads(run(capsys, "stm32h7", "--json"))
    assert one["sram_bytes"] == {"value": 524_288, "source": "manual"}


def test_unknown(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(InputError, match="target must be one of .*; received 'pi-9'"):
        run(capsys, "pi-9")
