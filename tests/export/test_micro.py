"""The files for TensorFlow Lite Micro."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgecv_export.compilers.bundle import compile_bundle
from edgecv_export.memory import peak_of
from edgecv_export.micro import arena, micro_model, overlaps, resolver
from edgecv_export.tflite_graph import read_graph
from edgecv_runtime.bundle import Bundle
from edgecv_runtime.errors import InputError, UnsupportedError
from edgecv_targets import load_target


@pytest.fixture(scope="module")
def model(made: Callable[..., Any]) -> bytes:
    """LeNet-5 in int8, as the bundle has it."""
    return made("lenet", "tflite", "int8").bundle.artefact().model


MAIN = """#include <stdio.h>
#include "model.h"

static uint8_t arena[model_arena_size];  /* a constant, as the size of an array must be */

int main(void) {
  if ((uintptr_t)model % 16 != 0 || sizeof(arena) != model_arena_size) return 1;
  return fwrite(model, 1, model_size, stdout) == model_size ? 0 : 2;
}
"""


def compiled_and_run(content: bytes, folder: Path, compiler: str, standard: str, suffix: str) -> bytes:
    """The bytes that a program with the array in it writes; C compiled as C, and as C++."""
    path = shutil.which(compiler)
    if path is None:
        pytest.skip(f"no {compiler}")
    files = micro_model(content, "model")
    (folder / "model.h").write_text(files.header)
    (folder / f"model{suffix}").write_text(files.source)
    (folder / f"main{suffix}").write_text(MAIN)
    words = [path, f"-std={standard}", "-Wall", "-Wextra", "-Werror", "-pedantic"]
    words += [f"model{suffix}", f"main{suffix}", "-o", "dump"]
    built = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
    assert (built.returncode, built.stderr) == (0, "")
    ran = subprocess.run([folder / "dump"], capture_output=True, check=False)
    assert ran.returncode == 0
    return ran.stdout


@pytest.mark.parametrize(
    ("compiler", "standard", "suffix"), [("gcc", "c11", ".c"), ("gcc", "c2x", ".c"), ("g++", "c++17", ".cc")]
)
def test_the_array_compiles_without_warnings_and_holds_the_model(
    model: bytes, tmp_path: Path, compiler: str, standard: str, suffix: str
) -> None:
    assert compiled_and_run(model, tmp_path, compiler, standard, suffix) == model


def check_board(plain: Path, folder: Path) -> None:
    """Made ready for the microcontroller, taken out of the bundle, compiled as C, run, and compared."""
    compile_bundle(plain, load_target("stm32h7"), folder / "board.edgecv")
    bundle = Bundle(folder / "board.edgecv")
    artefact = bundle.artefact().model
    files = micro_model(artefact, "model_data")
    assert bundle.member("micro/model_data.h") == files.header.encode()
    assert bundle.member("micro/model_data.c") == files.source.encode()
    assert compiled_and_run(artefact, folder, "gcc", "c11", ".c") == artefact
    said, planned = bundle.report()["device"]["micro"], arena(read_graph(artefact))
    assert (said["arena"]["size"], said["flash_bytes"]) == (planned.size, len(artefact))
    assert "no interpreter of TensorFlow Lite Micro is in the public package registry" in said["arena"]["basis"]
    # No plan can take less than what is alive at once, and one that overlaps would be wrong.
    assert planned.planned_bytes >= peak_of(planned.plan.buffers)[0]
    assert overlaps(planned.plan) == []


@pytest.mark.slow
@pytest.mark.parametrize(("name", "options"), [("lenet5", {}), ("mobilenet_v1", {"alpha": 0.25})])
def test_a_bundle_s_array_compiles_and_has_its_bytes(name: str, options: dict[str, Any], tmp_path: Path) -> None:
    from edgecv.models.factory import create_model
    from edgecv_export.calibration import contract_pictures
    from edgecv_export.exporter import export

    network = create_model(name, **options)
    pictures = contract_pictures(network.input_shape[1:3], 4)
    export(network, tmp_path / "plain.edgecv", format="tflite", precision="int8", calibration=pictures)
    check_board(tmp_path / "plain.edgecv", tmp_path)


@pytest.mark.data
def test_so_does_that_of_visual_wake_words(data_dir: Path, tmp_path: Path) -> None:
    from edgecv_export.wrapping import wrap

    source = data_dir / "models" / "classification" / "visual-wake-words" / "vww_96_int8.tflite"
    wrap(source, tmp_path / "plain.edgecv", labels=["no person", "person"])
    check_board(tmp_path / "plain.edgecv", tmp_path)


def test_resolver(model: bytes) -> None:
    expected = ("AddAveragePool2D", "AddConv2D", "AddFullyConnected", "AddReshape", "AddTanh")
    found = resolver(read_graph(model))
    assert set(expected) <= set(found)
    assert set(found) - set(expected) <= {"AddQuantize"}
    files = micro_model(model, "lenet5")
    assert re.findall(r"resolver\.(\w+)\(\);", files.header) == list(found)
    assert "MicroMutableOpResolver<lenet5_operators>" in files.header
    assert f"lenet5_operators = {len(found)} " in files.header


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
    assert f"lenet5_arena_size = {files.arena.size}," in files.header
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
