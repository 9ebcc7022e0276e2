"""``edgecv compile BUNDLE --target ID -o OUT.edgecv``: the artefact, made ready for a device's accelerator."""

from __future__ import annotations

import argparse
from typing import Any

from edgecv_runtime.cli.command import Command, add_json_option
from edgecv_runtime.cli.output import kilobytes, say, say_json
from edgecv_runtime.errors import InputError


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bundle", metavar="BUNDLE", help="a .edgecv bundle of the format that the tool starts from")
    parser.add_argument("--target", required=True, metavar="ID", help="a device from `edgecv targets`")
    parser.add_argument("-o", "--output", required=True, metavar="OUT.edgecv")
    parser.add_argument(
        "--only-compiled",
        action="store_true",
        help="leave out the portable artefact: the bundle is smaller, and runs on the device only",
    )
    parser.add_argument(
        "--calibrate",
        metavar="DIR",
        help="pictures for tools that quantize by themselves (default: those of the parity contract)",
    )
    add_json_option(parser)


def _run(options: argparse.Namespace) -> int:
    from edgecv_export.compilers.bundle import compile_bundle
    from edgecv_runtime.bundle import Bundle
    from edgecv_targets import TargetError, load_target

    try:
        target = load_target(options.target)
    except TargetError as error:
        raise InputError(str(error)) from None
    manifest = compile_bundle(
        options.bundle, target, options.output, only_compiled=options.only_compiled, calibration=options.calibrate
    )
    device = Bundle(options.output).report()["device"]
    if options.json:
        say_json({"bundle": options.output, "manifest": manifest.to_dict(), "device": device})
        return 0
    for line in _shown(device):
        say(line)
    say(f"wrote {options.output}")
    return 0


def _shown(device: dict[str, Any]) -> list[str]:
    checked = device.get("compatibility")
    lines = [f"{device['target']}" + ("" if checked is None else f": {sum(checked['counts'].values())} operators")]
    compiler = device.get("compiler")
    if compiler is not None and "npu_share" in compiler:
        lines += [
            f"  placed      {len(compiler['on_npu'])} on the NPU ({100 * compiler['npu_share']:.1f} %), "
            f"{len(compiler['on_cpu'])} on the CPU; foretold {len(compiler['predicted']['on_cpu'])}",
            f"  SRAM        {kilobytes(compiler['sram_bytes'])}, "
            f"foretold {kilobytes(compiler['predicted']['sram_bytes'])}",
            f"  memory      {kilobytes(compiler['flash_bytes'])} flash, {kilobytes(compiler['dram_bytes'])} DRAM",
            f"  time        {compiler['milliseconds']:.2f} ms as {compiler['tool']} {compiler['version']} estimates",
        ]
    elif compiler is not None:
        made = f"{compiler['tool']}, {kilobytes(compiler['size'])}" if "size" in compiler else compiler["tool"]
        lines.append(f"  compiler    {compiler.get('note', made)}")
    micro = device.get("micro")
    if micro is not None:
        lines += [
            f"  C array     {kilobytes(micro['flash_bytes'])}, arena {kilobytes(micro['arena']['size'])}",
            f"  resolver    {', '.join(micro['operators'])}",
        ]
    return lines


COMPILE = Command("compile", "make a bundle ready for a device's accelerator", _configure, _run)
