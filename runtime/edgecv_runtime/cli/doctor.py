"""``edgecv doctor``: what this device has for running models, and what is missing."""

from __future__ import annotations

import argparse

from edgecv_runtime.cli.command import Command, add_json_option
from edgecv_runtime.cli.output import say, say_json


def _configure(parser: argparse.ArgumentParser) -> None:
    add_json_option(parser)


def _run(options: argparse.Namespace) -> int:
    from edgecv_runtime.doctor import diagnose

    found = diagnose()
    if options.json:
        say_json(found.to_dict())
        return 0 if found.able else 1
    system = found.system
    say(f"{system['board']}: {system['cpu']}, {system['cores']} cores, {system['memory_mb']} MB")
    bits, version = system["bits"], system["edgecv-runtime"]
    say(f"{system['system']}, Python {system['python']} ({bits} bits), edgecv-runtime {version}")
    for title, group in (
        ("back ends", found.backends),
        ("packages", found.helpers),
        ("accelerators", found.accelerators),
        ("delegates", found.delegates),
        ("cameras", found.cameras),
    ):
        say(f"\n{title}" + ("" if group else ": none found"))
        for one in group:
            say(f"  {'✓' if one.there else '–'} {one.what}: {one.detail}")
    hottest = max(found.temperatures.items(), key=lambda zone: zone[1], default=None)
    say(f"\ntemperature: {'not told' if hottest is None else f'{hottest[1]:.0f} °C ({hottest[0]})'}")
    told = found.throttling
    say(f"throttling: {'not told' if told is None else ', '.join(told) or 'none'}")
    for line in found.advice:
        say(f"→ {line}")
    return 0 if found.able else 1


DOCTOR = Command("doctor", "what this device has for running models, and what is missing", _configure, _run)
