"""Find the subcommand, run it, and turn errors into one line and an exit status."""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import sys
import warnings
from collections.abc import Sequence
from contextlib import ExitStack
from typing import NoReturn

from edgecv_runtime._version import __version__
from edgecv_runtime.cli.command import Command
from edgecv_runtime.cli.output import remark
from edgecv_runtime.cli.quiet import native_remarks_silenced
from edgecv_runtime.errors import CheckFailedError, EdgecvError, MissingPackageError

DONE, CHECK_FAILED, BAD_INPUT = 0, 1, 2
INTERRUPTED = 130

GROUP = "edgecv.commands"

# Subcommands that only the workstation's packages bring: on a device they are named, not unknown.
_HOST_COMMANDS = {
    "models": "edgecv",
    "train": "edgecv",
    "explain": "edgecv",
    "style": "edgecv",
    "export": "edgecv-export",
    "wrap": "edgecv-export",
    "quickstart": "edgecv-export",
    "report": "edgecv-export",
    "advise": "edgecv-export",
    "targets": "edgecv",
    "compatibility": "edgecv-export",
    "compile": "edgecv-export",
    "matrix": "edgecv-export",
    "deploy": "edgecv-export",
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
    word = next((argument for argument in arguments if not argument.startswith("-")), None)
    points = {point.name: point for point in importlib.metadata.entry_points(group=GROUP)}
    if word in _HOST_COMMANDS and word not in points:
        remark(
            f"edgecv {word} runs on the workstation: pip install {_HOST_COMMANDS[word]} there "
            "(this machine has only edgecv-runtime)"
        )
        return BAD_INPUT
    commands = _commands(points, word)
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
    except KeyboardInterrupt:
        remark("interrupted")
        return INTERRUPTED
    except BrokenPipeError:  # the reader of a pipe went away (… | head): not an error
        _discard_output()
        return DONE
    except (EdgecvError, OSError) as error:
        # An OSError: a folder that may not be entered, a name that is too long, a full disk behind stdout.
        if options.debug:
            import traceback

            traceback.print_exc()
        remark(f"edgecv {command.name}: {' '.join(str(error).split())}")
        _discard_output()
        return CHECK_FAILED if isinstance(error, CheckFailedError) else BAD_INPUT
    return status


def _discard_output() -> None:
    """Keep Python from flushing at exit into an stdout that takes no more."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class _Parser(argparse.ArgumentParser):
    """Bad usage is one line too."""

    def error(self, message: str) -> NoReturn:
        self.exit(BAD_INPUT, f"{self.prog}: {message} (see {self.prog} --help)\n")


def _parser(commands: dict[str, Command]) -> argparse.ArgumentParser:
    parser = _Parser(
        prog="edgecv",
        description="From a vision model to the device: build, quantize, export, prove, run.",
    )
    parser.add_argument("--version", action="version", version=f"edgecv {__version__}")
    # Accepted before and after the subcommand; the shared parent must not reset it with its own default.
    debug = _Parser(add_help=False)
    debug.add_argument("--debug", action="store_true", default=argparse.SUPPRESS, help="show the traceback of an error")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command in commands.values():
        subparser = subparsers.add_parser(command.name, help=command.help, description=command.help, parents=[debug])
        command.configure(subparser)
    return parser


def _commands(points: dict[str, importlib.metadata.EntryPoint], word: str | None) -> dict[str, Command]:
    """The runtime's own subcommands, and those of the installed host packages, which may refine them.

    Where one of them is asked for, only that one is loaded: the others cost time, and one of them that is broken
    must not keep this one from running.
    """
    from edgecv_runtime.cli import bench, compare, doctor, evaluate, gallery, info, run, service, sign, update, verify

    own = (
        info.INFO, verify.VERIFY, evaluate.EVAL, compare.COMPARE, bench.BENCH, run.RUN, gallery.GALLERY, doctor.DOCTOR,
        service.SERVICE, sign.SIGN, update.UPDATE,
    )  # fmt: skip
    commands = {command.name: command for command in own}
    known = {*commands, *points}
    for name in sorted(points):
        if word not in known or name == word:
            commands[name] = _load(points[name])
    return commands


def _load(point: importlib.metadata.EntryPoint) -> Command:
    try:
        command = point.load()
    except ImportError as error:
        failure = MissingPackageError(f"the command cannot be loaded from {point.value}: {error}")

        def fail(options: argparse.Namespace) -> int:
            raise failure

        return Command(point.name, f"cannot be loaded: {error}".replace("%", "%%"), _take_anything, fail)
    if not isinstance(command, Command):
        raise TypeError(f"{point.value}, registered as command {point.name!r}, must be a Command")
    return command


def _take_anything(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("arguments", nargs=argparse.REMAINDER)


def _show_warning(message: Warning | str, category: type[Warning], *_: object, **__: object) -> None:
    remark(f"warning: {' '.join(str(message).split())}")
