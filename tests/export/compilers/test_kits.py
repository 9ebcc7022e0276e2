"""What vendors' tools are given: float graphs, tables of ranges, pictures, scripts; and the tools where they are found.

TensorRT, RKNN-Toolkit2 and Hailo's compiler are not here: programs that stand for them see what they would be given.
"""

from __future__ import annotations

import io
import json
import os
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import edgecv_runtime as ert
from edgecv_export.compilers import hailo, rockchip
from edgecv_export.compilers.bundle import compile_bundle
from edgecv_export.compilers.float_onnx import FloatModel, float_onnx, without_head
from edgecv_export.compilers.tensorrt import calibration_cache
from edgecv_runtime.bundle import Bundle
from edgecv_runtime.errors import AcceleratorError, BackendError, InputError, UnsupportedError
from edgecv_runtime.preprocess import Preprocessor
from edgecv_targets import load_target

NOT_HERE = "/nowhere"


@pytest.fixture(scope="module")
def int8(made: Callable[..., Any]) -> Path:
    return made("mobilenet", "onnx", "int8").path


@pytest.fixture(scope="module")
def fp32(made: Callable[..., Any]) -> Path:
    return made("mobilenet", "onnx", "fp32").path


def run(content: bytes, tensor: np.ndarray, *, fused: bool = True) -> np.ndarray:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    if not fused:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(content, options, ["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: tensor})[0]


def pixels(bundle: Path, scenes: Any) -> np.ndarray:
    tensor, _ = Preprocessor(Bundle(bundle).manifest.inputs[0])(scenes[0])
    return tensor


# -- the float graph of an int8 one ------------------------------------------------------------------------------------


def rounded(model: FloatModel) -> bytes:
    """The float graph with each activation rounded to the 256 levels of its range again."""
    import onnx
    from onnx import helper, numpy_helper

    graph = onnx.load_from_string(model.content)
    nodes = []
    for node in graph.graph.node:
        nodes.append(node)
        for place, name in enumerate(node.output):
            if name not in model.ranges:
                continue
            low, high = model.ranges[name]
            scale = np.float32((high - low) / 255)
            for word, value in (("scale", scale), ("zero", np.uint8(round(-low / scale)))):
                graph.graph.initializer.append(numpy_helper.from_array(np.asarray(value), f"{name}/{word}"))
            node.output[place] = f"{name}/real"
            rule = [f"{name}/scale", f"{name}/zero"]
            nodes.append(helper.make_node("QuantizeLinear", [f"{name}/real", *rule], [f"{name}/levels"]))
            nodes.append(helper.make_node("DequantizeLinear", [f"{name}/levels", *rule], [name]))
    del graph.graph.node[:]
    graph.graph.node.extend(nodes)
    return bytes(graph.SerializeToString())


def test_the_float_graph_answers_as_the_int8_one(int8: Path, scenes: Any) -> None:
    """The same weights and activations: with the rounding of each activation put back, the int8 answers come out.

    Both graphs are computed operator by operator: fused kernels round sums that lie between two levels their own way.
    """
    content = Bundle(int8).artefact().model
    again = rounded(float_onnx(content))
    prepare = Preprocessor(Bundle(int8).manifest.inputs[0])
    for scene in scenes[:4]:
        tensor, _ = prepare(scene)
        wanted = run(content, tensor, fused=False)
        step = np.diff(np.unique(wanted)).min()
        np.testing.assert_allclose(run(again, tensor, fused=False), wanted, rtol=0, atol=1.01 * step)


def test_no_integer_is_left_and_the_activations_are_back(int8: Path, fp32: Path) -> None:
    import onnx

    def kinds(content: bytes) -> dict[str, int]:
        names = [node.op_type for node in onnx.load_from_string(content).graph.node]
        return {name: names.count(name) for name in set(names)}

    model = onnx.load_from_string(float_onnx(Bundle(int8).artefact().model).content)
    onnx.checker.check_model(model)
    found, plain = kinds(model.SerializeToString()), kinds(Bundle(fp32).artefact().model)
    assert "QuantizeLinear" not in found and "DequantizeLinear" not in found
    assert found["Conv"] == plain["Conv"]
    # Each ReLU6 of the float model is there; where the calibration saw nothing above 6, a ReLU is as good.
    assert found["Clip"] + found.get("Relu", 0) >= plain["Clip"] > 0


def test_a_float_graph_stays_as_it_is(fp32: Path) -> None:
    content = Bundle(fp32).artefact().model
    assert float_onnx(content).content == content and not float_onnx(content).ranges


def quantized(scale: float, zero: int, kind: type = np.uint8) -> bytes:
    """image → Cast → Q → DQ → scores, by hand."""
    from onnx import TensorProto, helper, numpy_helper

    nodes = [
        helper.make_node("Cast", ["image"], ["real"], to=TensorProto.FLOAT),
        helper.make_node("Neg", ["real"], ["turned"]),
        helper.make_node("QuantizeLinear", ["turned", "s", "z"], ["turned_q"]),
        helper.make_node("DequantizeLinear", ["turned_q", "s", "z"], ["scores"]),
    ]
    graph = helper.make_graph(
        nodes,
        "by hand",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, [1, 2, 2, 3])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, 2, 2, 3])],
        [numpy_helper.from_array(np.float32(scale), "s"), numpy_helper.from_array(kind(zero), "z")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()


@pytest.mark.parametrize(
    ("scale", "zero", "kind", "bounds", "activation"),
    [
        (0.5, 100, np.uint8, (-50.0, 77.5), None),
        (0.5, 0, np.uint8, (0.0, 127.5), "Relu"),
        (6 / 255, 0, np.uint8, (0.0, 6.0), "Clip"),
        (6 / 255, -128, np.int8, (0.0, 6.0), "Clip"),
    ],
)
def test_ranges_by_hand(scale: float, zero: int, kind: type, bounds: Any, activation: str | None) -> None:
    import onnx

    found = float_onnx(quantized(scale, zero, kind))
    assert found.ranges["turned"] == pytest.approx(bounds)
    names = [node.op_type for node in onnx.load_from_string(found.content).graph.node]
    assert names == ["Cast", "Neg", *([activation] if activation else []), "Identity"]
    image = np.arange(12, dtype=np.uint8).reshape(1, 2, 2, 3)
    expected = -image.astype(np.float32) if activation is None else np.zeros((1, 2, 2, 3))
    np.testing.assert_array_equal(run(found.content, image), expected)


def test_the_head_comes_off(fp32: Path, scenes: Any) -> None:
    """What is left takes normalized pixels, channels first, and answers the same."""
    content = Bundle(fp32).artefact().model
    tensor = pixels(fp32, scenes)
    bare = without_head(content)
    given = ((tensor - np.array(bare.mean)) / np.array(bare.std)).transpose(0, 3, 1, 2).astype(np.float32)
    np.testing.assert_allclose(run(bare.content, given), run(content, tensor), rtol=1e-4, atol=1e-6)
    assert bare.mean == pytest.approx((127.5,) * 3) and bare.std == pytest.approx((127.5,) * 3)  # Howard 2017: −1 to 1


def test_a_graph_that_does_not_begin_with_pixels(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match=r"begins with pixels .* and a Transpose; here Neg comes first"):
        without_head(float_onnx(quantized(0.5, 100)).content)


# -- Jetson ------------------------------------------------------------------------------------------------------------


def test_calibration_cache_by_hand() -> None:
    """127 levels on each side: ±254 has scale 2 = 0x40000000, −63.5…10 has 0.5 = 0x3f000000 (IEEE 754, big-endian)."""
    written = calibration_cache({"a:0": (-1.0, 254.0), "b": (-63.5, 10.0)}).decode()
    assert written.splitlines()[1:] == ["a:0: 40000000", "b: 3f000000"]
    assert written.startswith("TRT-") and written.splitlines()[0].endswith("-EntropyCalibration2")


def test_a_jetson_gets_a_float_model_and_our_table(int8: Path, tmp_path: Path) -> None:
    compile_bundle(int8, load_target("jetson-orin-nano"), tmp_path / "jetson.edgecv")
    bundle = Bundle(tmp_path / "jetson.edgecv")
    compiler = bundle.report()["device"]["compiler"]
    assert compiler["compiled"] is False and compiler["note"].startswith("prepared, not compiled here: TensorRT builds")
    model, table = bundle.member("tensorrt/model.onnx") or b"", (bundle.member("tensorrt/calibration.cache") or b"")
    scales = dict(line.rsplit(": ", 1) for line in table.decode().splitlines()[1:])
    ranges = float_onnx(Bundle(int8).artefact().model).ranges
    assert scales.keys() == ranges.keys()
    for name, digits in scales.items():
        (scale,) = struct.unpack(">f", bytes.fromhex(digits))
        assert 127 * scale == pytest.approx(max(map(abs, ranges[name])), rel=1e-6)
    import onnx

    tensors = {name for node in onnx.load_from_string(model).graph.node for name in node.output}
    assert scales.keys() <= tensors  # TensorRT finds ranges by name
    options = json.loads(bundle.member("tensorrt/provider_options.json") or b"")["TensorrtExecutionProvider"]
    assert options["trt_int8_enable"] and options["trt_fp16_enable"] and options["trt_engine_cache_enable"]
    assert ert.verify(tmp_path / "jetson.edgecv").passed  # the portable artefact is as it was


def test_the_first_jetson_has_no_int8(int8: Path, fp32: Path, tmp_path: Path) -> None:
    """Its Maxwell GPU computes in float16; and what was proven in float32 stays in float32."""
    for source, half in ((int8, True), (fp32, False)):
        compile_bundle(source, load_target("jetson-nano"), tmp_path / "nano.edgecv")
        bundle = Bundle(tmp_path / "nano.edgecv")
        script = (bundle.member("tensorrt/build.sh") or b"").decode()
        assert ("--fp16" in script) is half and "--int8" not in script
        assert bundle.member("tensorrt/calibration.cache") is None


def test_a_graph_that_no_tool_takes_runs_on_the_cores(int8: Path, tmp_path: Path) -> None:
    import onnx

    from edgecv_export.metadata import embed
    from edgecv_runtime.artefact import Artefact
    from edgecv_runtime.bundle import write_bundle

    source = Bundle(int8)
    model = onnx.load_from_string(source.artefact().model)
    turned = next(node for node in model.graph.node if node.op_type == "Transpose")
    model.graph.node.insert(0, onnx.helper.make_node("Abs", [turned.input[0]], ["first"]))
    turned.input[0] = "first"
    artefact = embed(Artefact("onnx", model.SerializeToString()), source.manifest)
    golden = source.member("golden.npz") or b""
    write_bundle(tmp_path / "odd.edgecv", source.manifest, artefact.members() | {"golden.npz": golden})
    compile_bundle(tmp_path / "odd.edgecv", load_target("rk3588"), tmp_path / "rk.edgecv")
    bundle = Bundle(tmp_path / "rk.edgecv")
    note = bundle.report()["device"]["compiler"]["note"]
    assert note.startswith("not prepared, it runs on the cores: the tool needs a graph that begins with pixels")
    assert not any(name.startswith("rockchip") for name in bundle.manifest.members)


def fake_tool(path: Path, text: str) -> None:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def test_the_board_s_script_puts_its_own_version_into_the_table(int8: Path, tmp_path: Path) -> None:
    compile_bundle(int8, load_target("jetson-orin-nano"), tmp_path / "jetson.edgecv")
    bundle = Bundle(tmp_path / "jetson.edgecv")
    for name in ("model.onnx", "build.sh", "calibration.cache"):
        (tmp_path / name).write_bytes(bundle.member(f"tensorrt/{name}") or b"")
    fake_tool(
        tmp_path / "trtexec",
        'echo "&&&& RUNNING TensorRT.trtexec [TensorRT v100300]"\n'
        'for word in "$@"; do case "$word" in\n'
        f'--calib=*) head -n 1 "${{word#--calib=}}" > {tmp_path}/seen;;\n'
        '--saveEngine=*) echo engine > "${word#--saveEngine=}";;\n'
        f'esac; done; echo "$@" >> {tmp_path}/words',
    )
    done = subprocess.run(
        ["/bin/sh", str(tmp_path / "build.sh"), "--verbose"],
        env=os.environ | {"TRTEXEC": str(tmp_path / "trtexec")}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert (tmp_path / "seen").read_text() == "TRT-100300-EntropyCalibration2\n"
    assert (tmp_path / "model.engine").read_text() == "engine\n"
    words = (tmp_path / "words").read_text().splitlines()[-1].split()
    assert {"--fp16", "--int8", "--verbose", f"--onnx={tmp_path}/model.onnx"} <= set(words)
    assert done.stdout.splitlines()[-1] == f"{tmp_path}/model.engine"
    gone = subprocess.run(
        ["/bin/sh", str(tmp_path / "build.sh")],
        env=os.environ | {"TRTEXEC": NOT_HERE}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert gone.returncode == 2 and "trtexec is not here" in gone.stderr


def test_the_runtime_takes_the_float_model_and_the_table_for_tensorrt(
    int8: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What ONNX Runtime would be given, with another provider in TensorRT's place."""
    import onnxruntime

    compile_bundle(int8, load_target("jetson-orin-nano"), tmp_path / "jetson.edgecv")
    with pytest.raises(AcceleratorError, match="received device 'TensorRT'"):
        ert.load(tmp_path / "jetson.edgecv", device="TensorRT")
    monkeypatch.setenv("EDGECV_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(
        onnxruntime, "get_available_providers", lambda: ["TensorrtExecutionProvider", "CPUExecutionProvider"]
    )
    given: dict[str, Any] = {}

    def session(content: bytes, settings: Any, providers: Any, **rest: Any) -> Any:
        given["content"], given["providers"] = content, providers
        raise RuntimeError("no such library")

    monkeypatch.setattr(onnxruntime, "InferenceSession", session)
    with pytest.raises(AcceleratorError, match="cannot run the model on TensorRT: no such library"):
        ert.load(tmp_path / "jetson.edgecv", device="TensorRT", options={"trt_max_workspace_size": 1})
    assert given["content"] == Bundle(tmp_path / "jetson.edgecv").member("tensorrt/model.onnx")
    ((name, options),) = given["providers"]
    folder = Path(options["trt_int8_calibration_table_name"])
    table = Path(options["trt_engine_cache_path"]) / folder
    assert name == "TensorrtExecutionProvider" and options["trt_int8_enable"] == options["trt_fp16_enable"] == "1"
    assert options["trt_int8_use_native_calibration_table"] == "1" and options["trt_max_workspace_size"] == "1"
    assert table.read_bytes() == Bundle(tmp_path / "jetson.edgecv").member("tensorrt/calibration.cache")
    assert table.is_relative_to(tmp_path / "cache")


# -- Rockchip and Hailo ------------------------------------------------------------------------------------------------

_TOOLKIT = '''
"""Stands for rknn-toolkit2: notes what it is asked, and checks what it is given."""
import json, pathlib
import onnx

class RKNN:
    def __init__(self, verbose): self.said = {}
    def config(self, **words): self.said["config"] = words; return 0
    def load_onnx(self, model): self.graph = onnx.load(model).graph; return 0
    def build(self, do_quantization, dataset):
        self.said |= {"quantize": do_quantization, "pictures": len(pathlib.Path(dataset).read_text().split())}
        self.said["shape"] = [size.dim_value for size in self.graph.input[0].type.tensor_type.shape.dim]
        return RESULT
    def export_rknn(self, path): pathlib.Path(path).write_text(json.dumps(self.said)); return 0
    def release(self): pass
'''


@pytest.fixture
def toolkit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    def install(result: int) -> None:
        folder = tmp_path / "site" / "rknn"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "__init__.py").write_text("")
        (folder / "api.py").write_text(_TOOLKIT.replace("RESULT", str(result)))
        monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))
        monkeypatch.setenv(rockchip.PYTHON_VARIABLE, sys.executable)

    return install


def test_rockchip_is_prepared(int8: Path, tmp_path: Path, scenes: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(rockchip.PYTHON_VARIABLE, raising=False)
    compile_bundle(int8, load_target("rk3588"), tmp_path / "rk.edgecv", calibration=list(scenes[:3]))
    bundle = Bundle(tmp_path / "rk.edgecv")
    assert bundle.report()["device"]["compiler"]["note"].startswith("prepared, not compiled here: no Python with rknn")
    pictures = np.load(io.BytesIO(bundle.member("rockchip/calibration.npy") or b""))
    assert len(pictures) == 3 and pictures.dtype == np.uint8
    np.testing.assert_array_equal(pictures[0], pixels(int8, scenes)[0])
    assert bundle.member(rockchip.COMPILED) is None


def test_rockchip_where_the_toolkit_is(int8: Path, tmp_path: Path, scenes: Any, toolkit: Callable[[int], None]) -> None:
    toolkit(0)
    compile_bundle(int8, load_target("rk3566"), tmp_path / "rk.edgecv", calibration=list(scenes[:3]))
    bundle = Bundle(tmp_path / "rk.edgecv")
    said = json.loads(bundle.member(rockchip.COMPILED) or b"")
    assert said["config"]["target_platform"] == "rk3566" and said["quantize"] is True and said["pictures"] == 3
    _, height, width, channels = pixels(int8, scenes).shape
    assert said["shape"] == [1, channels, height, width]
    (mean,), (std,) = said["config"]["mean_values"], said["config"]["std_values"]
    assert mean == pytest.approx([127.5] * 3, abs=1) and std == pytest.approx([127.5] * 3, abs=1)
    assert bundle.report()["device"]["compiler"]["compiled"] is True
    toolkit(1)
    with pytest.raises(BackendError, match="rknn-toolkit2 refuses the model: build failed with status 1"):
        compile_bundle(int8, load_target("rk3566"), tmp_path / "bad.edgecv")
    assert not (tmp_path / "bad.edgecv").exists()


def test_a_python_that_is_none(int8: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(rockchip.PYTHON_VARIABLE, NOT_HERE)
    with pytest.raises(BackendError, match="EDGECV_RKNN_PYTHON must name a Python with rknn-toolkit2; /nowhere"):
        compile_bundle(int8, load_target("rk3588"), tmp_path / "rk.edgecv")


def test_hailo_is_prepared_and_run_where_it_is_found(
    int8: Path, tmp_path: Path, scenes: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = load_target("pi-5-hailo-8l")
    monkeypatch.setenv("PATH", str(tmp_path))
    compile_bundle(int8, target, tmp_path / "hailo.edgecv", calibration=list(scenes[:2]))
    bundle = Bundle(tmp_path / "hailo.edgecv")
    assert bundle.report()["device"]["compiler"]["note"] == "prepared, not compiled here: no hailo on PATH"
    script = (bundle.member("hailo/model_script.alls") or b"").decode()
    assert script.startswith("normalization1 = normalization([12")
    with pytest.raises(InputError, match="leave out --only-compiled"):
        compile_bundle(int8, target, tmp_path / "x.edgecv", only_compiled=True)
    fake_tool(
        tmp_path / "hailo",
        'case "$1" in\n'
        'parser) test -s "$3" && echo parsed > model.har;;\n'
        "optimize) test -s calibration.npy && test -s model_script.alls && cat model.har > model_quantized.har;;\n"
        'compiler) cat "$2" > "$NETWORK.hef";;\nesac',
    )
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setenv("NETWORK", Bundle(int8).manifest.name)
    compile_bundle(int8, target, tmp_path / "hailo.edgecv")
    assert Bundle(tmp_path / "hailo.edgecv").member(hailo.COMPILED) == b"parsed\n"
    fake_tool(tmp_path / "hailo", "echo unsupported layer >&2; exit 1")
    with pytest.raises(BackendError, match="hailo refuses the model: unsupported layer"):
        compile_bundle(int8, target, tmp_path / "bad.edgecv")
