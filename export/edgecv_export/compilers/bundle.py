"""A bundle for a device: the artefact compiled for its accelerator, with what the compiler says beside what was told.

The portable artefact stays the bundle's own by default: the parity contract is replayed on it everywhere, and the
compiled file lies beside it as a member of its own. Where flash is short, the compiled file takes its place; such a
bundle runs on the device only, which its manifest says.
"""

from __future__ import annotations

import json
import shlex
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from edgecv_export.compatibility import check
from edgecv_export.compilers import vela
from edgecv_export.compilers.kit import Kit, Tool, run_tool, words_of
from edgecv_export.compilers.makers import Maker, maker_of
from edgecv_export.compilers.vela_memory import predict_sram
from edgecv_export.memory import measure
from edgecv_export.metadata import embed
from edgecv_export.micro import micro_model
from edgecv_export.tflite_graph import Graph, read_graph
from edgecv_runtime.artefact import MODEL_MEMBERS
from edgecv_runtime.bundle import GOLDEN_MEMBER, REPORT_MEMBER, Bundle, check_output_path, write_bundle
from edgecv_runtime.compiled import COMPILED_MEMBER
from edgecv_runtime.errors import InputError, UnsupportedError
from edgecv_runtime.manifest import INTEGER_PRECISIONS, Manifest
from edgecv_targets import Target

_ARRAY_NAME = "model_data"
_TIMEOUT = 3600.0  # seconds


def compile_bundle(
    source: str | Path,
    target: Target,
    output: str | Path,
    *,
    only_compiled: bool = False,
    calibration: Any = None,
    report: Mapping[str, Any] | None = None,
) -> Manifest:
    """Write a bundle that is made ready for a device.

    Parameters
    ----------
    source : str or Path
        A bundle that holds an artefact of the format that the device's tool starts from.
    target : Target
    output : str or Path
    only_compiled : bool
        Whether the compiled file takes the portable artefact's place; of TFLite only.
    calibration : folder or sequence of pictures, optional
        For tools that quantize by themselves; default: the pictures of the parity contract.
    report : mapping, optional
        Takes the place of the bundle's report, to which ``"device"`` is added.

    Returns
    -------
    Manifest
        As written. The report's ``"device"`` says where each operator runs, what memory it takes, what was compiled
        with which figures, or that it was prepared and not compiled here.

    Raises
    ------
    UnsupportedError
        The artefact is not one that the device's compiler takes.
    BackendError
        The compiler refuses it.
    InputError, MissingFileError, BundleError, OutputError, MissingPackageError
        As from reading and writing a bundle, and from the compiler.
    """
    output = Path(output)
    check_output_path(output)
    bundle = Bundle(source)
    _refuse(bundle.manifest, target)
    manifest = replace(bundle.manifest, target=target.id)
    artefact = embed(bundle.artefact(), manifest)  # `verify` compares both
    said = bundle.report() if report is None else dict(report)
    prepare = maker_of(target) if manifest.format == "onnx" else None
    if prepare is not None:
        if only_compiled:
            raise InputError(f"{target.name} is compiled for beside the portable artefact: leave out --only-compiled")
        kit = _prepared(prepare, bundle, target, calibration)
        said["device"] = {"target": target.id, "compiler": dict(kit.said)}
        members = _members(bundle) | artefact.members() | dict(kit.members)
        return write_bundle(output, manifest, members | {REPORT_MEMBER: json.dumps(said, indent=2).encode()})
    graph = read_graph(artefact.model)
    device, compiled = _compile(artefact.model, graph, target)
    if only_compiled and compiled is None:
        raise InputError(f"nothing was compiled for {target.name}: leave out --only-compiled")
    members = _members(bundle) | artefact.members()
    compiled_for = None
    if compiled is not None and only_compiled:
        members[MODEL_MEMBERS["tflite"]] = compiled
        members.pop(GOLDEN_MEMBER, None)  # it could be replayed on the device only, with another rounding
        compiled_for = device["compiler"]["configuration"]
    elif compiled is not None:
        members[COMPILED_MEMBER] = compiled
    if any(backend.name == "tflite-micro" for backend in target.backends):
        array = micro_model(compiled or artefact.model, _ARRAY_NAME)
        members |= array.members(_ARRAY_NAME)
        device["micro"] = array.to_dict()
    members[REPORT_MEMBER] = json.dumps({**said, "device": device}, indent=2).encode()
    return write_bundle(output, replace(manifest, compiled_for=compiled_for), members)


def _prepared(prepare: Maker, bundle: Bundle, target: Target, calibration: Any) -> Kit:
    """The kit for a tool; without members where the tool has no use for such a model, which then runs on the cores."""
    try:
        return prepare(bundle, target, calibration)
    except UnsupportedError as error:
        return Kit({}, words_of(target) | {"compiled": False, "note": f"not prepared, it runs on the cores: {error}"})


def _members(bundle: Bundle) -> dict[str, bytes]:
    names = bundle.manifest.members
    return {name: content for name in names if (content := bundle.member(name)) is not None}


def _refuse(manifest: Manifest, target: Target) -> None:
    if manifest.compiled_for is not None:
        raise UnsupportedError(f"this bundle is compiled already, for {manifest.compiled_for}: take the portable one")
    wanted = "tflite" if target.tool is None else target.tool.input_format
    if manifest.format != wanted:
        raise UnsupportedError(
            f"{target.name} starts from {wanted}: export with --format {wanted}; this bundle holds {manifest.format}"
        )
    integer = target.tool is not None and set(target.precisions) <= set(INTEGER_PRECISIONS)
    if integer and manifest.precision not in INTEGER_PRECISIONS:
        raise UnsupportedError(
            f"{target.name} computes in {' or '.join(target.precisions)}; this bundle is {manifest.precision}: "
            "export with --precision int8 --calibrate DIR"
        )


def _compile(content: bytes, graph: Graph, target: Target) -> tuple[dict[str, Any], bytes | None]:
    """What the report says of the device, and the compiled file where there is one."""
    found, memory = check(graph, target), measure(graph)
    device: dict[str, Any] = {
        "target": target.id,
        "compatibility": found.to_dict(),
        "memory": {"peak_bytes": memory.peak_bytes, "arena_bytes": memory.arena_bytes},
    }
    tool, use = target.tool, target.accelerator
    if tool is None or use is None:
        return device, None
    if tool.name == "vela" and use.configuration is not None:
        options = vela.Options(use.configuration, use.system_config, use.memory_mode)
        fallback = [operator.index for operator in found.operators if operator.where != "accelerator"]
        predicted = {"on_cpu": fallback, "sram_bytes": predict_sram(graph, options, fallback)}
        compiled = vela.compile_model(content, options)
        device["compiler"] = {**compiled.to_dict(), "configuration": use.configuration, "predicted": predicted}
        return device, compiled.model
    device["compiler"], model = _run_tool(content, target)
    return device, model


def _run_tool(content: bytes, target: Target) -> tuple[dict[str, Any], bytes | None]:
    """Run a vendor's compiler where it is found; else say that it was not run."""
    said = words_of(target)
    name, command = said["tool"], said["command"]
    if shutil.which(name) is None:
        return {**said, "compiled": False, "note": f"prepared, not compiled here: no {name} on PATH"}, None
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "model.tflite").write_bytes(content)
        (folder / "out").mkdir()
        words = tuple(word.format(model="model.tflite", output="out") for word in shlex.split(command))
        tool = Tool(name, words, "out/*.tflite", _TIMEOUT, f"{target.name} needs {name}")
        log = run_tool(tool, folder)
        made = min(folder.glob(tool.output))
        return {**said, "compiled": True, "log": log}, made.read_bytes()
