"""``edgecv service install|status|remove``: ``edgecv run`` as a service of systemd."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, NoReturn

from edgecv_runtime.cli.command import Command
from edgecv_runtime.cli.output import remark, say, say_json

if TYPE_CHECKING:
    from pathlib import Path

    from edgecv_runtime.systemd.unit import Service

_BOOTED = "/run/systemd/system"  # there where systemd manages the machine (sd_booted(3))
_SECRETS = ("EDGECV_TOKEN", "EDGECV_MQTT_PASSWORD", "EDGECV_GALLERY_KEY")
_SHOWN = ("ActiveState", "SubState", "Result", "StatusText", "MainPID", "NRestarts", "MemoryCurrent", "UnitFileState")


def _configure(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    install = actions.add_parser(
        "install",
        help="write the unit, and start it now and at each boot",
        usage="edgecv service install [options] -- BUNDLE --source S ...",
    )
    _name(install)
    install.add_argument("--user", metavar="U", help="run as this user (default: one of its own, made by systemd)")
    install.add_argument(
        "--memory", metavar="M", default="75%", help="most memory, such as 512M or 75%% (default: 75%%)"
    )
    install.add_argument(
        "--watchdog", type=int, metavar="S", default=30, help="start anew after S seconds without results (default: 30)"
    )
    install.add_argument("--device", action="append", default=[], metavar="D", help="a further device: /dev/apex_0")
    install.add_argument("--write", action="append", default=[], metavar="DIR", help="a further folder it may write to")
    install.add_argument("--dry-run", action="store_true", help="print the unit and change nothing")
    install.add_argument(
        "arguments", nargs=argparse.REMAINDER, metavar="-- BUNDLE ...", help="what edgecv run is given"
    )
    status = actions.add_parser("status", help="how it fares; exit status 1 where it does not run")
    _name(status)
    status.add_argument("--json", action="store_true", help="one JSON document on stdout")
    _name(actions.add_parser("remove", help="stop it and take its unit away; what it has written stays"))


def _name(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--name", default="edgecv", metavar="NAME", help="of the service (default: edgecv)")


def _run(options: argparse.Namespace) -> int:
    return {"install": _install, "status": _status, "remove": _remove}[options.action](options)


# -- install -------------------------------------------------------------------------------------------------------


def _install(options: argparse.Namespace) -> int:
    from pathlib import Path

    service = _service(options)
    if options.dry_run:
        say(f"# {service.unit_path}\n{service.unit()}".rstrip("\n"))
        if service.hidden:
            say(f"\n# {service.environment_path} (readable by root alone)")
            say("\n".join(f"{name}=***" for name in service.hidden))
        return 0
    _needs_systemd()
    _needs_root("install")
    unit, environment = Path(service.unit_path), Path(service.environment_path)
    _write(environment, service.environment(), mode=0o600)
    _write(unit, service.unit(), mode=0o644)
    trouble = verify(unit)
    if trouble:
        _unlink(unit, environment)
        _fail(f"systemd does not take the unit: {trouble}; nothing was left behind")
    _systemctl("daemon-reload")
    _systemctl("enable", unit.name)
    _systemctl("restart", "--no-block", unit.name)
    remark(f"{unit} was written, and {service.name} starts: edgecv service status --name {service.name}")
    return 0


def _service(options: argparse.Namespace) -> Service:
    """What is to be installed, from the options; the arguments of ``edgecv run`` are checked as that would."""
    import os

    from edgecv_runtime.cli.run import RUN
    from edgecv_runtime.systemd.unit import Service, split_token

    given = list(options.arguments)
    given = given[1:] if given[:1] == ["--"] else given
    given = given[1:] if given[:1] == ["run"] else given
    parser = _Strict(prog="edgecv run")
    RUN.configure(parser)
    checked = parser.parse_args(given)
    arguments, token = split_token(_with_absolute_paths(given))
    _must_be_visible(checked.bundle)
    secrets = {name: os.environ[name] for name in _SECRETS if os.environ.get(name)}
    return Service(
        name=options.name,
        program=_program(),
        arguments=arguments,
        secrets=secrets if token is None else {**secrets, "EDGECV_TOKEN": token},
        user=options.user,
        groups=_groups(),
        memory=options.memory,
        watchdog=options.watchdog,
        devices=tuple(options.device),
        writable=tuple(options.write),
    )


class _Strict(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        from edgecv_runtime.errors import InputError

        raise InputError(f"what edgecv run is given, after --: {message}; as in -- model.edgecv --source 0")


def _with_absolute_paths(arguments: list[str]) -> list[str]:
    """The service works in another folder: what names a file of this one is given its whole path."""
    from pathlib import Path

    def whole(text: str) -> str:
        there = text and not text.startswith("-") and not text.isdecimal() and Path(text).exists()
        return str(Path(text).resolve()) if there else text

    done = []
    for one in arguments:
        name, equals, value = one.partition("=")
        done.append(f"{name}={whole(value)}" if one.startswith("--") and equals else whole(one))
    return done


def _must_be_visible(bundle: str) -> None:
    """A service has a /tmp of its own, where the bundle would not be."""
    from pathlib import Path

    from edgecv_runtime.errors import InputError, MissingFileError

    path = Path(bundle).resolve()
    if not path.exists():
        raise MissingFileError(f"no bundle at {path}")
    if path.parts[1:2] == ("tmp",) or path.parts[1:3] == ("var", "tmp"):
        raise InputError(f"a service does not see {path}: it has a /tmp of its own. Put the bundle into /opt or /srv")


def _program() -> str:
    import shutil
    import sys
    from pathlib import Path

    from edgecv_runtime.errors import UnsupportedError

    beside = Path(sys.executable).parent / "edgecv"
    program = str(beside) if beside.is_file() else shutil.which("edgecv")
    if program is None:
        raise UnsupportedError(
            "the command edgecv is neither beside Python nor on the PATH: pip install edgecv-runtime"
        )
    return program


def _groups() -> tuple[str, ...]:
    """Of those that own cameras and graphics, the ones that this machine has: systemd refuses others."""
    import grp

    there = {group.gr_name for group in grp.getgrall()}
    return tuple(name for name in ("video", "render") if name in there)


def verify(unit: Path) -> str:
    """What ``systemd-analyze verify`` finds wrong with a unit; empty where nothing is, or where it is not there."""
    import shutil
    import subprocess

    program = shutil.which("systemd-analyze")
    if program is None:
        return ""
    done = subprocess.run([program, "verify", "--man=no", str(unit)], capture_output=True, text=True, check=False)
    lines = [line for line in done.stderr.splitlines() if unit.name in line]
    return "; ".join(lines) if lines or done.returncode == 0 else done.stderr.strip().replace("\n", "; ")


# -- status and remove ---------------------------------------------------------------------------------------------


def _status(options: argparse.Namespace) -> int:
    _needs_systemd()
    text = _systemctl("show", f"{options.name}.service", f"--property={','.join(_SHOWN)}")
    found = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    if options.json:
        say_json({"name": options.name, **{name: found.get(name, "") for name in _SHOWN}})
    else:
        memory = found.get("MemoryCurrent", "")
        used = f", {int(memory) / 2**20:.0f} MiB" if memory.isdecimal() and int(memory) < 2**62 else ""
        say(f"{options.name}: {found.get('ActiveState')} ({found.get('SubState')}), started anew "
            f"{found.get('NRestarts', '0')} times{used}")  # fmt: skip
        if found.get("StatusText"):
            say(found["StatusText"])
    return 0 if found.get("ActiveState") == "active" else 1


def _remove(options: argparse.Namespace) -> int:
    from pathlib import Path

    from edgecv_runtime.errors import MissingFileError
    from edgecv_runtime.systemd.unit import Service

    _needs_systemd()
    service = Service(options.name, "/edgecv", ())
    unit = Path(service.unit_path)
    if not unit.exists():
        raise MissingFileError(f"there is no service {options.name}: no {unit}")
    _needs_root("remove")
    _systemctl("disable", "--now", unit.name)
    _unlink(unit, Path(service.environment_path))
    _systemctl("daemon-reload")
    remark(f"{options.name} was removed; what it has written is still in /var/lib/{options.name}")
    return 0


# -- the machine ---------------------------------------------------------------------------------------------------


def _needs_systemd() -> None:
    from pathlib import Path

    from edgecv_runtime.errors import UnsupportedError

    if not Path(_BOOTED).is_dir():
        raise UnsupportedError("a service needs systemd, which does not run here; install --dry-run prints the unit")


def _needs_root(action: str) -> None:
    import os

    from edgecv_runtime.errors import InputError

    if os.geteuid() != 0:
        raise InputError(f"this needs root: sudo {_program()} service {action} ...")


def _systemctl(*words: str) -> str:
    import subprocess

    try:
        done = subprocess.run(["systemctl", *words], capture_output=True, text=True, check=False, timeout=60)
    except (OSError, subprocess.TimeoutExpired) as error:
        _fail(f"systemctl {words[0]} cannot be run: {error}")
    if done.returncode != 0:
        _fail(f"systemctl {' '.join(words)} failed: {' '.join(done.stderr.split())}")
    return done.stdout


def _write(path: Path, content: str, *, mode: int) -> None:
    """In one step, and never for a moment readable by those who may not; nothing where there is nothing to write."""
    import os

    from edgecv_runtime.bundle import write_atomically
    from edgecv_runtime.errors import OutputError

    if not content:
        return
    try:
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot make {path.parent}: {error.strerror or error}") from None
    before = os.umask(0o777 & ~mode)
    try:
        write_atomically(path, content.encode())
    finally:
        os.umask(before)


def _unlink(*paths: Path) -> None:
    for path in paths:
        path.unlink(missing_ok=True)


def _fail(message: str) -> NoReturn:
    from edgecv_runtime.errors import OutputError

    raise OutputError(message)


SERVICE = Command("service", "run as a service of systemd: install, status, remove", _configure, _run)
