"""``edgecv models``: the list, without importing Keras."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import Any

from edgecv.models.registry import ModelRecord, OfficialWeights, Option, records
from edgecv_runtime.cli.command import Command, add_json_option
from edgecv_runtime.cli.output import say, say_json, table


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--task", metavar="T", help="only models for this task, for example classification")
    add_json_option(parser)


def _run(options: argparse.Namespace) -> int:
    found = records(options.task)
    if options.json:
        say_json([record_to_dict(record) for record in found])
        return 0
    rows = [
        (
            record.name,
            record.task,
            "×".join(map(str, record.input_shape)),
            f"{record.parameters:,}",
            " ".join(f"--{option.name.replace('_', '-')}" for option in record.options),
            "imagenet" if record.weights else "",
            f"{record.paper.authors.split(',')[0]} {record.paper.year}",
        )
        for record in found
    ]
    say(table(("model", "task", "input", "parameters", "options", "weights", "paper"), rows))
    return 0


def record_to_dict(record: ModelRecord) -> dict[str, Any]:
    """A record as plain JSON values."""
    preprocessing = record.preprocessing
    return {
        "name": record.name,
        "task": record.task,
        "summary": record.summary,
        "paper": asdict(record.paper),
        "input_shape": list(record.input_shape),
        "classes": record.classes,
        "parameters": record.parameters,
        "macs": record.macs,
        "preprocessing": {
            "color": preprocessing.color,
            "mean": list(preprocessing.mean),
            "std": list(preprocessing.std),
            "in_model": preprocessing.in_model,
            "resize": asdict(preprocessing.resize),
        },
        "licence": record.licence,
        "options": [_option_to_dict(option) for option in record.options],
        "weights": [_weights_to_dict(weights) for weights in record.weights],
        "weights_note": record.weights_note,
    }


def _option_to_dict(option: Option) -> dict[str, Any]:
    return {**asdict(option), "type": option.type.__name__}


def _weights_to_dict(weights: OfficialWeights) -> dict[str, Any]:
    return {**asdict(weights), "options": dict(weights.options)}


MODELS = Command("models", "the models that can be built", _configure, _run)
