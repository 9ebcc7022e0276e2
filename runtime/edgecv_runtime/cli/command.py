"""One subcommand: its name, its one line of help, its options and what it does."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from edgecv_runtime.errors import InputError


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
    parser.add_argument(
        "--device", metavar="NAME", help="CPU, GPU, NPU, or as the back end names it, such as CUDA (default: CPU)"
    )
    parser.add_argument("--threads", type=int, metavar="N", help="threads for one inference (default: every core)")
    parser.add_argument(
        "--kernels",
        metavar="SET",
        default="auto",
        help="auto, fast or precise: the precise ones where this CPU's fast ones would be wrong (default: auto)",
    )


def add_accelerator_options(parser: argparse.ArgumentParser) -> None:
    """``--delegate``, ``--device-option`` and ``--fallback``, as `edgecv_runtime.load` takes them."""
    parser.add_argument(
        "--delegate", metavar="LIB", help="shared library that takes the model to an accelerator: libedgetpu.so.1"
    )
    parser.add_argument(
        "--device-option",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="a setting of the delegate, the execution provider or the device; may be given several times",
    )
    parser.add_argument(
        "--fallback",
        choices=("cpu",),
        help="where the accelerator is not there or takes nothing: cpu runs there, with a warning (default: an error)",
    )


def backend_options(options: argparse.Namespace) -> dict[str, Any]:
    """What was given for `add_backend_options`, as arguments of `edgecv_runtime.load`.

    Those of `add_accelerator_options` are among them only where they were given.

    Raises
    ------
    InputError
        A ``--device-option`` is not ``KEY=VALUE``.
    """
    found = {name: getattr(options, name) for name in ("backend", "device", "threads", "kernels")}
    pairs = [word.partition("=") for word in getattr(options, "device_option", None) or []]
    wrong = next((key for key, equals, _ in pairs if not key or not equals), None)
    if wrong is not None:
        raise InputError(f"--device-option must be KEY=VALUE; received {wrong!r}")
    special = {name: getattr(options, name, None) for name in ("delegate", "fallback")}
    special["options"] = {key: value for key, _, value in pairs}
    return found | {name: value for name, value in special.items() if value}


def add_json_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")
