"""``edgecv targets``: the devices that are described, and what is known of one."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import Any

from edgecv_runtime.cli.command import Command, add_json_option
from edgecv_runtime.cli.output import say, say_json, table
from edgecv_runtime.errors import InputError
from edgecv_targets import Figure, Target, TargetError, list_targets, load_target

_UNITS = (("G", 1e9), ("M", 1e6), ("k", 1e3))


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("target", metavar="ID", nargs="?", help="show this one, with its sources")
    add_json_option(parser)


def _run(options: argparse.Namespace) -> int:
    if options.target is None:
        found = [load_target(identifier) for identifier in list_targets()]
        if options.json:
            say_json([asdict(target) for target in found])
        else:
            say(table(("target", "device", "export as", "accelerator", "compiler"), [_row(target) for target in found]))
        return 0
    try:
        target = load_target(options.target)
    except TargetError as error:
        raise InputError(str(error)) from None
    if options.json:
        say_json(asdict(target))
    else:
        for line in _shown(target):
            say(line)
    return 0


def _row(target: Target) -> tuple[str, ...]:
    return (
        target.id,
        target.name,
        f"{target.formats[0]} {target.precisions[0]}",
        "" if target.accelerator is None else target.accelerator.name,
        "" if target.tool is None else target.tool.name + ("" if target.tool.available else " (not public)"),
    )


def _shown(target: Target) -> list[str]:
    """What is known of a target, in lines for people; each figure with the key of its source."""
    cpu, accelerator, tool = target.cpu, target.accelerator, target.tool
    lines = [f"{target.id}: {target.name}"]
    lines += _entry("processor", f"{cpu.name}, {cpu.architecture}", _figure(cpu.clock_hz, "Hz"), cpu.source)
    if cpu.features:
        lines += _entry("features", ", ".join(cpu.features))
    for label, figure, unit in (
        ("memory", target.memory_bytes, "B"),
        ("bandwidth", target.memory_bandwidth, "B/s"),
        ("SRAM", target.sram_bytes, "B"),
        ("flash", target.flash_bytes, "B"),
    ):
        if figure is not None:
            lines += _entry(label, _figure(figure, unit))
    if accelerator is not None:
        peak = _figure(accelerator.peak_ops, f"op/s at most in {accelerator.precision}")
        lines += _entry("accelerator", accelerator.name, peak, accelerator.source)
        lines += _entry("operators", accelerator.table or "no table is published: its compiler decides")
    lines += _entry("export as", f"{', '.join(target.formats)}; {', '.join(target.precisions)}")
    backends = [
        f"{backend.name} on {backend.device}" + (f" ({backend.delegate})" if backend.delegate else "")
        for backend in target.backends
    ]
    lines += _entry("back ends", ", ".join(backends))
    if tool is not None:
        lines += _entry(
            "compiler", tool.name, "run by edgecv" if tool.available else "prepared for, run where it is found"
        )
        lines += _entry("", tool.install) + _entry("", tool.command)
    lines += _entry("install", target.install) + _entry("start", target.start)
    for latency in target.latencies:
        threads = "" if latency.threads is None else f", {latency.threads} thread{'s' if latency.threads > 1 else ''}"
        where = f"{latency.model} {latency.precision} on the {latency.where}{threads}"
        lines += _entry("published", f"{latency.milliseconds:g} ms, {where} [{latency.source}]", latency.note)
    for note in target.notes:
        lines += _entry("note", note)
    if target.not_published:
        lines += _entry("no figure", ", ".join(target.not_published))
    return lines + [line for key, where in target.sources.items() for line in _entry(f"[{key}]", where)]


def _entry(label: str, *parts: Any) -> list[str]:
    shown = ", ".join(str(part) for part in parts if part)
    return [f"  {label:<12} {shown}"]


def _figure(figure: Figure | None, unit: str) -> str:
    if figure is None:
        return ""
    for prefix, size in _UNITS:
        if figure.value >= size:
            return f"{figure.value / size:g} {prefix}{unit} [{figure.source}]"
    return f"{figure.value:g} {unit} [{figure.source}]"


TARGETS = Command("targets", "the devices that are described, and what is known of one", _configure, _run)
