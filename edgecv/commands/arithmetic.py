"""The sums of `edgecv.arithmetic` on the command line: ``edgecv info --separable 6x6x3,3,5``."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from edgecv.arithmetic import (
    bottleneck_multiplications,
    convolution_multiplications,
    convolution_output_size,
    separable_multiplications,
    separable_ratio,
    transposed_output_size,
)
from edgecv_runtime.cli.output import say, say_json
from edgecv_runtime.errors import InputError

# Option: what it takes, how many numbers follow the first part, its line of help.
_SUMS = {
    "separable": ("HxWxC,F,N", "cost of an F×F convolution to N channels, normal against depthwise separable"),
    "transposed": ("SIZE,F,STRIDE,PADDING", "output size of a transposed convolution"),
    "bottleneck": ("HxWxC,F,N,M", "cost of an F×F convolution to N channels, alone and behind a 1×1 to M channels"),
}


def add_arithmetic_options(parser: argparse.ArgumentParser) -> None:
    """``--separable``, ``--transposed`` and ``--bottleneck``."""
    group = parser.add_argument_group("sums, without a model")
    for name, (form, text) in _SUMS.items():
        group.add_argument(f"--{name}", metavar=form, help=text)


def answer_arithmetic(options: argparse.Namespace) -> bool:
    """Print the sums that were asked for; False where none was.

    Raises
    ------
    InputError
        A sum is not written as its form says, or a model is named too.
    """
    answers: dict[str, Any] = {}
    for name, answer in (("separable", _separable), ("transposed", _transposed), ("bottleneck", _bottleneck)):
        text = getattr(options, name)
        if text is not None:
            answers[name] = _with_numbers(answer, text, name)
    if not answers:
        return False
    if options.model is not None:
        raise InputError(f"--{next(iter(answers))} is a sum without a model; received {options.model} too")
    if options.json:
        say_json(answers)
        return True
    for name, values in answers.items():
        say(f"{name} {getattr(options, name)}")
        for key, value in values.items():
            say(f"  {key:<26} {value:,}" if isinstance(value, int) else f"  {key:<26} {value:.4f}")
    return True


def _with_numbers(answer: Callable[..., dict[str, Any]], text: str, name: str) -> dict[str, Any]:
    form = _SUMS[name][0]
    parts = text.lower().replace("x", ",").split(",")
    wanted = len(form.replace("x", ",").split(","))
    if len(parts) != wanted or not all(part.isascii() and part.isdigit() for part in parts):
        raise InputError(f"--{name} must be {form} in whole numbers; received {text!r}")
    return answer(*(int(part) for part in parts))


def _separable(height: int, width: int, channels: int, kernel: int, filters: int) -> dict[str, Any]:
    output = convolution_output_size(height, kernel), convolution_output_size(width, kernel)
    return {
        "normal": convolution_multiplications(output, channels, kernel, filters),
        "depthwise separable": separable_multiplications(output, channels, kernel, filters),
        "ratio 1/N + 1/F²": separable_ratio(kernel, filters),
    }


def _transposed(size: int, kernel: int, stride: int, padding: int) -> dict[str, Any]:
    return {"output size": transposed_output_size(size, kernel, stride, padding)}


def _bottleneck(height: int, width: int, channels: int, kernel: int, filters: int, squeezed: int) -> dict[str, Any]:
    # Padded to the same size, as inside an Inception block.
    alone, behind = bottleneck_multiplications((height, width), channels, kernel, filters, squeezed)
    return {"alone": alone, "behind the bottleneck": behind}
