"""Whether a model fits a device."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from edgecv_export.fit import fit
from edgecv_export.memory import measure
from edgecv_export.tflite_graph import read_graph
from edgecv_targets import Figure, load_target


def test_microcontroller(made: Callable[..., Any]) -> None:
    """LeNet-5 (some 70 kB, an arena of some 16 KiB) fits 2 MiB of flash and a bank of 512 KiB, and not a hundredth."""
    content = made("lenet", "tflite", "int8").bundle.artefact().model
    target = load_target("stm32h7")
    found = fit(read_graph(content), target)
    assert (found.storage_bytes, found.storage_there, found.memory_there) == (len(content), 2**21, 2**19)
    assert found.memory_bytes % 1024 == 0
    assert found.fits is True
    small = replace(target, sram_bytes=Figure(found.memory_bytes - 1, "test"))
    assert fit(read_graph(content), small).fits is False
    little = replace(target, flash_bytes=Figure(len(content) - 1, "test"))
    assert fit(read_graph(content), little).fits is False


def test_board(made: Callable[..., Any]) -> None:
    graph = read_graph(made("lenet", "tflite", "int8").bundle.artefact().model)
    found, memory = fit(graph, load_target("pi-zero-2w")), measure(graph)
    assert (found.memory_bytes, found.memory_there) == (memory.arena_bytes + memory.weight_bytes, 512_000_000)
    assert found.storage_there is None
    assert found.fits is True


@pytest.mark.parametrize("target", ["ethos-u55-128", "x86-64"])
def test_without_figures_nothing_is_claimed(made: Callable[..., Any], target: str) -> None:
    graph = read_graph(made("lenet", "tflite", "int8").bundle.artefact().model)
    assert fit(graph, load_target(target)).fits is None
