"""``edgecv verify BUNDLE``: replay the parity contract here, on this CPU."""

from __future__ import annotations

import argparse

from edgecv_runtime.cli.command import (
    Command,
    add_accelerator_options,
    add_backend_options,
    add_json_option,
    backend_options,
)
from edgecv_runtime.cli.output import say, say_json


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bundle", metavar="BUNDLE")
    parser.add_argument(
        "--key",
        metavar="PUB",
        help="public keys, one of which must have signed it (default: EDGECV_PUBLIC_KEY, then /etc/edgecv/public.key)",
    )
    add_backend_options(parser)
    add_accelerator_options(parser)
    add_json_option(parser)


def _run(options: argparse.Namespace) -> int:
    from edgecv_runtime.parity import verify

    verification = verify(options.bundle, public_key=options.key, **backend_options(options))
    if options.json:
        say_json(verification.to_dict())
    else:
        for check in verification.checks:
            say(f"{'✓' if check.passed else '✗'} {check.name}: {check.detail}")
        say(f"{'passed' if verification.passed else 'FAILED'} on {verification.machine}")
    return 0 if verification.passed else 1


VERIFY = Command("verify", "replay a bundle's parity contract on this machine", _configure, _run)
