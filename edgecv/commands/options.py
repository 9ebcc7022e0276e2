"""Model options on the command line, generated from the records."""

from __future__ import annotations

import argparse
from typing import Any

from edgecv.models.registry import ModelRecord, Option, records
from edgecv_runtime.errors import InputError


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """Add every option of every model, ``--input-size``, ``--input-depth``, ``--input-channels`` and ``--classes``.

    Which model is meant is known only after parsing: `collect_model_options` refuses what it does not have.
    """
    group = parser.add_argument_group("model options")
    group.add_argument(
        "--input-size",
        type=image_size,
        default=None,
        metavar="N|HxW",
        help="input height and width in pixels, or length of a signal (default: the model's own)",
    )
    group.add_argument("--input-depth", type=int, metavar="N", help="of a volume or clip (default: the model's own)")
    group.add_argument(
        "--input-channels", type=int, metavar="N", help="of signals and volumes (default: the model's own)"
    )
    group.add_argument(
        "--classes", type=int, default=None, metavar="N", help="number of classes (default: the model's own)"
    )
    for name, owners in _by_name().items():
        option = owners[0][1]
        group.add_argument(
            f"--{name.replace('_', '-')}",
            dest=_destination(name),
            type=option.type,
            default=None,
            metavar={int: "N", float: "X", str: "WORD"}[option.type],
            help=_help(owners).replace("%", "%%"),
        )


def collect_model_options(args: argparse.Namespace, record: ModelRecord) -> dict[str, Any]:
    """The keywords for `create_model` that were given on the command line.

    Parameters
    ----------
    args : argparse.Namespace
        Of a parser that `add_model_options` has prepared.
    record : ModelRecord
        Of the model that was named.

    Returns
    -------
    dict
        The options given, checked; ``input_shape`` and ``classes`` where given.

    Raises
    ------
    InputError
        An option that this model does not have, or a value out of bounds.

    Examples
    --------
    >>> parser = argparse.ArgumentParser()
    >>> add_model_options(parser)
    >>> from edgecv.models.registry import get_record
    >>> collect_model_options(parser.parse_args(["--alpha", "0.25", "--input-size", "160"]), get_record("mobilenet_v1"))
    {'alpha': 0.25, 'input_shape': (160, 160, 3)}
    """
    given = {name: value for name in _by_name() if (value := getattr(args, _destination(name))) is not None}
    checked = record.check_options(given)
    chosen: dict[str, Any] = {name: checked[name] for name in given}
    if any(value is not None for value in (args.input_size, args.input_depth, args.input_channels)):
        chosen["input_shape"] = _input_shape(args, record)
    if args.classes is not None:
        if not record.classes:
            raise InputError(
                f"{record.name} ends in no classes (task {record.task}); received --classes {args.classes}"
            )
        chosen["classes"] = _at_least(1, args.classes, "classes", record)
    return chosen


def refuse_model_options(args: argparse.Namespace, what: str) -> None:
    """Refuse every model option: for a bundle or a foreign file, whose model is built already."""
    given = [name for name in _by_name() if getattr(args, _destination(name)) is not None]
    given += [
        name for name in ("input_size", "input_depth", "input_channels", "classes") if getattr(args, name) is not None
    ]
    if given:
        flags = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        raise InputError(f"{what} is built already: {flags} cannot change it")


def _input_shape(args: argparse.Namespace, record: ModelRecord) -> tuple[int, ...]:
    """The record's input shape with what ``--input-size``, ``--input-depth`` and ``--input-channels`` say instead."""
    *lengths, channels = record.input_shape
    if args.input_depth is not None:
        if len(lengths) != 3:
            raise InputError(f"--input-depth is of volumes and clips; {record.name} takes none")
        lengths[0] = _at_least(1, args.input_depth, "depth", record)
    if args.input_channels is not None:
        if len(lengths) == 2:
            raise InputError(f"--input-channels is of signals and volumes; {record.name} takes {record.color} pictures")
        channels = _at_least(1, args.input_channels, "channels", record)
    if args.input_size is None:
        return (*lengths, channels)
    height, width = args.input_size
    if min(height, width) < record.minimum_size:
        raise InputError(
            f"{record.name}: the input must be at least {record.minimum_size}x{record.minimum_size} pixels; "
            f"received {height}x{width}"
        )
    if len(lengths) == 1:
        if height != width:
            raise InputError(f"{record.name} takes signals of one length: --input-size N; received {height}x{width}")
        return (height, channels)
    return (*lengths[:-2], height, width, channels)


def _at_least(least: int, value: int, name: str, record: ModelRecord) -> int:
    if value < least:
        raise InputError(f"{record.name}: {name} must be at least {least}; received {value}")
    return value


def _by_name() -> dict[str, list[tuple[ModelRecord, Option]]]:
    """Every option name with the models that have it."""
    found: dict[str, list[tuple[ModelRecord, Option]]] = {}
    for record in records():
        for option in record.options:
            found.setdefault(option.name, []).append((record, option))
    return found


def _help(owners: list[tuple[ModelRecord, Option]]) -> str:
    """What an option means; models that mean the same by it are named together."""
    meanings: dict[tuple[str, Any], list[str]] = {}
    for record, option in owners:
        meanings.setdefault((option.help, option.default), []).append(record.name)
    return "; ".join(f"{text} ({', '.join(names)}; default {value})" for (text, value), names in meanings.items())


def _destination(name: str) -> str:
    # A prefix keeps a model's option from taking the place of a command's own.
    return f"model_{name}"


def image_size(text: str) -> tuple[int, int]:
    """``224`` or ``192x256`` (height x width)."""
    parts = text.lower().split("x")
    if len(parts) not in (1, 2) or not all(part.isascii() and part.isdigit() and int(part) > 0 for part in parts):
        raise argparse.ArgumentTypeError(f"must be N or HEIGHTxWIDTH in pixels; received {text!r}")
    return int(parts[0]), int(parts[-1])
