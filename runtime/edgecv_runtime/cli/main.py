"""Find the subcommand, run it, and turn errors into one line and an exit status."""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import sys
import warnings
from collections.abc import Sequence
from contextlib import ExitStack

from edgecv_runtime._version import __version__
from edgecv_runtime.cli.command import Command
from edgecv_runtime.cli.output import remark
from edgecv_runtime.cli.quiet import native_remarks_silenced
from edgecv_runtime.errors import CheckFailedError, EdgecvError

DONE, CHECK_FAILED, BAD_INPUT = 0, 1, 2
INTERRUPTED = 130

GROUP = "edgecv.commands"

# Subcommands that only the workstation's packages bring: on a device they are named, not unknown.
_HOST_COMMANDS = {
    "models": "edgecv",
    "targets": "edgecv",
    "export": "edgecv-export",
    "wrap": "edgecv-export",
    "quickstart": "edgecv-export",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``edgecv``.

    Parameters
    ----------
    arguments : sequence of str, or None
        None: the process's own.

    Returns
    -------
    int
        0 done, 1 a check failed, 2 bad usage or bad input, 130 interrupted.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    commands = _commands()
    missing = next((word for word in arguments[:1] if word in _HOST_COMMANDS and word not in commands), None)
    if missing is not None:
        package = _HOST_COMMANDS[missing]
        remark(
            f"edgecv {missing} runs on the workstation: pip install {package} there "
            "(this machine has only edgecv-runtime)"
        )
        return BAD_INPUT
    options = _parser(commands).parse_args(arguments)
    with ExitStack() as stack:
        stack.enter_context(warnings.catch_warnings())
        warnings.showwarning = _show_warning
        if not options.debug:
            stack.enter_context(native_remarks_silenced())
        return _run(commands[options.command], options)


def _run(command: Command, options: argparse.Namespace) -> int:
    try:
        status = command.run(options)
        sys.stdout.flush()
    except EdgecvError as error:
        if options.debug:
            raise
        remark(f"edgecv {command.name}: {' '.join(str(error).split())}")
        return CHECK_FAILED if isinstance(error, CheckFailedError) else BAD_INPUT
    except KeyboardInterrupt:
        remark("interrupted")
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of a pipe went away (… | head): not an error. Python must not flush into it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    return status


def _parser(commands: dict[str, Command]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="edgecv",
        description="From a vision model to the device: build, quantize, export, prove, run.",
    )
    parser.add_argument("--version", action="version", version=f"edgecv {__version__}")
    # Accepted before and after the subcommand; the shared parent must not reset it with its own default.
    debug = argparse.ArgumentParser(add_help=False)
    debug.add_argument("--debug", action="store_true", default=argparse.SUPPRESS, help="show the traceback of an error")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command in commands.values():
        subparser = subparsers.add_parser(command.name, help=command.help, description=command.help, parents=[debug])
        command.configure(subparser)
    return parser


def _commands() -> dict[str, Command]:
    """The runtime's own subcommands, and those of the installed host packages, which may refine them."""
    from edgecv_runtime.cli import bench, evaluate, info, run, verify

    commands = {command.name: command for command in (info.INFO, verify.VERIFY, evaluate.EVAL, bench.BENCH, run.RUN)}
    for point in sorted(importlib.metadata.entry_points(group=GROUP), key=lambda point: point.name):
        command = point.load()
        commands[command.name] = command
    return commands


def _show_warning(message: Warning | str, category: type[Warning], *_: object, **__: object) -> None:
    remark(f"warning: {message}")
