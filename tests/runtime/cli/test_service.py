"""``edgecv service``: on a machine whose systemd is a recorder of what it is told."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from edgecv_runtime.cli import service as command
from edgecv_runtime.systemd.unit import Service


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A root folder of its own, and what systemctl was asked for."""
    root = tmp_path / "root"
    (root / "etc/systemd/system").mkdir(parents=True)
    asked: list[str] = []
    answers = {
        "show": "ActiveState=active\nSubState=running\nNRestarts=2\nMemoryCurrent=104857600\nStatusText=door ok\n"
    }

    def run(words: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
        asked.append(" ".join(words))
        failed = words[1] in state.failing
        return subprocess.CompletedProcess(words, int(failed), answers.get(words[1], ""), "no\nway" if failed else "")

    state = SimpleNamespace(root=root, asked=asked, failing=set(), answers=answers)
    monkeypatch.setattr(Service, "unit_path", property(lambda one: f"{root}/etc/systemd/system/{one.name}.service"))
    monkeypatch.setattr(Service, "environment_path", property(lambda one: f"{root}/etc/edgecv/{one.name}.env"))
    monkeypatch.setattr(command, "_BOOTED", str(root))
    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(command, "_must_be_visible", lambda bundle: None)  # tests live in /tmp
    for name in ("EDGECV_TOKEN", "EDGECV_MQTT_PASSWORD", "EDGECV_GALLERY_KEY"):
        monkeypatch.delenv(name, raising=False)
    return state


def test_dry_run_prints_and_changes_nothing(edgecv: Any, machine: Any, bundle: Path) -> None:
    outcome = edgecv("service", "install", "--dry-run", "--", bundle, "--source", "rtsp://me:secret@cam/1")
    assert outcome.status == 0 and "secret" not in outcome.out + outcome.err
    assert f" run {bundle} --source ${{EDGECV_ARGUMENT_2}}\n" in outcome.out
    assert outcome.out.endswith("(readable by root alone)\nEDGECV_ARGUMENT_2=***\n")
    assert machine.asked == [] and list(machine.root.rglob("*.service")) == []


def test_install(edgecv: Any, machine: Any, bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(bundle.parent)
    monkeypatch.setenv("EDGECV_MQTT_PASSWORD", "hush")
    outcome = edgecv("service", "install", "--name", "door", "--", "run", bundle.name, "--source", "0")
    assert outcome.status == 0 and outcome.out == ""
    unit = machine.root / "etc/systemd/system/door.service"
    assert f" run {bundle} --source 0\n" in unit.read_text()  # the whole path, of what was named from here
    environment = machine.root / "etc/edgecv/door.env"
    assert environment.read_text() == 'EDGECV_MQTT_PASSWORD="hush"\n' and environment.stat().st_mode & 0o777 == 0o600
    assert unit.stat().st_mode & 0o777 == 0o644
    commands = [line for line in machine.asked if line.startswith("systemctl")]
    assert commands == ["systemctl daemon-reload", "systemctl enable door.service",
                        "systemctl restart --no-block door.service"]  # fmt: skip


def test_a_unit_that_systemd_does_not_take_leaves_nothing(
    edgecv: Any, machine: Any, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "verify", lambda unit: "door.service:3: what is this?")
    outcome = edgecv("service", "install", "--", bundle, "--source", "rtsp://me:secret@cam/1")
    assert outcome.status == 2 and "does not take the unit: door.service:3: what is this?" in outcome.error
    assert [path for path in machine.root.rglob("*") if path.is_file()] == [] and machine.asked == []


def test_status(edgecv: Any, machine: Any) -> None:
    outcome = edgecv("service", "status", "--name", "door")
    assert (outcome.status, outcome.out) == (0, "door: active (running), started anew 2 times, 100 MiB\ndoor ok\n")
    machine.answers["show"] = "ActiveState=failed\nSubState=failed\nMemoryCurrent=[not set]\n"
    outcome = edgecv("service", "status", "--json")
    values = json.loads(outcome.out)
    assert outcome.status == 1 and (values["name"], values["ActiveState"]) == ("edgecv", "failed")


def test_remove(edgecv: Any, machine: Any, bundle: Path) -> None:
    edgecv("service", "install", "--", bundle, "--source", "rtsp://me:secret@cam/1")
    machine.asked.clear()
    outcome = edgecv("service", "remove")
    assert outcome.status == 0 and "/var/lib/edgecv" in outcome.err
    assert machine.asked == ["systemctl disable --now edgecv.service", "systemctl daemon-reload"]
    assert [path for path in machine.root.rglob("*") if path.is_file()] == []
    assert "there is no service edgecv" in edgecv("service", "remove").error


def test_refusals(edgecv: Any, machine: Any, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run: Callable[..., Any] = lambda *words: edgecv("service", "install", *words)  # noqa: E731
    assert "required: --source" in run("--", bundle).error
    assert "unrecognized arguments: --sourc3" in run("--", bundle, "--source", "0", "--sourc3", "1").error
    assert "--memory must be" in run("--memory", "x", "--", bundle, "--source", "0").error
    machine.failing = {"enable"}
    assert "systemctl enable edgecv.service failed: no way" in run("--", bundle, "--source", "0").error
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert "this needs root: sudo " in run("--", bundle, "--source", "0").error
    monkeypatch.setattr(command, "_BOOTED", str(tmp_path / "none"))
    for words in (("install", "--", bundle, "--source", "0"), ("status",), ("remove",)):
        assert "a service needs systemd, which does not run here" in edgecv("service", *words).error


def test_a_bundle_in_tmp_is_not_seen(edgecv: Any, tmp_path: Path) -> None:
    outcome = edgecv("service", "install", "--dry-run", "--", tmp_path / "none.edgecv", "--source", "0")
    assert outcome.error == f"edgecv service: no bundle at {tmp_path / 'none.edgecv'}"
    there = Path("/tmp") / f"edgecv-test-{os.getpid()}.edgecv"
    there.touch()
    try:
        outcome = edgecv("service", "install", "--dry-run", "--", there, "--source", "0")
    finally:
        there.unlink()
    assert f"a service does not see {there}" in outcome.error
