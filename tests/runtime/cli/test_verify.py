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
