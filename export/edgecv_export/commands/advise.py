"""``edgecv advise MODEL``: what in an architecture will cost accuracy, before any time is spent."""

from __future__ import annotations

import argparse
import textwrap
from typing import TYPE_CHECKING

from edgecv.commands.options import add_model_options, collect_model_options
from edgecv_runtime.cli.command import Command, add_json_option
from edgecv_runtime.cli.output import say, say_json
from edgecv_runtime.errors import InputError
from edgecv_runtime.manifest import FORMATS, PRECISIONS

if TYPE_CHECKING:
    from edgecv_export.advice import Advice

_WIDTH = 100
_NAMED = 4  # layers in the terminal


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="a name from `edgecv models`")
    parser.add_argument("--weights", metavar="FILE|NAME", help="trained weights: advice on channel ranges needs them")
    parser.add_argument("--format", metavar="F", help="tflite, onnx or openvino (default: any of them)")
    parser.add_argument("--precision", metavar="P", help="what it will be exported in (default: int8)")
    add_model_options(parser)
    add_json_option(parser)


def _run(options: argparse.Namespace) -> int:
    from edgecv.models.registry import get_record

    for name, given, known in (("format", options.format, FORMATS), ("precision", options.precision, PRECISIONS)):
        if given is not None and given not in known:
            raise InputError(f"{name} must be one of {', '.join(known)}; received {given!r}")
    record = get_record(options.model)
    chosen = collect_model_options(options, record)

    from edgecv_export.quiet import start_tensorflow

    start_tensorflow()
    from edgecv.models.factory import create_model
    from edgecv_export.advice import advise

    model = create_model(record.name, weights=options.weights, **chosen)
    found = advise(model, options.format, options.precision)
    if options.json:
        say_json([advice.to_dict() for advice in found])
        return 0
    for advice in found:
        say(_shown(advice))
    unknown = "; without --weights nothing is known of its channel ranges" if options.weights is None else ""
    say(f"{record.name}: {_count(len(found))}{unknown}")
    return 0


def _count(number: int) -> str:
    if not number:
        return "nothing to advise"
    return f"{number} piece{'s' if number > 1 else ''} of advice"


def _shown(advice: Advice) -> str:
    more = f" and {len(advice.layers) - _NAMED} more" if len(advice.layers) > _NAMED else ""
    lines = [f"{advice.severity.upper():<7} {advice.title}: {', '.join(advice.layers[:_NAMED])}{more}"]
    for label, content in (("cost", advice.cost), ("helps", advice.remedy), ("source", advice.source)):
        lines.append(
            textwrap.fill(
                content, _WIDTH, initial_indent=f"  {label:<8}", subsequent_indent=" " * 10, break_on_hyphens=False
            )
        )
    return "\n".join([*lines, ""])


ADVISE = Command("advise", "what in an architecture will cost accuracy on a device, and what helps", _configure, _run)
