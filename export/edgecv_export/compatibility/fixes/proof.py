"""Every change is proven before it is given back: the file before and the file after, on the same inputs.

Most changes leave every bit as it was. Those that round at another place are held against the float model, which is
the file's own arithmetic in real numbers: there both must be one function, and the integers may not be further away
from it than they were.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from edgecv_export.compatibility.fixes.float_twin import float_twin
from edgecv_runtime.errors import CheckFailedError

_RUNS = 3
_FLOAT_TOLERANCE = 1e-4  # of the largest value: float32 sums in another order
_MORE_STEPS = 0.5  # that the mean error of an integer output may grow by

Arrays = list[npt.NDArray[Any]]


def prove_border(before: bytes, after: bytes) -> None:
    """The answers must be equal to the bit, where the file after may take and give the integers of the reals.

    Raises
    ------
    CheckFailedError
        They are not.
    """
    generator = np.random.default_rng(0)
    old, new = _interpreter(before), _interpreter(after)
    for _ in range(_RUNS):
        given = [_noise(generator, detail) for detail in new.get_input_details()]
        results = _run(new, given)
        # The old file is fed the reals that the new one's integers stand for.
        reals = [
            _as(values, wanted, detail)
            for values, detail, wanted in zip(given, new.get_input_details(), old.get_input_details(), strict=True)
        ]
        expected = _run(old, reals)
        for got, detail, wanted in zip(results, new.get_output_details(), expected, strict=True):
            shown = _real(got, detail) if wanted.dtype == np.float32 and got.dtype != np.float32 else got
            if not np.array_equal(shown, wanted):
                raise CheckFailedError("the fixed model does not answer as the one before; nothing was changed")


def prove_change(before: bytes, after: bytes) -> str:
    """The answers must be equal to the bit, or as near to the float model as they were.

    Parameters
    ----------
    before, after : bytes
        TFLite files with the same inputs and outputs.

    Returns
    -------
    str
        What was found, in words.

    Raises
    ------
    CheckFailedError
        In real numbers the two differ, or the integers went further away.
    """
    generator = np.random.default_rng(0)
    old, new = _interpreter(before), _interpreter(after)
    given = [[_noise(generator, detail) for detail in old.get_input_details()] for _ in range(_RUNS)]
    answers, expected = [_run(new, own) for own in given], [_run(old, own) for own in given]
    pairs = [pair for one, other in zip(answers, expected, strict=True) for pair in zip(one, other, strict=True)]
    if all(np.array_equal(one, other) for one, other in pairs):
        return "the answers are the same to the bit"
    details = old.get_output_details()
    reals = [
        [_real(values, detail) for values, detail in zip(own, old.get_input_details(), strict=True)] for own in given
    ]
    truth, twin = (_answers(float_twin(content), reals) for content in (before, after))
    apart = max(
        _apart(one, other)
        for ours, theirs in zip(truth, twin, strict=True)
        for one, other in zip(ours, theirs, strict=True)
    )
    if not apart <= _FLOAT_TOLERANCE:
        raise CheckFailedError(f"in real numbers the answers differ by {apart:.2g} of the largest")
    errors = [_error(found, truth, details) for found in (expected, answers)]
    if not errors[1] <= errors[0] + _MORE_STEPS:
        raise CheckFailedError(
            f"the integers would be {errors[1]:.2f} steps from the float model, and are {errors[0]:.2f} steps from it"
        )
    return (
        f"one function in real numbers (to {apart:.0e}); in integers {errors[1]:.2f} steps from it on average, "
        f"before {errors[0]:.2f}"
    )


def _answers(content: bytes, given: list[Arrays]) -> list[Arrays]:
    interpreter = _interpreter(content)
    return [_run(interpreter, own) for own in given]


def _apart(one: npt.NDArray[Any], other: npt.NDArray[Any]) -> float:
    largest = float(np.abs(one).max(initial=0.0))
    return float(np.abs(one - other).max(initial=0.0)) / max(largest, float(np.finfo(np.float32).tiny))


def _error(found: list[Arrays], truth: list[Arrays], details: list[dict[str, Any]]) -> float:
    """The mean distance of the worst output, in its steps; of a float output in those of 8 bits over its range."""
    errors = []
    for place, detail in enumerate(details):
        real = np.concatenate([own[place].ravel() for own in truth])
        got = np.concatenate([_real(own[place], detail).ravel() for own in found])
        step, zero = float(detail["quantization"][0]), int(detail["quantization"][1])
        if step:  # what lies outside the integers' range is cut off in both
            limits = np.iinfo(detail["dtype"])
            low, high = step * (int(limits.min) - zero), step * (int(limits.max) - zero)
        else:
            low, high = float(real.min(initial=0.0)), float(real.max(initial=0.0))
            step = max((high - low) / 255, float(np.finfo(np.float32).tiny))
        errors.append(float(np.abs(got - real.clip(low, high)).mean() / step))
    return max(errors)


def _interpreter(content: bytes) -> Any:
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    found = Interpreter(model_content=content, experimental_op_resolver_type=OpResolverType.BUILTIN_REF)
    found.allocate_tensors()
    return found


def _run(interpreter: Any, given: Arrays) -> Arrays:
    for detail, values in zip(interpreter.get_input_details(), given, strict=True):
        interpreter.set_tensor(detail["index"], values)
    interpreter.invoke()
    return [interpreter.get_tensor(detail["index"]) for detail in interpreter.get_output_details()]


def _noise(generator: np.random.Generator, detail: dict[str, Any]) -> npt.NDArray[Any]:
    kind = np.dtype(detail["dtype"])
    if kind.kind == "f":
        return generator.normal(size=detail["shape"]).astype(kind)
    limits = np.iinfo(kind)
    return generator.integers(limits.min, limits.max, detail["shape"], dtype=kind, endpoint=True)


def _as(values: npt.NDArray[Any], wanted: dict[str, Any], detail: dict[str, Any]) -> npt.NDArray[Any]:
    return _real(values, detail) if np.dtype(wanted["dtype"]) != values.dtype else values


def _real(values: npt.NDArray[Any], detail: dict[str, Any]) -> npt.NDArray[Any]:
    scale, zero = detail["quantization"]
    if not scale:
        return values
    return (np.float32(scale) * (values.astype(np.int32) - zero).astype(np.float32)).astype(np.float32)
