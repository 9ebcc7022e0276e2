"""What stands in the unit, and what systemd itself makes of it."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from edgecv_runtime.errors import InputError
from edgecv_runtime.systemd.unit import Service, split_token

CAMERA = "rtsp://admin:s3cret@10.0.0.7/live?a=$b%c"


def service(*arguments: str, **options: Any) -> Service:
    return Service("door", "/opt/my apps/edgecv", ("/srv/m.edgecv", "--source", *arguments), **options)


def setting(unit: str, name: str) -> list[str]:
    return [line.partition("=")[2] for line in unit.splitlines() if line.startswith(f"{name}=")]


def test_the_unit() -> None:
    unit = service("0").unit()
    assert setting(unit, "ExecStart") == ['"/opt/my apps/edgecv" run /srv/m.edgecv --source 0']
    for name, value in {
        "Type": "notify", "WatchdogSec": "30", "Restart": "always", "MemoryMax": "75%", "NoNewPrivileges": "yes",
        "ProtectSystem": "strict", "DevicePolicy": "closed", "DynamicUser": "yes", "CapabilityBoundingSet": "",
        "KillSignal": "SIGINT", "StateDirectory": "door", "WantedBy": "multi-user.target",
    }.items():  # fmt: skip
        assert setting(unit, name) == [value]
    assert "char-video4linux rw" in setting(unit, "DeviceAllow") and setting(unit, "EnvironmentFile") == []
    other = service("0", user="pi", memory="512M", watchdog=5, devices=("/dev/apex_0",), writable=("/mnt/a b",)).unit()
    assert setting(other, "User") == ["pi"] and setting(other, "DynamicUser") == []
    assert setting(other, "MemoryMax") == ["512M"] and setting(other, "WatchdogSec") == ["5"]
    assert "/dev/apex_0 rw" in setting(other, "DeviceAllow") and setting(other, "ReadWritePaths") == ['"/mnt/a b"']


def test_what_systemd_would_expand_stays_as_it_is() -> None:
    line = setting(service("0", "--save", 'a$b %h "c"\\d').unit(), "ExecStart")[0]
    assert line.endswith(r'"a$$b %%h \"c\"\\d"')
    assert shlex.split(line)[-1].replace("$$", "$").replace("%%", "%") == 'a$b %h "c"\\d'


def test_credentials_are_kept_out_of_the_unit() -> None:
    one = service(CAMERA, "--score", "0.5", secrets={"EDGECV_TOKEN": 'quo"te'})
    assert "s3cret" not in one.unit() + repr(one.hidden.keys()) and 'quo"te' not in one.unit()
    assert setting(one.unit(), "ExecStart")[0].endswith("run /srv/m.edgecv --source ${EDGECV_ARGUMENT_2} --score 0.5")
    assert setting(one.unit(), "EnvironmentFile") == ["/etc/edgecv/door.env"]
    assert one.environment() == f'EDGECV_ARGUMENT_2="{CAMERA}"\nEDGECV_TOKEN="quo\\"te"\n'


def test_a_token_is_not_an_argument() -> None:
    assert split_token(["a", "--token", "x", "b"]) == (("a", "b"), "x")
    assert split_token(["a", "--token=x"]) == (("a",), "x")
    assert split_token(["a"]) == (("a",), None)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "../x"}, "--name must be"),
        ({"memory": "much"}, "--memory must be an amount such as 512M, 2G or 75%; received 'much'"),
        ({"user": "a b"}, "--user must be"),
        ({"watchdog": 1}, "--watchdog must be from 2 to 3600"),
        ({"devices": ("/etc/passwd",)}, "--device must be a node"),
        ({"writable": ("here",)}, "--write must be an absolute path"),
        ({"arguments": ("a\nExecStartPre=/bin/sh",)}, "one line"),
    ],
)
def test_what_a_unit_refuses(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Service(**{"name": "door", "program": "/edgecv", "arguments": (), **options})


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze (Debian: systemd)")
def test_systemd_takes_it(tmp_path: Path) -> None:
    path = tmp_path / "door.service"
    one = Service("door", "/bin/true", ("a$b %h", "--source", CAMERA), devices=("/dev/apex_0",), groups=("video",))
    path.write_text(one.unit())
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(path)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, [line for line in done.stderr.splitlines() if "door" in line]) == (0, [])
    path.write_text(one.unit().replace("Restart=always", "Restart=perhaps"))
    again = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(path)], capture_output=True, text=True, check=False
    )
    assert "perhaps" in again.stderr  # it does look
