"""Deploying to a device that is a folder of this machine, over a real sshd."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import edgecv_runtime
from edgecv_export.deploy import Deployed, Host, deploy
from edgecv_runtime.bundle import GOLDEN_MEMBER, Bundle, write_bundle
from edgecv_runtime.errors import BackendError, CheckFailedError, InputError, MissingFileError

How = dict[str, Any]


@pytest.fixture(scope="module")
def bundle(made: Callable[..., Any]) -> Path:
    return made("lenet", "tflite", "int8").path


@pytest.fixture(scope="module")
def device(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("device") / "edge cv"  # a blank must not matter


@pytest.fixture(scope="module")
def how(device: Path, wheels: Path) -> How:
    return {"path": str(device), "wheels": wheels, "python": sys.executable, "runs": 5, "extras": ("litert",)}


@pytest.fixture(scope="module")
def first(bundle: Path, ssh_host: Host, how: How) -> Deployed:
    return deploy(bundle, ssh_host, **how)


def state(device: Path) -> tuple[str, list[str], str]:
    """What a device has: where current leads, its releases, and the bundle it would run."""
    return (
        str((device / "current").readlink()),
        sorted(path.name for path in (device / "releases").iterdir()),
        hashlib.sha256((device / "current" / "model.edgecv").read_bytes()).hexdigest(),
    )


def test_it_is_installed_proven_and_switched_to(first: Deployed, device: Path, bundle: Path) -> None:
    assert first.before is None
    assert first.copied_by == ("rsync" if shutil.which("rsync") else "tar")
    assert first.current == str((device / "current").readlink()) == f"releases/{Path(first.release).name}"
    assert (device / "current" / "model.edgecv").read_bytes() == bundle.read_bytes()
    assert not (device / "current" / "wheels").exists()
    assert first.doctor["system"]["edgecv-runtime"] == edgecv_runtime.__version__
    assert all(check["passed"] for check in first.verify["checks"])
    assert first.bench["latency"]["n"] == 5
    assert list(first.seconds) == [
        "connect", "copy", "environment", "install", "doctor", "verify", "bench", "switch",
    ]  # fmt: skip
    # The environment is the device's own: the code runs from there and nothing else is seen.
    python = device / "current" / "env" / "bin" / "python"
    asked = "import edgecv_runtime, importlib.util as u; print(edgecv_runtime.__file__, u.find_spec('keras'))"
    said = subprocess.run([python, "-I", "-c", asked], capture_output=True, text=True, check=True).stdout.strip()
    assert said.startswith(f"{device}/current/env/lib/")
    assert said.endswith("/site-packages/edgecv_runtime/__init__.py None")


@pytest.mark.slow
def test_a_bundle_that_does_not_pass_changes_nothing(
    first: Deployed, bundle: Path, ssh_host: Host, how: How, device: Path, tmp_path: Path
) -> None:
    good = Bundle(bundle)
    members = {name: good.member(name) or b"" for name in good.manifest.members}
    members[GOLDEN_MEMBER] = members[GOLDEN_MEMBER][:200]  # signed off by its digest, and worthless
    bad = tmp_path / "bad.edgecv"
    write_bundle(bad, good.manifest, members)
    before = state(device)
    with pytest.raises(CheckFailedError, match="verify does not pass on .*, which is left as it was") as caught:
        deploy(bad, ssh_host, **how)
    assert state(device) == before
    report = caught.value.report
    assert report is not None
    assert report["doctor"]["system"] == first.doctor["system"]  # what was measured until then is not lost


@pytest.mark.slow
def test_an_account_of_its_own(ssh_other_user: tuple[Host, Path], bundle: Path, wheels: Path) -> None:
    """In another user's home, with nothing but that user's rights; a dropped connection changes nothing there."""
    host, home = ssh_other_user
    device, user = home / "edgecv", home.stat().st_uid
    assert user != os.getuid()
    # A path from the user's home, and the Python that the account itself has.
    how: How = {"path": "edgecv", "wheels": wheels, "python": "python3", "runs": 5, "extras": ("litert",)}
    try:
        found = deploy(bundle, host, **how)
        assert (device / "current" / "model.edgecv").read_bytes() == bundle.read_bytes()
        assert all(check["passed"] for check in found.verify["checks"])
        assert found.bench["latency"]["n"] == 5
        assert {path.lstat().st_uid for path in device.rglob("*")} == {user}
        for step in ("copy", "install", "verify"):
            drop_and_check(bundle, host, how, device, step, 0.1)
    finally:
        shutil.rmtree(device, ignore_errors=True)


@pytest.mark.parametrize(("step", "delay"), [("copy", 0.0), ("copy", 0.3), ("environment", 0.3)])
def test_a_dropped_connection_leaves_the_device_as_it_was(
    first: Deployed, bundle: Path, ssh_host: Host, how: How, device: Path, step: str, delay: float
) -> None:
    drop_and_check(bundle, ssh_host, how, device, step, delay)


@pytest.mark.slow
@pytest.mark.parametrize("delay", [0.0, 0.2, 1.0])
@pytest.mark.parametrize("step", ["install", "doctor", "verify", "bench"])
def test_a_connection_dropped_late_leaves_the_device_as_it_was(
    first: Deployed, bundle: Path, ssh_host: Host, how: How, device: Path, step: str, delay: float
) -> None:
    drop_and_check(bundle, ssh_host, how, device, step, delay)


def drop_and_check(bundle: Path, host: Host, how: How, device: Path, step: str, delay: float) -> None:
    """Kill every ssh of this process so long after a step has begun."""
    before, dropped = state(device), threading.Event()

    def drop() -> None:
        time.sleep(delay)
        for process in ssh_processes():
            os.kill(process, signal.SIGKILL)
        dropped.set()

    def notify(name: str) -> None:
        if name == step:
            threading.Thread(target=drop, daemon=True).start()
        elif dropped.is_set() and name == "switch":
            pytest.fail("the drop went unnoticed")

    with pytest.raises(BackendError, match="is lost|broke off"):
        deploy(bundle, host, **how, notify=notify)
    for _ in range(400):  # the device cleans up by itself
        if state(device) == before:
            break
        time.sleep(0.05)
    assert state(device) == before


def ssh_processes() -> Iterator[int]:
    """Processes named ssh that this one has started, directly or not."""
    parents, names = {}, {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                name, rest = (entry / "stat").read_text().rsplit(")", 1)
            except OSError:  # it has ended
                continue
            parents[int(entry.name)] = int(rest.split()[1])
            names[int(entry.name)] = name.partition("(")[2]
    for process, name in names.items():
        above = process
        while above in parents and above != os.getpid():
            above = parents[above]
        if name == "ssh" and above == os.getpid():
            yield process


def test_without_rsync_it_is_copied_by_tar(ssh_host: Host, tmp_path: Path) -> None:
    source, device = tmp_path / "here", tmp_path / "there"
    (source / "wheels").mkdir(parents=True)
    device.mkdir()
    (source / "a.bin").write_bytes(bytes(range(256)) * 1000)
    (source / "wheels" / "b.whl").write_bytes(b"wheel")
    assert ssh_host.copy([source / "a.bin", source / "wheels"], str(device), rsync=False) == "tar"
    assert (device / "a.bin").read_bytes() == (source / "a.bin").read_bytes()
    assert (device / "wheels" / "b.whl").read_bytes() == b"wheel"
    with pytest.raises(BackendError, match="the copy to .* broke off"):
        ssh_host.copy([source / "a.bin"], str(device / "nowhere"), rsync=False)


def test_what_a_device_refuses_is_one_line(
    bundle: Path, ssh_host: Host, how: How, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stranger = tmp_path / "stranger"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", stranger], check=True)
    with pytest.raises(BackendError, match="is lost: .*Permission denied"):
        deploy(bundle, replace(ssh_host, identity=str(stranger)), **how)
    with pytest.raises(BackendError, match="is lost: .*not found|is lost: .*No such file"):
        deploy(bundle, ssh_host, **how | {"python": "/nowhere/python3"})
    monkeypatch.setattr("edgecv_export.deploy.steps._ROOM", 10**18)
    place = tmp_path / "small"
    with pytest.raises(BackendError, match="1,000,000,000,... MB are needed on the device; .* MB are free"):
        deploy(bundle, ssh_host, **how | {"path": str(place)})
    assert list((place / "releases").iterdir()) == []


def test_words_that_ssh_would_take_for_options_are_refused(tmp_path: Path) -> None:
    for name in ("-oProxyCommand=touch x", "a@-b", "a b", "", "x;y"):
        with pytest.raises(InputError, match="user@host"):
            Host(name)
    assert Host("pi@raspberrypi.local").words()[-1] != "-p"
    with pytest.raises(InputError, match="a port is 1 to 65535; received 0"):
        Host("pi@here", port=0)
    with pytest.raises(InputError, match="there is no key at"):
        Host("pi@here", identity=str(tmp_path / "none"))


def test_wheels_that_are_none_are_refused_before_anything_is_sent(bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="there is no folder of wheels"):
        deploy(bundle, Host("pi@127.0.0.1", 1), wheels=tmp_path / "none")
    with pytest.raises(InputError, match="holds no wheels"):
        deploy(bundle, Host("pi@127.0.0.1", 1), wheels=tmp_path)
