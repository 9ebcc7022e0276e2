from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest


def test_good_bundle(edgecv: Any, any_bundle: Path) -> None:
    outcome = edgecv("verify", any_bundle)
    assert outcome.status == 0 and outcome.err == ""
    lines = outcome.out.splitlines()
    assert [line.split(":")[0] for line in lines[:-1]] == ["✓ integrity", "✓ manifest", "✓ load", "✓ parity"]
    assert lines[-1].startswith("passed on ")


def test_json(edgecv: Any, bundle: Path) -> None:
    outcome = edgecv("verify", bundle, "--json", "--backend", "openvino", "--threads", 1)
    answer = json.loads(outcome.out)
    assert answer["passed"] is True
    assert "on openvino " in answer["checks"][2]["detail"] and "1 thread" in answer["checks"][2]["detail"]


def test_altered_bundle_is_status_1(edgecv: Any, edgecv_process: Any, bundle: Path, tmp_path: Path) -> None:
    content = bytearray(bundle.read_bytes())
    content[len(content) // 2] ^= 1
    path = tmp_path / "a.edgecv"
    path.write_bytes(content)
    for run in (edgecv, edgecv_process):
        outcome = run("verify", path)
        assert outcome.status == 1 and outcome.err == ""
        assert outcome.out.startswith(f"✗ integrity: {path}") and "\nFAILED on " in outcome.out
        assert json.loads(run("verify", path, "--json").out)["passed"] is False


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--backend", "nonsense"], "backend must be one of litert, tflite"),
        (["--backend", "litert"], "back end 'litert' runs tflite; this artefact is onnx"),
        (["--device", "TPU"], "received device 'TPU'"),
        (["--threads", "0"], "threads must be in 1..1024; received 0"),
    ],
)
def test_bad_requests_are_status_2(edgecv: Any, bundle: Path, options: list[str], message: str) -> None:
    outcome = edgecv("verify", bundle, *options)
    assert outcome.status == 2 and message in outcome.error


def test_missing_file_and_folder_are_status_2(edgecv: Any, tmp_path: Path) -> None:
    for path in (tmp_path / "none.edgecv", tmp_path):
        outcome = edgecv("verify", path)
        assert outcome.status == 2 and outcome.error.startswith(f"edgecv verify: no bundle at {path}")


def test_missing_library_is_status_2(edgecv: Any, bundle: Path, block_import: Any) -> None:
    for package in ("onnxruntime", "openvino"):
        block_import(package)
    outcome = edgecv("verify", bundle)
    assert outcome.status == 2 and "pip install 'edgecv-runtime[onnx]'" in outcome.error


@pytest.mark.parametrize("kernels", ["fast", "precise"])
def test_kernels_reach_the_back_end(
    edgecv: Any, bundle: Path, picture: Path, pictures: Path, kernels: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With every command that runs a bundle."""
    from edgecv_runtime.backends.onnxruntime import ONNXRuntimeBackend

    asked: list[str] = []
    choose = ONNXRuntimeBackend.choose_kernels
    monkeypatch.setattr(
        ONNXRuntimeBackend, "choose_kernels", lambda self, name, *rest: asked.append(name) or choose(name, *rest)
    )
    for arguments in (
        ["verify", bundle],
        ["eval", bundle, "--data", pictures],
        ["run", bundle, "--source", picture],
        ["compare", bundle, bundle, "--data", pictures, "--runs", 1],
    ):
        asked.clear()
        assert edgecv(*arguments, "--kernels", kernels).status == 0
        assert asked and set(asked) == {kernels}
    answer = json.loads(edgecv("verify", bundle, "--json", "--kernels", kernels).out)
    assert answer["kernels"] == kernels and answer["latency_ratio_precise_to_fast"] is None


def test_kernels_there_are_not(edgecv: Any, bundle: Path) -> None:
    outcome = edgecv("verify", bundle, "--kernels", "slow")
    assert outcome.status == 2
    assert outcome.error == "edgecv verify: kernels must be one of auto, fast, precise; received 'slow'"


def test_precise_kernels_are_found_told_and_remembered(
    edgecv: Any, bundle: Path, picture: Path, saturating: Any, own_cache: Path
) -> None:
    outcome = edgecv("verify", bundle, "--backend", "saturating")
    assert outcome.status == 0 and outcome.err == ""
    assert "✓ parity: " in outcome.out and "with the precise kernels, since the fast ones break" in outcome.out
    assert (own_cache / "kernels.json").is_file()
    outcome = edgecv("run", bundle, "--source", picture, "--backend", "saturating")
    assert "precise kernels" in outcome.err
    saturating.wrong = ("fast", "precise")
    outcome = edgecv("verify", bundle, "--backend", "saturating")
    assert outcome.status == 1 and "the precise kernels break it too" in outcome.out
