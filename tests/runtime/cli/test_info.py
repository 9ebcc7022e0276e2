from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from edgecv_runtime import cpu
from edgecv_runtime.backends.registry import backend_class
from edgecv_runtime.bundle import Bundle
from edgecv_runtime.kernels import remember
from edgecv_runtime.manifest import InputSpec, Normalization, Quantization, Resize, TensorSpec

KERNELS = {
    "tflite": "precise here, on litert",
    "onnx": "fast here, on onnxruntime",
    "openvino": "fast here, on openvino",
}


def test_text(edgecv: Any, any_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgecv_runtime.cpu.saturates_int8", lambda: False)
    outcome = edgecv("info", any_bundle)
    assert outcome.status == 0 and outcome.err == ""
    lines = [line.strip() for line in outcome.out.splitlines()]
    manifest = Bundle(any_bundle).manifest
    assert lines[0] == "tiny: classification, tiny (alpha 1.0)"
    assert lines[1].startswith(f"artefact   {manifest.format} fp32, ")
    assert lines[2] == ("input      image 1×6×8×3 uint8, RGB NHWC, resize crop 1 (linear), normalisation in graph")
    assert lines[3] == "output     scores 1×4 float32"
    assert lines[4:] == [
        "decoder    classification (activation none)",
        "labels     4: ant, bee, cat, dog",
        "parameters 580",
        "macs       576",
        "made with  edgecv 0.1.0",
        f"CPU        where it was proven is not known, here {cpu.describe()}",
        f"kernels    {KERNELS[manifest.format]}",
    ]


def test_json(edgecv: Any, bundle: Path) -> None:
    answer = json.loads(edgecv("info", bundle, "--json").out)
    assert answer["manifest"] == Bundle(bundle).manifest.to_dict()
    assert answer["report"] == {"parameters": 580, "macs": 576}
    assert answer["size"] == Bundle(bundle).size
    assert set(answer["here"]) == {"cpu", "cpu_differences", "backend", "kernels", "remembered"}
    assert (answer["here"]["backend"], answer["here"]["remembered"]) == ("onnxruntime", False)


def test_kernels_where_fast_ones_saturate_and_what_verify_remembers(
    edgecv: Any, tiny: Any, tmp_path: Path, x86_without_vnni: None
) -> None:
    path = tiny.write(tmp_path / "a.edgecv", made_with={"edgecv": "0.1.0", "cpu": "m68k"})
    lines = edgecv("info", path).out.splitlines()
    assert lines[-1] == "  kernels    precise here, on onnxruntime"
    assert lines[-2].startswith(f"  CPU        proven on m68k, here {cpu.describe()} (another architecture, ")
    assert lines[-3] == "  made with  edgecv 0.1.0"
    remember(Bundle(path).artefact(), backend_class("onnxruntime"), "fast")
    assert edgecv("info", path).out.splitlines()[-1].endswith("fast here, on onnxruntime (found by edgecv verify)")
    assert json.loads(edgecv("info", path, "--json").out)["here"]["remembered"] is True


def test_everything_that_may_stand_in_a_manifest(edgecv: Any, tiny: Any, tmp_path: Path) -> None:
    image = InputSpec(
        "image", (None, 3, 6, 8), "int8", Quantization(0.5, -3), layout="NCHW", color="BGR",
        resize=Resize("letterbox", interpolation="area"), normalization=Normalization((1.0, 2.0, 3.0), (4.0, 5.0, 6.0)),
    )  # fmt: skip
    path = tiny.write(
        tmp_path / "a.edgecv",
        architecture={"name": "foreign"},
        inputs=(image,),
        outputs=(TensorSpec("scores", (None, 1200), "int8", Quantization(0.1, 7)),),
        labels=tuple(f"class {index}" for index in range(1200)),
        made_with={},
        golden=tiny.golden(tiny.manifest("onnx")),
        extra={"report.json": b'{"parameters": "many", "accuracy": NaN}'},
    )
    outcome = edgecv("info", path)
    assert outcome.status == 0
    assert "tiny: classification, foreign\n" in outcome.out
    assert "image ?×3×6×8 int8 (scale 0.5, zero point -3), BGR NCHW, resize letterbox (area), " in outcome.out
    assert "normalisation mean [1.0, 2.0, 3.0] std [4.0, 5.0, 6.0]" in outcome.out
    assert "labels     1200: class 0, class 1, class 2, class 3, class 4, …" in outcome.out
    assert "parameters" not in outcome.out
    answer = json.loads(edgecv("info", path, "--json").out, parse_constant=pytest.fail)
    assert answer["report"]["accuracy"] is None  # JSON knows no NaN


def test_no_back_end_is_needed(edgecv: Any, bundle: Path, block_import: Any) -> None:
    for package in ("onnxruntime", "openvino", "ai_edge_litert", "cv2"):
        block_import(package)
    outcome = edgecv("info", bundle)
    assert outcome.status == 0 and "kernels" not in outcome.out


def test_what_is_no_bundle(edgecv: Any, tmp_path: Path) -> None:
    (tmp_path / "a.edgecv").write_text("text")
    outcome = edgecv("info", tmp_path / "a.edgecv")
    assert outcome.status == 2 and "not a bundle at all" in outcome.error
