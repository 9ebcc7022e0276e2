"""``edgecv info MODEL|BUNDLE``: what a network costs, before anything is exported or run."""

from __future__ import annotations

import argparse
import re
from typing import Any

from edgecv.commands.arithmetic import add_arithmetic_options, answer_arithmetic
from edgecv.commands.options import add_model_options, collect_model_options, refuse_model_options
from edgecv_runtime.cli.command import Command, add_json_option
from edgecv_runtime.cli.info import print_bundle_info
from edgecv_runtime.cli.output import kilobytes, say, say_json, table
from edgecv_runtime.errors import InputError


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "model", metavar="MODEL|BUNDLE", nargs="?", help="a name from `edgecv models`, or a .edgecv file"
    )
    add_model_options(parser)
    add_arithmetic_options(parser)
    add_json_option(parser)


def _run(options: argparse.Namespace) -> int:
    if options.model is None:
        refuse_model_options(options, "a sum")
    if answer_arithmetic(options):
        return 0
    if options.model is None:
        raise InputError("edgecv info needs a model, a bundle or one of --separable, --transposed, --bottleneck")
    if options.model.endswith(".edgecv"):
        refuse_model_options(options, options.model)
        return print_bundle_info(options.model, options.json)
    from edgecv.models.registry import get_record

    record = get_record(options.model)
    chosen = collect_model_options(options, record)
    from edgecv.complexity import complexity
    from edgecv.layers.graph import without_weights
    from edgecv.models.factory import architecture_of, create_model

    with without_weights():  # counting needs shapes, not 600 MB of numbers
        model = create_model(record.name, **chosen)
    cost = complexity(model)
    architecture = architecture_of(model)
    facts: dict[str, Any] = {
        **(architecture.to_dict() if architecture is not None else {"name": record.name}),
        "task": record.task,
        "paper": record.paper.citation,
        "licence": record.licence,
        "input_shape": list(model.input_shape[1:]),
        "output_shape": list(model.output_shape[1:]),
        "weight_bytes": {"fp32": 4 * cost.parameters, "fp16": 2 * cost.parameters, "int8": cost.parameters},
        **cost.to_dict(),
    }
    if options.json:
        say_json(facts)
        return 0
    named = ", ".join(f"{name} {value}" for name, value in facts.get("options", {}).items())
    sizes = ", ".join(f"{precision} {kilobytes(size)}" for precision, size in facts["weight_bytes"].items())
    say(f"{record.name}{f' ({named})' if named else ''}: {record.task}, {facts['paper']}")
    say(f"  input            {_times(facts['input_shape'])} {record.color}, output {_times(facts['output_shape'])}")
    say(f"  parameters       {cost.parameters:,} ({cost.trainable_parameters:,} trainable)")
    say(f"  MACs             {cost.macs:,}")
    say(f"  weights          {sizes}")
    say(f"  activations      {kilobytes(cost.peak_activation_bytes)} at most at once, at {cost.peak_layer} (float32)")
    field = cost.receptive_field
    if field is not None:
        place = f"stride {_times(field.stride)}, centre {_times(field.center)}"
        say(f"  receptive field  {_times(field.size)} pixels, {place}")
    say()
    rows = [
        (
            layer.name,
            layer.type,
            _times(layer.output_shape),
            f"{layer.parameters:,}",
            f"{layer.macs:,}",
            f"{layer.activation_bytes / 1e3:,.1f}",
            "" if layer.receptive_field is None else _times(layer.receptive_field.size),
            "" if layer.receptive_field is None else _times(layer.receptive_field.stride),
            "" if layer.receptive_field is None else _times(layer.receptive_field.center),
        )
        for layer in cost.layers
    ]
    say(table(("layer", "type", "output", "parameters", "MACs", "memory kB", "field", "stride", "centre"), rows))
    return 0


def _times(values: Any) -> str:
    """``(7, 7)`` as ``7×7``; whole numbers without a point."""
    return "×".join(re.sub(r"\.0$", "", str(value)) for value in values)


INFO = Command("info", "parameters, MACs, memory and receptive field of a model; content of a bundle", _configure, _run)
