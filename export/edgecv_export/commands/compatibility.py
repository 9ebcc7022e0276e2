"""``edgecv compatibility BUNDLE|FILE|MODEL --target ID``: where each operator will run, before anything is made."""

from __future__ import annotations

import argparse
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgecv.commands.options import add_model_options, collect_model_options, refuse_model_options
from edgecv.models.registry import get_record
from edgecv_runtime.cli.command import Command, add_json_option
from edgecv_runtime.cli.output import kilobytes, remark, say, say_json
from edgecv_runtime.errors import InputError, UnsupportedError

if TYPE_CHECKING:
    from edgecv_export.compatibility import Compatibility
    from edgecv_export.fit import Fit
    from edgecv_export.memory import Memory
    from edgecv_targets import Accelerator, Target

_WIDTH = 100
CHECK_FAILED = 1


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "model",
        metavar="BUNDLE|FILE|MODEL",
        help="a .edgecv bundle, a .tflite file, or a name from `edgecv models`, converted here without care for its "
        "answers",
    )
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
        metavar="OUT",
        help="make the changes that are safe and help there (static shapes with batch 1, integers at both ends, "
        "operators split, fused, moved or replaced), prove each against the float model, check the result and write "
        "OUT.tflite, or of a bundle OUT.edgecv",
    )
    parser.add_argument("--all", action="store_true", help="every operator, not only those that fall back")
    add_model_options(parser)
    add_json_option(parser)


def _run(options: argparse.Namespace) -> int:
    from edgecv_export.compatibility import check
    from edgecv_export.compatibility.fixes import offer_fixes
    from edgecv_export.fit import fit
    from edgecv_export.memory import measure
    from edgecv_export.tflite_graph import read_graph
    from edgecv_targets import TargetError, load_accelerator, load_target

    limit = options.max_fallback
    if limit is not None and not 0 <= limit <= 100:
        raise InputError(f"--max-fallback must be a percentage, 0 to 100; received {limit:g}")
    try:
        target = load_target(options.target)
        host = None if options.host is None else load_target(options.host)
    except TargetError as error:
        raise InputError(str(error)) from None
    table = None if target.accelerator is None else target.accelerator.table
    accelerator = None if table is None else load_accelerator(table)
    content = _content(options, target)
    graph = read_graph(content)  # refuses what is damaged, before anything is changed
    if options.fix is None:
        offered = offer_fixes(content, accelerator)
    else:
        offered = ()
        graph = read_graph(_fix(content, Path(options.model), Path(options.fix), accelerator))
    found, memory, fitting = check(graph, target, host), measure(graph), fit(graph, target)
    met = limit is None or (found.meets(limit) and fitting.fits is not False)
    if options.json:
        say_json(
            {
                **found.to_dict(),
                "memory": {"peak_bytes": memory.peak_bytes, "arena_bytes": memory.arena_bytes},
                "fit": fitting.to_dict(),
                "fixes_offered": list(offered),
                "max_fallback": limit,
                "met": met,
            }
        )
    else:
        for line in _shown(found, memory, fitting, options.all):
            say(line)
        if offered:
            say("\n--fix OUT.tflite would")
            for text in offered:
                say(f"  {text}")
    if not met:
        remark(f"edgecv compatibility: {_failure(found, fitting, limit)}")
    return 0 if met else CHECK_FAILED


def _fix(content: bytes, source: Path, path: Path, accelerator: Accelerator | None) -> bytes:
    """The file with the safe changes, written where it was asked for."""
    from edgecv_export.compatibility.fixed_bundle import write_fixed_bundle
    from edgecv_export.compatibility.fixes import apply_fixes
    from edgecv_runtime.bundle import SUFFIX, write_atomically

    if path.suffix not in (".tflite", SUFFIX) or (path.suffix == SUFFIX and source.suffix != SUFFIX):
        raise InputError(
            f"the fixed model's name must end in .tflite, or of a bundle in {SUFFIX}; received {path.name!r}"
        )
    if path.suffix == SUFFIX:
        fixed = write_fixed_bundle(source, path, accelerator)
    else:
        fixed = apply_fixes(content, accelerator)
        write_atomically(path, fixed.content)
    for text in fixed.done or ("nothing to fix",):
        remark(f"  {text}")
    for text in fixed.refused:
        remark(f"  not done: {text}")
    return fixed.content


def _content(options: argparse.Namespace, target: Target) -> bytes:
    """The TFLite file in a bundle, the file itself, or that of a model by its name."""
    from edgecv_runtime.artefact import Artefact
    from edgecv_runtime.bundle import SUFFIX, Bundle

    path = Path(options.model)
    if not path.suffix:
        from edgecv_export.compatibility.before_export import drafted

        record = get_record(options.model)
        return drafted(record.name, collect_model_options(options, record), target)
    refuse_model_options(options, options.model)
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
