"""Lifetimes, the greedy planner, and LiteRT's own arena."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from edgecv.models.registry import get_record, records
from edgecv_export.memory import (
    Buffer,
    _computed_at_run_time,
    activations,
    litert_arena,
    litert_buffers,
    measure,
    peak_of,
    plan,
)
from edgecv_export.micro import overlaps
from edgecv_export.tflite_graph import read_graph
from edgecv_runtime.errors import UnsupportedError


@pytest.mark.parametrize(
    ("model", "precision"),
    [("lenet", "int8"), ("lenet", "fp32"), ("mobilenet", "int8"), ("mobilenet", "fp32")],
)
def test_litert_takes_what_was_told(made: Callable[..., Any], model: str, precision: str) -> None:
    content = made(model, "tflite", precision).bundle.artefact().model
    assert measure(read_graph(content)).arena_bytes == pytest.approx(litert_arena(content), rel=0.1)


def test_windows_of_a_volume_are_copied(tflite_file: Callable[..., bytes]) -> None:
    """By hand: 3·3·3 windows of 2³ places and 4 channels, in float32; a kernel of one place needs no copy."""
    for side, expected in ((2, [27 * (2**3 * 4) * 4]), (1, [])):
        sizes = {"x": (1, 4, 4, 4, 4), "w": (side, side, side, 4, 6), "y": (1, *(5 - side,) * 3, 6)}
        tensors: dict[str, Any] = {name: {"shape": shape, "dtype": "float32"} for name, shape in sizes.items()}
        tensors["w"]["values"] = np.zeros(sizes["w"], np.float32)
        strides = {"strideD": 1, "strideH": 1, "strideW": 1}
        operators = [("CONV_3D", ["x", "w"], ["y"], "Conv3DOptions", strides)]
        graph = read_graph(tflite_file(tensors, operators, ["x"], ["y"]))
        assert [buffer.size for buffer in litert_buffers(graph, threads=2) if buffer.tensor is None] == expected


# Larger ones take gigabytes to convert, and are made of the same operators.
_PARAMETERS = 3e7
_SIZES = {"yolo_v1_tiny": 448}  # of those that take no 64 pixels


@pytest.mark.slow
@pytest.mark.parametrize("name", [record.name for record in records() if record.parameters < _PARAMETERS])
def test_litert_takes_what_was_told_of_every_registered_model(name: str) -> None:
    from edgecv.models.factory import create_model
    from edgecv_export.plan import Plan
    from edgecv_export.sources import source_of

    record = get_record(name)
    *sides, channels = record.input_shape
    if len(sides) == 2:
        sides = [max(record.minimum_size, min(_SIZES.get(name, 64), sides[0]))] * 2
    try:
        source = source_of(create_model(name, input_shape=(*sides, channels)))
    except UnsupportedError as refused:
        pytest.skip(str(refused))
    content = source.convert(Plan("tflite", "fp32"), None, None).model
    assert measure(read_graph(content)).arena_bytes == pytest.approx(litert_arena(content), rel=0.1)


def chain(tflite_file: Callable[..., bytes], *sizes: int) -> Any:
    """A chain of operators whose tensors have so many bytes."""
    tensors = {f"t{index}": {"shape": (1, size)} for index, size in enumerate(sizes)}
    operators: list[Any] = [
        ("RELU", [f"t{index}"], [f"t{index + 1}"], None, {}) for index in range(len(sizes) - 1)
    ]  # fmt: skip
    return read_graph(tflite_file(tensors, operators, ["t0"], [f"t{len(sizes) - 1}"]))


def test_peak_of_a_chain(tflite_file: Callable[..., bytes]) -> None:
    """By hand: each operator holds its input and its output; LiteRT holds the graph's input (10 bytes) besides."""
    graph = chain(tflite_file, 10, 200, 30, 400, 50)
    assert peak_of(activations(graph)) == (450, 3)
    assert peak_of(activations(graph, keep_inputs=True)) == (460, 3)


def test_memory_that_nobody_writes_counts(tflite_file: Callable[..., bytes]) -> None:
    tensors = {"a": {"shape": (1, 8)}, "work": {"shape": (1, 100)}, "b": {"shape": (1, 8)}, "c": {"shape": (1, 8)}}
    operators: list[Any] = [("ethos-u", ["a", "work"], ["b"], None, {}), ("RELU", ["b"], ["c"], None, {})]
    assert peak_of(activations(read_graph(tflite_file(tensors, operators, ["a"], ["c"])))) == (116, 0)


def test_element_wise_operators_write_over_what_nobody_needs(tflite_file: Callable[..., bytes]) -> None:
    """x → a → b = a·a (a is read twice, so b has its own place) → c = b + a2 … only the last sum may take b's place."""
    shape = {"shape": (1, 64)}
    tensors = {name: dict(shape) for name in ("x", "a", "b", "c", "d")}
    operators = [
        ("RELU", ["x"], ["a"], None, {}),
        ("MUL", ["a", "a"], ["b"], "MulOptions", {}),
        ("ADD", ["b", "x"], ["c"], "AddOptions", {}),
        ("RELU", ["c"], ["d"], None, {}),
    ]
    graph = read_graph(tflite_file(tensors, operators, ["x"], ["d"]))
    names = {buffer.name for buffer in litert_buffers(graph)}
    assert names == {"x", "a", "b", "d"}


# Pisarchyk & Lee 2020: the largest first, into the smallest gap (or the first) between those alive at the same time.
BUFFERS = (
    Buffer("big", 64, 0, 1),
    Buffer("late", 32, 2, 3),
    Buffer("small", 16, 1, 2),
    Buffer("tiny", 16, 3, 3),
)


@pytest.mark.parametrize("litert", [True, False])
def test_plan_by_hand(litert: bool) -> None:
    found = plan(BUFFERS, 16, litert=litert)
    # big at 0; late starts over at 0; small meets both and goes behind the larger; tiny meets late only.
    assert found.offsets == (0, 0, 64, 32)
    assert found.size == 80


@pytest.mark.parametrize(("litert", "offset"), [(True, 192), (False, 0)])
def test_smallest_or_first_gap(litert: bool, offset: int) -> None:
    """By hand: when the last one comes, 0..96 and 192..272 are free again; the second gap is the smaller one."""
    buffers = (
        Buffer("first, short", 96, 0, 0),
        Buffer("wall", 90, 0, 8),
        Buffer("second, short", 80, 0, 0),
        Buffer("another wall", 64, 0, 8),
        Buffer("asked for", 16, 5, 8),
        Buffer("afterwards", 1, 9, 9),
    )
    assert plan(buffers, 16, litert=litert).offsets[:5] == (0, 96, 192, 272, offset)


def test_no_two_living_buffers_share_memory() -> None:
    generator = np.random.default_rng(4)
    for litert in (True, False):
        starts = generator.integers(0, 30, 60)
        buffers = tuple(
            Buffer(str(index), int(size), int(start), int(start + length))
            for index, (size, start, length) in enumerate(
                zip(generator.integers(1, 500, 60), starts, generator.integers(0, 9, 60), strict=True)
            )
        )
        found = plan(buffers, 16, litert=litert)
        assert overlaps(found) == []
        assert all(offset % 16 == 0 for offset in found.offsets)
        assert found.size >= peak_of(buffers)[0]
        moved = plan(tuple(reversed(buffers)), 16, litert=litert)
        assert abs(moved.size - found.size) < 0.2 * found.size


def test_a_plan_does_not_depend_on_chance() -> None:
    sizes = {plan(order, 16).size for order in itertools.permutations(BUFFERS)}
    assert sizes == {80}


def test_what_depends_on_constants_alone_is_computed_beforehand() -> None:
    operators = [
        {"inputs": [5, 6], "outputs": [7]},  # of constants
        {"inputs": [0, 5], "outputs": [8]},
        {"inputs": [7], "outputs": [9]},
        {"inputs": [9, 8], "outputs": [10, 11]},
    ]
    assert _computed_at_run_time({0}, operators) == {8, 10, 11}
