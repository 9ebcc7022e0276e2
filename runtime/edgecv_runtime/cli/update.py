"""``edgecv update NEW.edgecv --slots DIR``: install a bundle so that the device starts whatever happens meanwhile."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import TYPE_CHECKING

from edgecv_runtime.cli.command import Command, add_json_option
from edgecv_runtime.cli.output import remark, say, say_json

if TYPE_CHECKING:
    from edgecv_runtime.update import Boot, Slots, State


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bundle", metavar="NEW", nargs="?", help="the bundle to install")
    parser.add_argument("--slots", required=True, metavar="DIR", help="where the two slots are")
    parser.add_argument("--boot", action="store_true", help="at each start: print the bundle to start from")
    parser.add_argument("--confirm", action="store_true", help="all is well: the bundle on trial stays")
    parser.add_argument("--rollback", action="store_true", help="go back to the bundle before")
    parser.add_argument("--status", action="store_true", help="what is installed, and whether it is on trial")
    parser.add_argument("--allow-downgrade", action="store_true", help="take a lower release than was in use")
    parser.add_argument("--key", metavar="PUB", help="public keys, one of which must have signed it (as for verify)")
    parser.add_argument("--backend", metavar="NAME", help="for the self-test (default: the preferred one)")
    parser.add_argument("--device", metavar="NAME", help="for the self-test (default: CPU)")
    parser.add_argument("--threads", type=int, metavar="N", help="for the self-test (default: every core)")
    add_json_option(parser)


_ACTIONS = ("boot", "confirm", "rollback", "status")


def _run(options: argparse.Namespace) -> int:
    from edgecv_runtime.errors import InputError
    from edgecv_runtime.update import Slots

    asked = [name for name in _ACTIONS if getattr(options, name)]
    if len(asked) + (options.bundle is not None) != 1:
        raise InputError("one of NEW, --boot, --confirm, --rollback and --status is required, and no more than one")
    if options.allow_downgrade and options.bundle is None:
        raise InputError("--allow-downgrade goes with NEW, the bundle to install")
    how = {name: getattr(options, name) for name in ("backend", "device", "threads")}
    slots = Slots(options.slots, public_key=options.key, **how)
    if options.bundle is not None:
        return _tell_state(options, slots, slots.install(options.bundle, allow_downgrade=options.allow_downgrade))
    if options.boot or options.rollback:
        return _tell_boot(options, slots.boot() if options.boot else slots.rollback())
    return _tell_state(options, slots, slots.confirm() if options.confirm else slots.status())


def _tell_boot(options: argparse.Namespace, boot: Boot) -> int:
    if options.json:
        say_json({**asdict(boot), "path": str(boot.path)})
        return 0
    if boot.failed is not None:
        remark(f"back to the bundle before, release {boot.release}: {boot.failed}")
    elif boot.trial:
        remark(f"on trial, release {boot.release}: edgecv update --slots {options.slots} --confirm once all is well")
    say(str(boot.path))  # alone on stdout: edgecv run "$(edgecv update --slots DIR --boot)" --source S
    return 0


def _tell_state(options: argparse.Namespace, slots: Slots, state: State) -> int:
    if options.json:
        say_json({**asdict(state), "path": str(slots.path(state.active))})
        return 0
    trial = f"on trial, {state.starts} starts so far" if state.trial else "confirmed"
    number = "no release number" if state.release is None else f"release {state.release}"
    say(f"{slots.path(state.active)}: {number}, {trial}")
    if state.fallback is not None:
        say("  to go back to: the bundle in the other slot")
    if state.floor:
        say(f"  lower releases than {state.floor} are refused")
    if state.failed is not None:
        say(f"  the one after it was given up: {state.failed}")
    return 0


UPDATE = Command("update", "install a bundle beside the one in use, prove it and switch to it", _configure, _run)
