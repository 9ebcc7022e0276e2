"""``edgecv compatibility`` and ``edgecv compile``."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgecv_export.commands.compatibility import COMPATIBILITY
from edgecv_export.commands.compile import COMPILE
from edgecv_runtime.cli.command import Command
from edgecv_runtime.errors import BundleError, InputError, UnsupportedError


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    def call(command: Command, *words: str | Path) -> tuple[int, str, str]:
        parser = argparse.ArgumentParser()
        command.configure(parser)
        status = command.run(parser.parse_args([str(word) for word in words]))
        return (status, *capsys.readouterr())

    return call


@pytest.fixture
def sine(tflite_file: Callable[..., bytes], tmp_path: Path) -> Path:
    """Two operators: one that an Ethos-U has, and one that it has not."""
    tensors: dict[str, Any] = {
        "image": {"shape": (1, 4), "scale": 0.1},
        "a": {"shape": (1, 4), "scale": 0.1},
        "b": {"shape": (1, 4), "scale": 0.1},
    }
    operators = [("RELU", ["image"], ["a"], None, {}), ("SIN", ["a"], ["b"], None, {})]
    path = tmp_path / "sine.tflite"
    path.write_bytes(tflite_file(tensors, operators, ["image"], ["b"]))
    return path


def test_report(run: Any, sine: Path) -> None:
    status, out, err = run(COMPATIBILITY, sine, "--target", "imx93")
    assert (status, err) == (0, "")
    assert out.startswith("imx93: 2 operators, 50.0 % on the accelerator\n")
    assert "falls back  50.0 % of the operators, 0.0 % of the MACs" in out
    assert "SIN is not among the operators of Arm Ethos-U55 and Ethos-U65" in out


def test_a_model_by_its_name_before_any_export(run: Any) -> None:
    """LeNet-5 by hand: C1 and C3, tanh behind them, C5 and F6, and the two poolings."""
    status, out, _ = run(COMPATIBILITY, "lenet5", "--target", "ethos-u55-128", "--max-fallback", "0", "--json")
    found = json.loads(out)
    assert (status, found["accelerated"]) == (0, 1.0)
    kinds = [operator["kind"] for operator in found["operators"]]
    assert (kinds.count("CONV_2D"), kinds.count("TANH"), kinds.count("AVERAGE_POOL_2D")) == (2, 4, 2)
    with pytest.raises(InputError, match="lenet_5"):
        run(COMPATIBILITY, "lenet_5", "--target", "imx93")
    with pytest.raises(InputError, match="lenet5 has no option 'alpha'"):
        run(COMPATIBILITY, "lenet5", "--alpha", "0.5", "--target", "imx93")
    with pytest.raises(UnsupportedError, match="voxnet takes no pictures"):
        run(COMPATIBILITY, "voxnet", "--target", "imx93")


def test_model_options_are_for_models_by_name(run: Any, sine: Path) -> None:
    with pytest.raises(InputError, match="is built already: --alpha cannot change it"):
        run(COMPATIBILITY, sine, "--alpha", "0.5", "--target", "imx93")


def test_a_failing_check(run: Any, sine: Path) -> None:
    status, _, err = run(COMPATIBILITY, sine, "--target", "imx93", "--max-fallback", "5")
    assert status == 1
    assert err == ("edgecv compatibility: 50.0 % of the operators fall back to the CPU of imx93, 5 % were allowed\n")
    assert run(COMPATIBILITY, sine, "--target", "imx93", "--max-fallback", "50")[0] == 0
    # It has no accelerator: nothing falls back.
    assert run(COMPATIBILITY, sine, "--target", "pi-4", "--max-fallback", "0")[0] == 0


def test_json(run: Any, sine: Path) -> None:
    status, out, _ = run(COMPATIBILITY, sine, "--target", "imx93", "--max-fallback", "5", "--json")
    found = json.loads(out)
    assert (status, found["met"], found["max_fallback"]) == (1, False, 5)
    assert [operator["where"] for operator in found["operators"]] == ["accelerator", "cpu"]
    assert found["fallback"] == {"operators": 0.5, "macs": 0.0, "time": None}


def test_a_bundle(run: Any, made: Callable[..., Any]) -> None:
    status, out, _ = run(COMPATIBILITY, made("lenet", "tflite", "int8").path, "--target", "pi-4", "--all")
    assert status == 0
    assert "CONV_2D" in out
    assert " ms: 4 × Cortex-A72, BCM2711 at the rate it reached on MobileNet v1 in int8" in out


def test_a_model_that_does_not_fit(run: Any, tflite_file: Callable[..., bytes], tmp_path: Path) -> None:
    shape = {"shape": (1, 600_000), "scale": 0.1}
    content = tflite_file({"a": dict(shape), "b": dict(shape)}, [("RELU", ["a"], ["b"], None, {})], ["a"], ["b"])
    (tmp_path / "wide.tflite").write_bytes(content)
    status, out, err = run(COMPATIBILITY, tmp_path / "wide.tflite", "--target", "stm32h7", "--max-fallback", "0")
    assert status == 1
    assert "  does not fit 1," in out
    assert err.startswith("edgecv compatibility: the model does not fit stm32h7: it needs 1,3")


def test_fix(run: Any, tflite_file: Callable[..., bytes], tmp_path: Path) -> None:
    tensors: dict[str, Any] = {
        "image": {"shape": (1, 4), "dtype": "float32", "signature": (-1, 4)},
        "a": {"shape": (1, 4), "scale": 0.1},
        "b": {"shape": (1, 4), "scale": 0.1},
    }
    operators = [("QUANTIZE", ["image"], ["a"], None, {}), ("RELU", ["a"], ["b"], None, {})]
    source, fixed = tmp_path / "source.tflite", tmp_path / "fixed.tflite"
    source.write_bytes(tflite_file(tensors, operators, ["image"], ["b"]))
    assert run(COMPATIBILITY, source, "--target", "imx93", "--max-fallback", "0")[0] == 1
    status, out, err = run(COMPATIBILITY, source, "--target", "imx93", "--max-fallback", "0", "--fix", fixed)
    assert status == 0
    assert "imx93: 1 operators, 100.0 % on the accelerator" in out
    assert [line.split(":")[0].strip() for line in err.splitlines()] == ["static shapes", "integer input"]
    assert run(COMPATIBILITY, fixed, "--target", "imx93", "--max-fallback", "0")[0] == 0
    for name in ("fixed.bin", "fixed.edgecv"):  # the source is no bundle
        with pytest.raises(InputError, match=f"must end in .tflite, or of a bundle in .edgecv; received '{name}'"):
            run(COMPATIBILITY, source, "--target", "imx93", "--fix", tmp_path / name)


def test_fixes_are_offered(run: Any, tflite_file: Callable[..., bytes], tmp_path: Path) -> None:
    tensors = {"x": {"shape": (1, 8, 8, 8), "scale": 0.1}, "y": {"shape": (1, 16, 16, 2), "scale": 0.1}}
    operator = ("DEPTH_TO_SPACE", ["x"], ["y"], "DepthToSpaceOptions", {"blockSize": 2})
    path = tmp_path / "blocks.tflite"
    path.write_bytes(tflite_file(tensors, [operator], ["x"], ["y"]))
    said = "replaced DEPTH_TO_SPACE 'y' by a transposed convolution that only moves values"
    assert run(COMPATIBILITY, path, "--target", "imx93")[1].endswith(f"\n--fix OUT.tflite would\n  {said}\n")
    assert json.loads(run(COMPATIBILITY, path, "--target", "imx93", "--json")[1])["fixes_offered"] == [said]
    status, out, err = run(
        COMPATIBILITY, path, "--target", "imx93", "--fix", tmp_path / "fixed.tflite", "--max-fallback", "0"
    )
    assert (status, err) == (0, f"  {said}: the answers are the same to the bit\n")
    assert "--fix" not in out


def test_what_is_damaged_is_refused_in_one_line(run: Any, sine: Path, tmp_path: Path) -> None:
    content = bytearray(sine.read_bytes())
    content[0:4] = (2**31).to_bytes(4, "little")  # where the model begins
    sine.write_bytes(content)
    for words in ((), ("--fix", tmp_path / "fixed.tflite")):
        with pytest.raises(BundleError, match="damaged"):
            run(COMPATIBILITY, sine, "--target", "imx93", *words)
    assert not (tmp_path / "fixed.tflite").exists()


def test_a_bundle_is_fixed(run: Any, made: Callable[..., Any], tmp_path: Path) -> None:
    source = made("lenet", "tflite", "int8").path
    status, _, err = run(COMPATIBILITY, source, "--target", "imx93", "--fix", tmp_path / "fixed.edgecv")
    assert (status, err) == (0, "  nothing to fix\n")
    assert (tmp_path / "fixed.edgecv").is_file()


def test_bad_input(run: Any, made: Callable[..., Any], sine: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="target must be one of"):
        run(COMPATIBILITY, sine, "--target", "pi-9")
    with pytest.raises(InputError, match="must be a percentage, 0 to 100; received 120"):
        run(COMPATIBILITY, sine, "--target", "imx93", "--max-fallback", "120")
    with pytest.raises(UnsupportedError, match="holds onnx: export with --format tflite"):
        run(COMPATIBILITY, made("lenet", "onnx", "fp32").path, "--target", "imx93")
    with pytest.raises(InputError, match="target must be one of"):
        run(COMPILE, sine, "--target", "pi-9", "-o", tmp_path / "x.edgecv")


def test_compile(run: Any, made: Callable[..., Any], tmp_path: Path) -> None:
    pytest.importorskip("ethosu")
    source, output = made("lenet", "tflite", "int8").path, tmp_path / "npu.edgecv"
    status, out, _ = run(COMPILE, source, "--target", "ethos-u55-128", "-o", output)
    assert status == 0
    assert "on the NPU (100.0 %), 0 on the CPU; foretold 0" in out
    assert "resolver    AddEthosU" in out
    assert out.endswith(f"wrote {output}\n")
    found = json.loads(run(COMPILE, source, "--target", "stm32h7", "-o", output, "--json")[1])
    assert found["manifest"]["target"] == found["device"]["target"] == "stm32h7"
