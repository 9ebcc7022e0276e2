"""``edgecv compatibility BUNDLE|MODEL --target ID``: where each operator will run, before anything is compiled."""

from __future__ import annotations

import argparse
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgecv_runtime.cli.command import Command, add_json_option
from edgecv_runtime.cli.output import kilobytes, remark, say, say_json
from edgecv_runtime.errors import InputError, UnsupportedError

if TYPE_CHECKING:
    from edgecv_export.compatibility import Compatibility
    from edgecv_export.fit import Fit
    from edgecv_export.memory import Memory

_WIDTH = 100
CHECK_FAILED = 1


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="BUNDLE|MODEL", help="a .edgecv bundle or a .tflite file")
    parser.add_argument("--target", required=True, metavar="ID", help="a device from `edgecv targets`")
    parser.add_argument(
        "--max-fallback",
        type=float,
        metavar="PERCENT",
        help="fail where more of the operators than this fall back to the CPU, or one runs nowhere",
    )
    parser.add_argument(
        "--host", metavar="ID", help="the device whose processor runs what falls back, for the estimate of its time"
    )
    parser.add_argument(
        "--fix",
        metavar="OUT.tflite",
        help="make the changes that are safe (static shapes, integers at both ends), prove them, and check the result",
    )
    parser.add_argument("--all", action="store_true", help="every operator, not only those that fall back")
    add_json_option(parser)


def _run(options: argparse.Namespace) -> int:
    from edgecv_export.compatibility import check
    from edgecv_export.fit import fit
    from edgecv_export.memory import measure
    from edgecv_export.tflite_graph import read_graph
    from edgecv_targets import TargetError, load_target

    limit = options.max_fallback
    if limit is not None and not 0 <= limit <= 100:
        raise InputError(f"--max-fallback must be a percentage, 0 to 100; received {limit:g}")
    try:
        target = load_target(options.target)
        host = None if options.host is None else load_target(options.host)
    except TargetError as error:
        raise InputError(str(error)) from None
    content = _content(Path(options.model))
    if options.fix is not None:
        content = _fix(content, Path(options.fix))
    graph = read_graph(content)
    found, memory, fitting = check(graph, target, host), measure(graph), fit(graph, target)
    met = limit is None or (found.meets(limit) and fitting.fits is not False)
    if options.json:
        say_json(
            {
                **found.to_dict(),
                "memory": {"peak_bytes": memory.peak_bytes, "arena_bytes": memory.arena_bytes},
                "fit": fitting.to_dict(),
                "max_fallback": limit,
                "met": met,
            }
        )
    else:
        for line in _shown(found, memory, fitting, options.all):
            say(line)
    if not met:
        remark(f"edgecv compatibility: {_failure(found, fitting, limit)}")
    return 0 if met else CHECK_FAILED


def _fix(content: bytes, path: Path) -> bytes:
    """The file with the safe changes, written where it was asked for."""
    from edgecv_export.compatibility.fixes import apply_fixes
    from edgecv_runtime.bundle import write_atomically

    if path.suffix != ".tflite":
        raise InputError(f"the fixed model's name must end in .tflite; received {path.name!r}")
    fixed = apply_fixes(content)
    write_atomically(path, fixed.content)
    for text in fixed.done or ("nothing to fix",):
        remark(f"  {text}")
    return fixed.content


def _content(path: Path) -> bytes:
    """The TFLite file in a bundle, or the file itself."""
    from edgecv_runtime.artefact import Artefact
    from edgecv_runtime.bundle import SUFFIX, Bundle

    artefact = Bundle(path).artefact() if path.suffix == SUFFIX else Artefact.from_file(path)
    if artefact.format != "tflite":
        raise UnsupportedError(
            f"operators are checked in TFLite files; {path.name} holds {artefact.format}: export with --format tflite"
        )
    return artefact.model


def _shown(found: Compatibility, memory: Memory, fitting: Fit, everything: bool) -> list[str]:
    from edgecv_export.compatibility.check import reasons

    counts = found.to_dict()["counts"]
    shares = "" if found.table is None else f", {100 * found.accelerated:.1f} % on the accelerator"
    lines = [f"{found.target}: {len(found.operators)} operators{shares}"]
    if found.note:
        lines.append(f"  note        {found.note}")
    if found.table is not None and counts["cpu"] + counts["unsupported"]:
        time = "" if found.fallback_time is None else f", {100 * found.fallback_time:.1f} % of the estimated time"
        lines.append(
            f"  falls back  {100 * found.fallback_operators:.1f} % of the operators, "
            f"{100 * found.fallback_macs:.1f} % of the MACs{time}"
        )
    lines.append(
        f"  memory      {kilobytes(memory.peak_bytes)} of activations at once, "
        f"{kilobytes(memory.arena_bytes)} with LiteRT's planner"
    )
    if fitting.fits is not None:
        there = kilobytes(fitting.memory_there or 0)
        words = "fits" if fitting.fits else "does not fit"
        lines.append(f"  {words:<11} {kilobytes(fitting.memory_bytes)} of {there} memory{_stored(fitting)}")
    if found.time is not None:
        least = "at least " if found.time.lower_bound else ""
        lines.append(f"  estimate    {least}{1e3 * found.time.seconds:.2f} ms: {found.time.basis}")
    for operator in found.operators if everything else ():
        lines.append(f"  {operator.index:>4} {operator.where:<12} {operator.kind:<24} {operator.name}")
    for kind, reason, help_, count in reasons(found.operators):
        lines += ["", f"{kind}{f' (×{count})' if count > 1 else ''}"]
        lines += _wrapped("why", reason) + (_wrapped("helps", help_) if help_ else [])
    return lines


def _stored(fitting: Fit) -> str:
    if fitting.storage_there is None:
        return ""
    return f", {kilobytes(fitting.storage_bytes)} of {kilobytes(fitting.storage_there)} flash"


def _wrapped(label: str, text: str) -> list[str]:
    return textwrap.wrap(text, _WIDTH, initial_indent=f"  {label:<8}", subsequent_indent=" " * 10)


def _failure(found: Compatibility, fitting: Fit, limit: Any) -> str:
    if fitting.fits is False:
        return (
            f"the model does not fit {found.target}: it needs {kilobytes(fitting.memory_bytes)} of memory"
            f"{_stored(fitting)}"
        )
    if found.unsupported:
        kinds = ", ".join(sorted({operator.kind for operator in found.unsupported}))
        return f"{found.target} cannot run {kinds}"
    return (
        f"{100 * found.fallback_operators:.1f} % of the operators fall back to the CPU of {found.target}, "
        f"{limit:g} % were allowed"
    )


COMPATIBILITY = Command(
    "compatibility", "where each operator of a model will run on a device, and why", _configure, _run
)
