"""``edgecv matrix MODEL... -o FOLDER``: models × devices, one bundle for each pair, as a table and a page."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgecv.commands.options import add_model_options, collect_model_options, refuse_model_options
from edgecv_export.commands.labels import read_labels
from edgecv_export.commands.preprocessing import (
    add_preprocessing_options,
    preprocessing_of,
    refuse_preprocessing_options,
)
from edgecv_runtime.cli.command import Command, add_json_option
from edgecv_runtime.cli.output import kilobytes, remark, say, say_json, table
from edgecv_runtime.errors import InputError, MissingFileError, UnsupportedError

if TYPE_CHECKING:
    from edgecv_export.matrix import Matrix, Network, Row

_FILES = (".onnx", ".keras", ".h5")


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "models",
        nargs="+",
        metavar="MODEL[=WEIGHTS]",
        help="a name from `edgecv models`, with its weights if they are not --weights, or a .keras, .h5 or .onnx file",
    )
    parser.add_argument("-o", "--output", required=True, metavar="FOLDER", help="gets a folder a model, and the page")
    parser.add_argument("--targets", metavar="A,B", help="devices of `edgecv targets` (default: all)")
    parser.add_argument("--weights", metavar="FILE|NAME", help="a weight file, imagenet, or a name the model ships")
    parser.add_argument("--task", metavar="T", help="of a file: classification (default) or embedding")
    parser.add_argument("--calibrate", metavar="DIR", help="a folder of typical pictures; int8 needs it")
    parser.add_argument("--eval", metavar="DIR", help="labelled pictures: accuracy before and after")
    parser.add_argument("--labels", metavar="FILE", help="class names, one a line, in the order of the class index")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="processes (default: 1)")
    parser.add_argument("--cluster", action="store_true", help="run on Ray instead: edgecv-export[cluster]")
    parser.add_argument(
        "--round-to-nearest", action="store_true", help="do not learn the rounding of int8 weights: faster, less exact"
    )
    add_model_options(parser)
    add_preprocessing_options(parser)
    add_json_option(parser)


@dataclass(frozen=True)
class Settings:
    """What a command line says of a matrix, besides its models."""

    output: str
    calibrate: str | None = None
    evaluate: str | None = None
    labels: str | None = None
    targets: str | None = None
    jobs: int = 1
    cluster: bool = False
    round_to_nearest: bool = False


def _run(options: argparse.Namespace) -> int:
    settings = Settings(
        options.output,
        options.calibrate,
        options.eval,
        options.labels,
        options.targets,
        options.jobs,
        options.cluster,
        options.round_to_nearest,
    )
    return make_matrix([network_of(options, word) for word in options.models], settings, json=options.json)


def make_matrix(networks: Sequence[Network], settings: Settings, *, json: bool) -> int:
    """Make a matrix, and say what came of it.

    Raises
    ------
    InputError, MissingFileError
        As from `run_matrix`, or settings that exclude each other.
    UnsupportedError
        No device takes any of the models; the page says why.
    """
    from edgecv_export.matrix import on_processes, on_ray, run_matrix
    from edgecv_export.quantize.recipe import Recipe

    if settings.cluster and settings.jobs != 1:
        raise InputError(f"--jobs is for this machine, --cluster for many; received --jobs {settings.jobs} with it")
    for folder in (settings.calibrate, settings.evaluate):
        if folder is not None and not Path(folder).is_dir():
            raise MissingFileError(f"there is no folder of pictures at {folder}")
    targets = settings.targets
    matrix = run_matrix(
        networks,
        settings.output,
        targets=None if targets is None else [name.strip() for name in targets.split(",") if name.strip()],
        calibration=settings.calibrate,
        evaluation=settings.evaluate,
        labels=None if settings.labels is None else read_labels(settings.labels),
        recipe=Recipe(adaround=False) if settings.round_to_nearest else None,
        engine=on_ray() if settings.cluster else on_processes(settings.jobs),
        notify=remark,
    )
    _show(matrix, json)
    if not any(row.made for row in matrix.rows):
        raise UnsupportedError(f"nothing could be made: {matrix.rows[0].note}")
    return 0


def network_of(options: argparse.Namespace, word: str) -> Network:
    """The model that a word of the command line names, checked before anything heavy is imported.

    Raises
    ------
    InputError, MissingFileError
        No such model or file, or an option that it does not have.
    """
    from edgecv.models.registry import get_record
    from edgecv_export.matrix import Network

    name, _, own = word.partition("=")
    path = Path(name)
    if path.suffix.lower() in _FILES:
        refuse_model_options(options, name)
        weights = own or options.weights
        if weights:
            raise InputError(f"{name} holds its own weights; received {weights}")
        if not path.is_file():
            raise MissingFileError(f"there is no file {name}")
        preprocessing = preprocessing_of(options)
        if preprocessing is None and path.suffix.lower() != ".onnx":
            raise InputError(f"what {path.name} expects of a pixel must be given: --mean and --std (0 and 1 for none)")
        return Network(path.stem, str(path), None, {}, preprocessing, options.task)
    record = get_record(name)
    refuse_preprocessing_options(options, record.name)
    if options.task not in (None, record.task):
        raise InputError(f"{record.name} is for {record.task}; received --task {options.task}")
    weights = own or options.weights
    if weights is None:
        remark(f"warning: no weights: {record.name} is exported with random ones")
    return Network(record.name, record.name, weights, collect_model_options(options, record))


def _show(matrix: Matrix, json: bool) -> None:
    if json:
        say_json(matrix.to_dict())
        return
    header = ["model", "target", "status", "as", "size", "time ms", "fits", "accuracy"]
    say(table(header, [_line(row) for row in matrix.rows]))
    made = sum(row.made for row in matrix.rows)
    say(
        f"{made} bundles from {matrix.conversions} conversions in {matrix.folder}; page: {matrix.folder / 'index.html'}"
    )


def _line(row: Row) -> list[str]:
    bound = "≥ " if row.at_least else ""
    return [
        row.model,
        row.target,
        row.status,
        f"{row.format} {row.precision}" if row.format else "–",
        "–" if row.size is None else kilobytes(row.size),
        "–" if row.milliseconds is None else f"{bound}{row.milliseconds:.3g}",
        "–" if row.fits is None else "yes" if row.fits else "no",
        "–" if row.accuracy is None else f"{100 * row.accuracy:.2f} %",
    ]


MATRIX = Command("matrix", "export models for many devices at once, as bundles, a table and a page", _configure, _run)
