"""One subcommand: its name, its one line of help, its options and what it does."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Command:
    """A subcommand of ``edgecv``.

    Attributes
    ----------
    name : str
    help : str
        One line for ``edgecv --help``.
    configure : callable
        Adds the options to the subcommand's parser.
    run : callable
        Does the work and returns the exit status: 0 done, 1 a check failed. Bad input is raised as an
        `EdgecvError` and becomes one line on stderr and status 2.
    """

    name: str
    help: str
    configure: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]


def add_backend_options(parser: argparse.ArgumentParser) -> None:
    """``--backend``, ``--device``, ``--threads`` and ``--kernels``, as `edgecv_runtime.load` takes them."""
    parser.add_argument(
        "--backend",
        metavar="NAME",
        help="litert, tflite, onnxruntime, openvino or mock (default: the preferred one that is installed)",
    )
    parser.add_argument("--device", metavar="NAME", help="where to run, as the back end names it (default: CPU)")
    parser.add_argument("--threads", type=int, metavar="N", help="threads for one inference (default: every core)")
    parser.add_argument(
        "--kernels",
        metavar="SET",
        default="auto",
        help="auto, fast or precise: the precise ones where this CPU's fast ones would be wrong (default: auto)",
    )


def backend_options(options: argparse.Namespace) -> dict[str, Any]:
    """What was given for `add_backend_options`, as arguments of `edgecv_runtime.load`."""
    return {name: getattr(options, name) for name in ("backend", "device", "threads", "kernels")}


def add_json_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")
