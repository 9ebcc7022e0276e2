"""The files for TensorFlow Lite Micro."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgecv_export.memory import peak_of
from edgecv_export.micro import arena, micro_model, overlaps, resolver
from edgecv_export.tflite_graph import read_graph
from edgecv_runtime.errors import InputError, UnsupportedError


@pytest.fixture(scope="module")
def model(made: Callable[..., Any]) -> bytes:
    """LeNet-5 in int8, as the bundle has it."""
    return made("lenet", "tflite", "int8").bundle.artefact().model


def test_the_array_compiles_without_warnings_and_holds_the_model(model: bytes, tmp_path: Path) -> None:
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("no C++ compiler")
    files = micro_model(model, "lenet5")
    (tmp_path / "lenet5.h").write_text(files.header)
    (tmp_path / "lenet5.cc").write_text(files.source)
    (tmp_path / "main.cc").write_text(
        '#include <cstdio>\n#include "lenet5.h"\n'
        'static_assert(lenet5_arena_size % 16 == 0, "");\n'
        "int main() {\n"
        "  if (reinterpret_cast<std::uintptr_t>(lenet5) % 16 != 0) return 1;\n"
        "  return std::fwrite(lenet5, 1, lenet5_size, stdout) == lenet5_size ? 0 : 2;\n}\n"
    )
    words = [compiler, "-std=c++17", "-Wall", "-Wextra", "-Werror", "-pedantic", "lenet5.cc", "main.cc", "-o", "dump"]
    built = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (built.returncode, built.stderr) == (0, "")
    ran = subprocess.run([tmp_path / "dump"], capture_output=True, check=False)
    assert ran.returncode == 0
    assert ran.stdout == model


def test_resolver(model: bytes) -> None:
    expected = ("AddAveragePool2D", "AddConv2D", "AddFullyConnected", "AddReshape", "AddTanh")
    found = resolver(read_graph(model))
    assert set(expected) <= set(found)
    assert set(found) - set(expected) <= {"AddQuantize"}
    files = micro_model(model, "lenet5")
    assert re.findall(r"resolver\.(\w+)\(\);", files.header) == list(found)
    assert f"MicroMutableOpResolver<{len(found)}>" in files.header


def test_arena(model: bytes) -> None:
    """By hand, the largest pair of LeNet-5 in int8: C1's 28·28·6 twice (its sums, then their tanh)."""
    found = arena(read_graph(model))
    assert found.planned_bytes == 2 * 28 * 28 * 6
    assert found.planned_bytes >= peak_of(found.plan.buffers)[0]
    assert overlaps(found.plan) == []
    assert found.size % 1024 == 0
    assert (
        1.1 * (found.planned_bytes + found.kept_bytes)
        <= found.size
        < 1.1 * (found.planned_bytes + found.kept_bytes) + 1024
    )
    assert "computed, not run" in found.basis
    assert f"{found.planned_bytes:,} bytes" in found.basis


def test_the_arena_is_told_in_the_header(model: bytes) -> None:
    files = micro_model(model, "lenet5")
    assert f"lenet5_arena_size = {files.arena.size};" in files.header
    said = " ".join(line.removeprefix("// ") for line in files.header.splitlines())
    assert files.arena.basis in said


def test_what_has_no_kernel_is_refused(tflite_file: Callable[..., bytes]) -> None:
    tensors = {"a": {"shape": (1, 4), "dtype": "float32"}, "b": {"shape": (1, 4), "dtype": "float32"}}
    content = tflite_file(tensors, [("GELU", ["a"], ["b"], "GeluOptions", {})], ["a"], ["b"])
    with pytest.raises(UnsupportedError, match="no kernel for GELU \\('b'\\)"):
        micro_model(content, "model")


@pytest.mark.parametrize("name", ["", "2nd", "lenet-5", "a b"])
def test_names_are_identifiers(model: bytes, name: str) -> None:
    with pytest.raises(InputError, match="C identifier"):
        micro_model(model, name)
