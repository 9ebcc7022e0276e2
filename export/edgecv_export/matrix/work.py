"""The two steps of a matrix, each a function of plain data that runs in any process: convert, and finish for a device.

Devices that take the same format in the same precision share one conversion, which is where the time goes.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edgecv_export.compatibility import check
from edgecv_export.figure import figure
from edgecv_export.fit import Fit, fit
from edgecv_export.matrix.network import Network
from edgecv_export.matrix.row import COMPILED, FAILED, PREPARED, READY, REFUSED, Row
from edgecv_export.metadata import embed
from edgecv_export.quantize.recipe import Recipe
from edgecv_export.target_plan import plan_for
from edgecv_export.tflite_graph import Graph, read_graph
from edgecv_runtime.bundle import REPORT_MEMBER, Bundle, write_bundle
from edgecv_runtime.cli.output import kilobytes
from edgecv_runtime.errors import EdgecvError
from edgecv_targets import Target, load_target

_REASON = 300  # characters of a tool's own words


@dataclass(frozen=True)
class Conversion:
    """A model in one format and precision.

    Attributes
    ----------
    network : Network
    format, precision : str
    path : Path
        Where the portable bundle goes.
    calibration, evaluation : optional
        As `edgecv_export.exporter.export` takes them.
    labels : tuple of str or None
    recipe : Recipe or None
        Of integer precisions.
    """

    network: Network
    format: str
    precision: str
    path: Path
    calibration: Any = None
    evaluation: str | None = None
    labels: tuple[str, ...] | None = None
    recipe: Recipe | None = None


@dataclass(frozen=True)
class Converted:
    """How a conversion ended: ``status`` is ready, refused or failed, and `note` says why."""

    status: str
    note: str = ""


@dataclass(frozen=True)
class Finish:
    """A portable bundle, and the device it is to be made ready for.

    Attributes
    ----------
    row : Row
        What is known so far.
    portable : Path
    output : Path
    estimate_from : Path or None
        Bundle of the same model in TFLite and the same precision, whose graph stands in where `portable` is in another
        format.
    calibration : optional
        For tools that quantize by themselves.
    """

    row: Row
    portable: Path
    output: Path
    estimate_from: Path | None
    calibration: Any = None


def convert(job: Conversion) -> Converted:
    """Convert and prove a model; what goes wrong is an answer."""
    from edgecv_export.exporter import export

    try:
        model = job.network.build()
        export(
            model,
            job.path,
            format=job.format,
            precision=job.precision,
            calibration=job.calibration,
            evaluation=job.evaluation,
            labels=job.labels,
            recipe=job.recipe,
            preprocessing=job.network.preprocessing,
            task=job.network.task,
            name=job.network.name,
        )
    except EdgecvError as error:
        return Converted(REFUSED, str(error))
    except Exception as error:  # noqa: BLE001  a converter's own trouble is a row, and the others go on
        return Converted(FAILED, _words(error))
    return Converted(READY)


def finish(job: Finish) -> Row:
    """Make a portable bundle ready for a device, and say what is known of it there; what goes wrong is an answer."""
    try:
        return _finish(job)
    except EdgecvError as error:
        return replace(job.row, status=REFUSED, note=str(error))
    except Exception as error:  # noqa: BLE001  a compiler's own trouble is a row, and the others go on
        return replace(job.row, status=FAILED, note=_words(error))


def _finish(job: Finish) -> Row:
    target = load_target(job.row.target)
    portable = Bundle(job.portable)
    manifest = portable.manifest
    plan = plan_for(
        target,
        calibrated=True,
        convertible=(manifest.format,),
        format=manifest.format,
        precision=manifest.precision,
    )
    report = {**portable.report(), "target": plan.to_dict()}
    row = _measured(job.row, report)
    own = manifest.format == "tflite"
    source = job.portable if own else job.estimate_from
    if source is not None:
        row = _estimated(row, target, read_graph(Bundle(source).artefact().model), own)
    if plan.compiles:
        from edgecv_export.compilers.bundle import compile_bundle

        compile_bundle(job.portable, target, job.output, calibration=job.calibration, report=report)
    else:
        _write(portable, target, report, job.output)
    made = Bundle(job.output)
    row = replace(row, status=READY, size=made.artefact().size)
    if plan.compiles:
        row = _compiled(row, made.report()["device"].get("compiler"))
    return replace(row, bundle=str(Path(job.output.parent.name) / job.output.name))


def _write(portable: Bundle, target: Target, report: dict[str, Any], output: Path) -> None:
    """The portable bundle under the device's name."""
    manifest = replace(portable.manifest, target=target.id)
    artefact = embed(portable.artefact(), manifest)  # `verify` compares both
    names = manifest.members
    members = {name: content for name in names if (content := portable.member(name)) is not None}
    members |= artefact.members() | {REPORT_MEMBER: json.dumps(report, indent=2).encode()}
    write_bundle(output, manifest, members)


def _measured(row: Row, report: dict[str, Any]) -> Row:
    accuracy = report.get("accuracy")
    if accuracy is None:
        return row
    after = accuracy["artefact"]
    shown = figure(after)
    return replace(
        row,
        metric=shown.name,
        accuracy=after[shown.key],
        float_accuracy=accuracy["float"][shown.key],
        images=int(after["n"]),
    )


def _estimated(row: Row, target: Target, graph: Graph, own: bool) -> Row:
    """Memory and time, and from the artefact's own graph the placement."""
    found, needs = check(graph, target), fit(graph, target)
    row = replace(
        row,
        memory_bytes=needs.memory_bytes,
        memory_there=needs.memory_there,
        storage_bytes=needs.storage_bytes,
        storage_there=needs.storage_there,
        fits=needs.fits,
        note=found.note,
    )
    if needs.fits is False:
        row = replace(row, note=_too_large(needs))
    # Without an operator table nobody knows what the accelerator takes: the CPU's time would mislead.
    if found.time is not None and (target.accelerator is None or found.table is not None):
        row = replace(
            row,
            milliseconds=1e3 * found.time.seconds,
            at_least=found.time.lower_bound,
            basis=found.time.basis + ("" if own else ", from the TFLite graph"),
        )
    if own and found.table is not None:
        row = replace(row, on_accelerator=found.accelerated, fallback_macs=found.fallback_macs)
    if found.unsupported:
        kinds = ", ".join(sorted({operator.kind for operator in found.unsupported}))
        row = replace(row, note=f"{target.name} cannot run {kinds}")
    return row


def _too_large(needs: Fit) -> str:
    """What does not fit, in words."""
    pairs = (
        ("memory", needs.memory_bytes, needs.memory_there),
        ("flash", needs.storage_bytes, needs.storage_there),
    )
    over = [
        f"{kilobytes(wanted)} of {what} needed, {kilobytes(there)} there"
        for what, wanted, there in pairs
        if there is not None and wanted > there
    ]
    return f"does not fit: {'; '.join(over)}"


def _compiled(row: Row, said: dict[str, Any] | None) -> Row:
    """With what a compiler said; it knows the file's size, and Vela the time, better than any estimate."""
    if said is None:
        return replace(row, status=READY)
    if said.get("compiled") is False:
        return replace(row, status=PREPARED, note=str(said.get("note", "")))
    row = replace(row, status=COMPILED, size=said.get("size", row.size))
    if said.get("tool") == "vela":
        row = replace(
            row,
            on_accelerator=float(said["npu_share"]),
            milliseconds=float(said["milliseconds"]),
            at_least=False,
            basis="Vela's own estimate at the system configuration's clock",
        )
    return row


def _words(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0]}"[:_REASON]
