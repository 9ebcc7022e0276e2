"""``edgecv deploy BUNDLE user@host``: copy, install, doctor, verify, bench, and only then switch."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from edgecv_runtime.cli.command import Command, add_accelerator_options, add_json_option
from edgecv_runtime.cli.output import remark, say, say_json
from edgecv_runtime.errors import CheckFailedError

if TYPE_CHECKING:
    from edgecv_export.deploy import Deployed


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bundle", metavar="BUNDLE")
    parser.add_argument("host", metavar="USER@HOST", help="as ssh takes it; a key must be set up")
    parser.add_argument("--port", type=int, metavar="N")
    parser.add_argument("--identity", metavar="FILE", help="a private key")
    parser.add_argument("--ssh-config", metavar="FILE", help="instead of ~/.ssh/config")
    parser.add_argument("--path", default="edgecv", metavar="DIR", help="on the device (default: edgecv, in the home)")
    parser.add_argument("--python", default="python3", metavar="NAME", help="of the device, 3.10 or later")
    parser.add_argument("--wheels", metavar="DIR", help="wheels for the device, which then needs no internet")
    parser.add_argument(
        "--extras",
        metavar="A,B",
        type=lambda text: tuple(name.strip() for name in text.split(",") if name.strip()),
        help="of edgecv-runtime (default: the back end of the bundle's format, and cv)",
    )
    parser.add_argument(
        "--system-packages", action="store_true", help="let the environment see the device's own Python packages"
    )
    parser.add_argument("--runs", type=int, default=50, metavar="N", help="counted calls of the benchmark")
    parser.add_argument("--device", metavar="NAME", help="prove it there on this device: CPU, GPU, NPU, CUDA …")
    add_accelerator_options(parser)
    parser.add_argument("--report", metavar="FILE.json", help="write what the device reports there, too")
    add_json_option(parser)


def _run(options: argparse.Namespace) -> int:
    from edgecv_export.deploy import Host, deploy
    from edgecv_runtime.bundle import write_atomically

    report = None if options.report is None else Path(options.report)
    try:
        done = deploy(
            options.bundle,
            Host(options.host, options.port, options.identity, options.ssh_config),
            path=options.path,
            wheels=options.wheels,
            python=options.python,
            extras=options.extras,
            system_packages=options.system_packages,
            runs=options.runs,
            on=_where(options),
            notify=lambda name: remark(f"{name} …"),
        )
    except CheckFailedError as failure:
        if report is not None and failure.report is not None:
            write_atomically(report, json.dumps(failure.report, indent=2).encode())
        raise
    if report is not None:
        write_atomically(report, json.dumps(done.to_dict(), indent=2).encode())
    if options.json:
        say_json(done.to_dict())
    else:
        for line in _shown(done, options.path, _where(options)):
            say(line)
    return 0


def _where(options: argparse.Namespace) -> list[str]:
    """The options that say where the bundle is to run, as they were given."""
    words = [("--device", options.device), ("--delegate", options.delegate), ("--fallback", options.fallback)]
    words += [("--device-option", pair) for pair in options.device_option]
    return [word for name, value in words if value is not None for word in (name, value)]


def _shown(done: Deployed, path: str, where: list[str]) -> list[str]:
    checks = done.verify["checks"]
    system, latency = done.doctor["system"], done.bench["latency"]
    return [
        f"device    {system['board']}: {system['cpu']}, Python {done.device['python']}",
        f"verify    {sum(check['passed'] for check in checks)} of {len(checks)} checks passed",
        f"latency   p50 {latency['p50_ms']:.2f} ms, p99 {latency['p99_ms']:.2f} ms ({latency['n']} calls)",
        f"current   {done.before or 'nothing'} → {done.current}",
        " ".join([f"run       {path}/current/env/bin/edgecv run {path}/current/model.edgecv", *where]),
    ]


DEPLOY = Command("deploy", "bring a bundle to a device over SSH, prove it there, then switch to it", _configure, _run)
