"""Bundles made ready for a device."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import edgecv_runtime as ert
from edgecv_export.compilers.bundle import COMPILED_MEMBER, compile_bundle
from edgecv_runtime.bundle import Bundle
from edgecv_runtime.errors import BackendError, InputError, UnsupportedError
from edgecv_targets import load_target


@pytest.fixture(scope="module")
def lenet5(made: Callable[..., Any]) -> Path:
    return made("lenet", "tflite", "int8").path


def test_the_portable_artefact_stays(lenet5: Path, tmp_path: Path) -> None:
    pytest.importorskip("ethosu")
    before = Bundle(lenet5)
    manifest = compile_bundle(lenet5, load_target("ethos-u55-128"), tmp_path / "npu.edgecv")
    after = Bundle(tmp_path / "npu.edgecv")
    assert (manifest.target, manifest.compiled_for) == ("ethos-u55-128", None)
    assert after.artefact().manifest() == manifest.embedded()  # the model file says the target, too
    assert abs(after.artefact().size - before.artefact().size) < 100 and ert.verify(tmp_path / "npu.edgecv").passed
    assert b"ethos-u" in (after.member(COMPILED_MEMBER) or b"")
    device = after.report()["device"]
    assert device["compiler"]["on_cpu"] == device["compiler"]["predicted"]["on_cpu"] == []
    assert device["micro"]["operators"] == ["AddEthosU"]
    assert after.report()["parity"] == before.report()["parity"]
    with ert.load(tmp_path / "npu.edgecv") as model:  # on this host, as before
        assert model.manifest.target == "ethos-u55-128"


def test_a_compiled_artefact_alone_runs_on_the_device_only(lenet5: Path, tmp_path: Path) -> None:
    pytest.importorskip("ethosu")
    manifest = compile_bundle(lenet5, load_target("imx93"), tmp_path / "npu.edgecv", only_compiled=True)
    assert manifest.compiled_for == "ethos-u65-256"
    assert Bundle(tmp_path / "npu.edgecv").manifest.compiled_for == "ethos-u65-256"
    with pytest.raises(UnsupportedError, match="compiled for an Arm Ethos-U and runs on that device only"):
        ert.load(tmp_path / "npu.edgecv")
    with pytest.raises(UnsupportedError, match="compiled already, for ethos-u65-256"):
        compile_bundle(tmp_path / "npu.edgecv", load_target("imx93"), tmp_path / "again.edgecv")


def test_a_microcontroller_gets_the_array_of_the_bundle_s_own_model(lenet5: Path, tmp_path: Path) -> None:
    compile_bundle(lenet5, load_target("stm32h7"), tmp_path / "micro.edgecv")
    bundle = Bundle(tmp_path / "micro.edgecv")
    source = (bundle.member("micro/model_data.c") or b"").decode()
    written = bytes(int(word, 16) for word in source.replace("{", ",").replace("\n", ",").split(",") if "0x" in word)
    assert written == bundle.artefact().model
    assert bundle.report()["device"]["micro"]["flash_bytes"] == len(written)


def test_a_compiler_that_cannot_be_had(lenet5: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    compile_bundle(lenet5, load_target("coral-usb"), tmp_path / "tpu.edgecv")
    bundle = Bundle(tmp_path / "tpu.edgecv")
    compiler = bundle.report()["device"]["compiler"]
    assert compiler["compiled"] is False
    assert compiler["note"] == "prepared, not compiled here: no edgetpu_compiler on PATH"
    assert compiler["command"] == "edgetpu_compiler -s -o {output} {model}"
    assert bundle.member(COMPILED_MEMBER) is None
    with pytest.raises(InputError, match="nothing was compiled"):
        compile_bundle(lenet5, load_target("coral-usb"), tmp_path / "x.edgecv", only_compiled=True)
    assert not (tmp_path / "x.edgecv").exists()


def test_a_compiler_that_is_found_on_the_path(lenet5: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = tmp_path / "edgetpu_compiler"
    tool.write_text('#!/bin/sh\necho "Model compiled successfully"\nprintf made > "$3/model_edgetpu.tflite"\n')
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    compile_bundle(lenet5, load_target("coral-usb"), tmp_path / "tpu.edgecv")
    bundle = Bundle(tmp_path / "tpu.edgecv")
    assert bundle.member(COMPILED_MEMBER) == b"made"
    assert bundle.report()["device"]["compiler"]["log"] == "Model compiled successfully\n"
    tool.write_text('#!/bin/sh\necho "Invalid model"\nexit 1\n')
    with pytest.raises(BackendError, match="edgetpu_compiler refuses the model: Invalid model"):
        compile_bundle(lenet5, load_target("coral-usb"), tmp_path / "bad.edgecv")
    assert not (tmp_path / "bad.edgecv").exists()


def test_what_a_device_does_not_take(made: Callable[..., Any], tmp_path: Path) -> None:
    floating = made("lenet", "tflite", "fp32").path
    with pytest.raises(UnsupportedError, match="computes in int8 or int16x8; this bundle is fp32"):
        compile_bundle(floating, load_target("ethos-u55-128"), tmp_path / "a.edgecv")
    with pytest.raises(UnsupportedError, match="starts from onnx: export with --format onnx; this bundle holds tflite"):
        compile_bundle(floating, load_target("rk3588"), tmp_path / "a.edgecv")
    assert not (tmp_path / "a.edgecv").exists()
