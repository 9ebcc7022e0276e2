"""``edgecv sign BUNDLE --key KEY``: let a bundle prove who made it; ``edgecv sign --new-key FILE``: a pair of keys."""

from __future__ import annotations

import argparse

from edgecv_runtime.cli.command import Command, add_json_option
from edgecv_runtime.cli.output import say, say_json


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bundle", metavar="BUNDLE", nargs="?")
    parser.add_argument("--key", metavar="KEY", help="the private key, in PEM")
    parser.add_argument("--release", type=int, metavar="N", help="give it this release number: edgecv update counts up")
    parser.add_argument("-o", "--output", metavar="SIGNED", help="a file of its own (default: in the place of BUNDLE)")
    parser.add_argument("--new-key", metavar="FILE", help="write a new private key to FILE, the public one to FILE.pub")
    add_json_option(parser)


def _run(options: argparse.Namespace) -> int:
    from edgecv_runtime.errors import InputError
    from edgecv_runtime.signing import sign, write_new_key

    if options.new_key is not None:
        given = [name for name in ("bundle", "key", "release", "output") if getattr(options, name) is not None]
        if given:
            raise InputError(f"--new-key makes a pair of keys and takes nothing else; received {given[0]}")
        made = write_new_key(options.new_key)
        document = {"key_id": made, "private_key": options.new_key, "public_key": f"{options.new_key}.pub"}
        text = f"key {made}: {options.new_key} signs and stays secret; {options.new_key}.pub goes to the devices"
    else:
        if options.bundle is None or options.key is None:
            raise InputError("a bundle and --key KEY are required, or --new-key FILE to make one")
        made = sign(options.bundle, options.key, options.output, release=options.release).key_id
        output = options.output or options.bundle
        document = {"key_id": made, "bundle": output}
        text = f"{output} is signed with the key {made}"
    if options.json:
        say_json(document)
    else:
        say(text)
    return 0


SIGN = Command("sign", "sign a bundle, or make a pair of keys", _configure, _run)
