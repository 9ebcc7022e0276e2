"""From models and devices to a folder of bundles, a table and a page."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edgecv_export.matrix.engines import Engine, on_processes
from edgecv_export.matrix.network import Network
from edgecv_export.matrix.row import READY, REFUSED, Row
from edgecv_export.matrix.work import Conversion, Converted, Finish, convert, finish
from edgecv_export.quantize.recipe import Recipe
from edgecv_export.target_plan import plan_for
from edgecv_runtime.bundle import SUFFIX, write_atomically
from edgecv_runtime.errors import InputError, OutputError, UnsupportedError
from edgecv_targets import Target, TargetError, list_targets, load_target

TABLE, PAGE = "matrix.json", "index.html"

_Group = tuple[str, str, str]  # model, format, precision


@dataclass(frozen=True)
class Matrix:
    """Every model on every device.

    Attributes
    ----------
    rows : tuple of Row
        By model, then by device, in the order in which both were given.
    conversions : int
        How many were made for them.
    folder : Path
        Holds ``MODEL/TARGET.edgecv``, ``matrix.json`` and ``index.html``.
    """

    rows: tuple[Row, ...]
    conversions: int
    folder: Path

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {"conversions": self.conversions, "rows": [row.to_dict() for row in self.rows]}


def run_matrix(
    networks: Sequence[Network],
    folder: str | Path,
    *,
    targets: Sequence[str] | None = None,
    calibration: Any = None,
    evaluation: str | Path | None = None,
    labels: Sequence[str] | None = None,
    recipe: Recipe | None = None,
    engine: Engine[Any, Any] | None = None,
    notify: Callable[[str], None] | None = None,
) -> Matrix:
    """Export models for devices, and write what came of it.

    Each (model, format, precision) is converted and proven once, then made ready for every device that takes it.

    Parameters
    ----------
    networks : sequence of Network
    folder : str or Path
        Made where it is missing. Bundles of the same names are replaced; others stay.
    targets : sequence of str, optional
        Devices; default: all.
    calibration, evaluation, labels, recipe
        As `edgecv_export.exporter.export` takes them; `recipe` is for the integer precisions.
    engine : Engine, optional
        Default: in this process.
    notify : callable, optional
        Is given a line for each conversion and each device as it ends.

    Returns
    -------
    Matrix

    Raises
    ------
    InputError
        No model, two of one name, or an unknown device.
    OutputError
        The folder cannot be made or written.

    Examples
    --------
    >>> run_matrix([Network("lenet5", "lenet5", weights="digits")], "out").rows  # doctest: +SKIP
    """
    devices = _devices(targets)
    if not devices:
        raise InputError("a matrix needs at least one device; received none")
    _check_names(networks)
    folder, engine, tell = Path(folder), engine or on_processes(), notify or (lambda line: None)
    try:
        for network in networks:
            (folder / network.name).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot make the folder {folder}: {error.strerror or error}") from None
    rows = [_planned(network, device, calibration is not None) for network in networks for device in devices]
    groups = list(dict.fromkeys(group for row in rows if (group := _group(row)) is not None))
    named = {network.name: network for network in networks}
    with tempfile.TemporaryDirectory(dir=folder, prefix=".portable-") as name:
        portable = {group: Path(name) / f"{'-'.join(group)}{SUFFIX}" for group in groups}
        jobs = [
            Conversion(
                named[group[0]],
                group[1],
                group[2],
                portable[group],
                calibration,
                None if evaluation is None else str(evaluation),
                None if labels is None else tuple(labels),
                recipe if group[2] in ("int8", "int16x8") else None,
            )
            for group in groups
        ]
        converted: dict[_Group, Converted] = {}
        for group, done in zip(groups, engine(convert, jobs), strict=True):
            converted[group] = done
            tell(f"{group[0]}: {group[1]} {group[2]} {done.status}{': ' if done.note else ''}{done.note}")
        rows = [_after(row, converted) for row in rows]
        waiting = [index for index, row in enumerate(rows) if row.status == READY]
        endings = [
            replace(_finish_job(rows[index], folder, portable, converted), calibration=calibration) for index in waiting
        ]
        for index, row in zip(waiting, engine(finish, endings), strict=True):
            rows[index] = row
            tell(f"{row.model}: {row.target} {row.status}{': ' if row.note else ''}{row.note}")
    matrix = Matrix(tuple(rows), len(groups), folder)
    from edgecv_export.matrix.page import render_matrix

    write_atomically(folder / TABLE, json.dumps(matrix.to_dict(), indent=2).encode())
    write_atomically(folder / PAGE, render_matrix(matrix.rows, matrix.conversions).encode())
    return matrix


def _devices(targets: Sequence[str] | None) -> list[Target]:
    try:
        return [load_target(name) for name in dict.fromkeys(list_targets() if targets is None else targets)]
    except TargetError as error:
        raise InputError(str(error)) from None


def _check_names(networks: Sequence[Network]) -> None:
    names = [network.name for network in networks]
    if not names:
        raise InputError("a matrix needs at least one model; received none")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(f"each model of a matrix needs a name of its own; received {twice[0]} twice")
    wrong = [name for name in names if name != Path(name).name or name in ("", ".", "..")]
    if wrong:
        raise InputError(f"a model's name is that of its folder; received {wrong[0]!r}")


def _planned(network: Network, device: Target, calibrated: bool) -> Row:
    """What the device takes, or why nothing can be made for it."""
    row = Row(network.name, device.id, device.name, device.kind, READY)
    convertible = ("onnx", "openvino") if network.is_onnx else ("tflite", "onnx", "openvino")
    try:
        plan = plan_for(device, calibrated=calibrated, convertible=convertible).plan
    except UnsupportedError as error:
        return replace(row, status=REFUSED, note=str(error))
    return replace(row, format=plan.format, precision=plan.precision)


def _group(row: Row) -> _Group | None:
    if row.status != READY or row.format is None or row.precision is None:
        return None
    return row.model, row.format, row.precision


def _after(row: Row, converted: dict[_Group, Converted]) -> Row:
    group = _group(row)
    if group is None or converted[group].status == READY:
        return row
    return replace(row, status=converted[group].status, note=converted[group].note)


def _finish_job(row: Row, folder: Path, portable: dict[_Group, Path], converted: dict[_Group, Converted]) -> Finish:
    group = _group(row)
    if group is None:
        raise InputError(f"nothing was converted for {row.model} on {row.target}")
    twin = (group[0], "tflite", group[2])
    known = twin in converted and converted[twin].status == READY
    output = folder / row.model / f"{row.target}{SUFFIX}"
    return Finish(row, portable[group], output, portable[twin] if known else None)
