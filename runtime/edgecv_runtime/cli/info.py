"""``edgecv info BUNDLE``: what a bundle holds, without loading a back end."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgecv_runtime.cli.command import Command, add_json_option
from edgecv_runtime.cli.output import kilobytes, say, say_json
from edgecv_runtime.manifest import InputSpec, TensorSpec

if TYPE_CHECKING:
    from edgecv_runtime.bundle import Bundle


def print_bundle_info(path: str | Path, as_json: bool) -> int:
    """Print a bundle's manifest and report; returns the exit status."""
    from edgecv_runtime import cpu
    from edgecv_runtime.bundle import Bundle

    bundle = Bundle(path)
    manifest, report = bundle.manifest, bundle.report()
    provenance = cpu.provenance(manifest.proven_on)
    kernels = _kernels_here(bundle)
    several = _sizes(bundle)
    if as_json:
        here = {"cpu": provenance.here, "cpu_differences": list(provenance.differences), **kernels}
        say_json(
            {"manifest": manifest.to_dict(), "report": report, "size": bundle.size, "sizes": several, "here": here}
        )
        return 0
    _say_model(bundle, several)
    for key in ("parameters", "macs"):
        if isinstance(report.get(key), int):
            say(f"  {key:<10} {report[key]:,}")
    versions = [f"{name} {version}" for name, version in manifest.made_with.items() if name != "cpu"]
    say(f"  made with  {', '.join(versions)}")
    say(f"  CPU        {provenance}")
    if kernels["kernels"] is not None:
        found = " (found by edgecv verify)" if kernels["remembered"] else ""
        say(f"  kernels    {kernels['kernels']} here, on {kernels['backend']}{found}")
    return 0


def _say_model(bundle: Bundle, several: Sequence[str]) -> None:
    """What the manifest says of the model, its inputs and its outputs."""
    manifest = bundle.manifest
    architecture = manifest.architecture.get("name", "foreign")
    options = ", ".join(f"{key} {value}" for key, value in manifest.architecture.get("options", {}).items())
    say(f"{manifest.name}: {manifest.task}, {architecture}{f' ({options})' if options else ''}")
    sizes = f"{kilobytes(bundle.artefact().size)} (bundle {kilobytes(bundle.size)})"
    say(f"  artefact   {manifest.format} {manifest.precision}, {sizes}")
    if manifest.float_layers:
        say(f"  precision  {manifest.described_precision(8)}")
    for spec in manifest.inputs:
        say(f"  input      {_tensor(spec)}, {_road(spec)}")
    if len(several) > 1:
        say(f"  sizes      {', '.join(several)}")
    for output in manifest.outputs:
        say(f"  output     {_tensor(output)}")
    parameters = ", ".join(f"{key} {value}" for key, value in manifest.decoder.parameters.items())
    say(f"  decoder    {manifest.decoder.name}{f' ({parameters})' if parameters else ''}")
    if manifest.labels is not None:
        shown = ", ".join(manifest.labels[:5])
        say(f"  labels     {len(manifest.labels)}: {shown}{', …' if len(manifest.labels) > 5 else ''}")


def _sizes(bundle: Bundle) -> list[str]:
    """The input sizes that it holds, the largest first."""
    from edgecv_runtime.sizes import size_text, sizes_of

    return [size_text(size) for size in sizes_of(bundle)]


def _kernels_here(bundle: Bundle) -> dict[str, Any]:
    """Which kernels `load` would take here, on the preferred back end; no library is imported."""
    from edgecv_runtime.backends.registry import choose_driver
    from edgecv_runtime.errors import BackendError, MissingPackageError
    from edgecv_runtime.kernels import recall

    try:
        driver = choose_driver(bundle.manifest.format, None)
    except (MissingPackageError, BackendError):
        return {"backend": None, "kernels": None, "remembered": False}
    remembered = recall(bundle.artefact(), driver)
    kernels = remembered or driver.auto_kernels(bundle.manifest)
    return {"backend": driver.name, "kernels": kernels, "remembered": remembered is not None}


def _tensor(spec: TensorSpec) -> str:
    shape = "×".join("?" if size is None else str(size) for size in spec.shape)
    quantization = spec.quantization
    scale = "" if quantization is None else f" (scale {quantization.scale:.6g}, zero point {quantization.zero_point})"
    return f"{spec.name} {shape} {spec.dtype}{scale}"


def _road(spec: InputSpec) -> str:
    normalization = spec.normalization
    units = "in graph" if normalization is None else f"mean {list(normalization.mean)} std {list(normalization.std)}"
    if not spec.is_image:
        return f"{spec.layout}, " + ("values as they are" if normalization is None else f"normalisation {units}")
    rule = spec.resize
    how = f"{rule.mode} {rule.crop_fraction:g}" if rule.mode == "crop" else rule.mode
    return f"{spec.color} {spec.layout}, resize {how} ({rule.interpolation}), normalisation {units}"


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bundle", metavar="BUNDLE")
    add_json_option(parser)


def _run(options: argparse.Namespace) -> int:
    return print_bundle_info(options.bundle, options.json)


INFO = Command("info", "what a bundle holds", _configure, _run)
