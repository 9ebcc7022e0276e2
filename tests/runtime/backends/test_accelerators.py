"""Accelerators: a real delegate compiled here, execution providers, OpenVINO's devices; never the CPU in silence."""

from __future__ import annotations

import json
import shutil
import subprocess
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import edgecv_runtime as ert
from edgecv_runtime.artefact import Artefact
from edgecv_runtime.backends import open_backend
from edgecv_runtime.backends.accelerators import Placement, delegated_operators, known_delegate
from edgecv_runtime.backends.providers import choose_provider, provider_list
from edgecv_runtime.compiled import COMPILED_MEMBER
from edgecv_runtime.errors import AcceleratorError, InputError
from edgecv_runtime.manifest import DecoderSpec

Check = Callable[[pytest.ExceptionInfo[Any]], str]
AZURE = "AzureExecutionProvider"  # built into every onnxruntime wheel, and takes nothing but its own operators


@pytest.fixture(scope="session")
def delegate(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A delegate for dense layers, from the C source beside this file."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler here")
    library = tmp_path_factory.mktemp("delegate") / "libdense.so"
    source = Path(__file__).with_name("delegate.c")
    flags = ["-Wall", "-Wextra", "-Werror", "-O1", "-shared", "-fPIC"]
    subprocess.run([compiler, *flags, "-o", str(library), str(source)], check=True, capture_output=True)
    return str(library)


@pytest.fixture
def bundle(tiny: Any, tmp_path: Path) -> Path:
    path: Path = tiny.write(tmp_path / "tiny.edgecv", "tflite")
    return path


# -- LiteRT's delegates ------------------------------------------------------------------------------------------------


def test_a_delegate_computes_what_it_takes(tiny: Any, delegate: str) -> None:
    """Its two dense layers of the four operators; doubled, so that one sees who computed them."""
    image = tiny.image(1)
    for options, factor in ((None, 1), ({"factor": 2}, 2)):
        with open_backend(tiny.artefact("tflite"), delegate=delegate, options=options) as backend:
            scores, total = backend.infer([image[None]])
            np.testing.assert_array_equal(scores[0], factor * tiny.reference.scores(image))
            np.testing.assert_array_equal(total[0], factor * tiny.reference.total(image))
            assert backend.placement == Placement("NPU", 2, 4) and backend.device == "NPU"
            assert backend.note == "NPU: 2 of 4 operators"


def test_without_a_delegate_it_is_the_cpu(tiny: Any) -> None:
    with open_backend(tiny.artefact("tflite")) as backend:  # XNNPACK takes operators too, and is the CPU
        assert backend.placement == Placement("CPU") and "thread" in backend.note


def test_a_delegate_that_takes_nothing_is_an_error_unless_the_cpu_was_allowed(
    tiny: Any, delegate: str, one_line: Check
) -> None:
    how: dict[str, Any] = {"delegate": delegate, "options": {"take": "nothing"}}
    with pytest.raises(AcceleratorError) as caught:
        open_backend(tiny.artefact("tflite"), **how)
    assert "NPU takes none of this model's 4 operators" in one_line(caught)
    with (
        pytest.warns(RuntimeWarning, match="running on the CPU instead: NPU takes none"),
        open_backend(tiny.artefact("tflite"), **how, fallback="cpu") as backend,
    ):
        assert backend.device == "CPU"
        np.testing.assert_array_equal(backend.infer([tiny.image(1)[None]])[0][0], tiny.reference.scores(tiny.image(1)))


@pytest.mark.parametrize(
    ("options", "library", "reason"),
    [
        ({"absent": 1}, None, "no such device is plugged in"),
        ({}, "/nowhere/libdense.so", "cannot open shared object file"),
        ({}, "libm.so.6", "tflite_plugin_create_delegate"),
    ],
)
def test_a_delegate_that_cannot_be_used(
    tiny: Any, delegate: str, one_line: Check, options: dict[str, Any], library: str | None, reason: str
) -> None:
    with pytest.raises(AcceleratorError) as caught:
        open_backend(tiny.artefact("tflite"), delegate=library or delegate, options=options)
    assert one_line(caught).startswith("the delegate cannot be used: ") and reason in one_line(caught)
    with pytest.warns(RuntimeWarning, match="running on the CPU instead"):
        open_backend(tiny.artefact("tflite"), delegate=library or delegate, options=options, fallback="cpu").close()


def test_device_and_delegate_must_agree(tiny: Any, delegate: str) -> None:
    artefact = tiny.artefact("tflite")
    with pytest.raises(AcceleratorError, match="takes the model off the CPU; received device 'CPU'"):
        open_backend(artefact, device="CPU", delegate=delegate)
    with pytest.raises(AcceleratorError, match="is for device 'NPU'; received 'GPU'"):
        open_backend(artefact, device="GPU", delegate="/usr/lib/libedgetpu.so.1.0")
    with pytest.raises(AcceleratorError, match="'onnxruntime' takes no delegates"):
        open_backend(tiny.artefact("onnx"), delegate=delegate)
    with pytest.raises(InputError, match="fallback must be cpu, or left out; received 'gpu'"):
        open_backend(artefact, fallback="gpu")


def test_known_delegates() -> None:
    assert [entry.device for name in ("libedgetpu.so.1", "/x/libedgetpu.so") if (entry := known_delegate(name))] == [
        "NPU",
        "NPU",
    ]
    assert known_delegate("libtensorflowlite_gpu_delegate.so").device == "GPU"  # type: ignore[union-attr]
    assert known_delegate("libdense.so") is None


def test_operators_between_what_a_part_reads_and_writes_are_its_own() -> None:
    """a → 0 → b → 1 → c → 2 → d, with a branch b → 3 → e; the part reads b and gives d: operators 1 and 2 of four."""
    own = [("A", [0], [1]), ("B", [1], [2]), ("C", [2], [3]), ("D", [1], [4])]
    details = [{"op_name": name, "inputs": inputs, "outputs": outputs} for name, inputs, outputs in own]
    assert delegated_operators(details) == (0, 4)
    details.append({"op_name": "DELEGATE", "inputs": [1], "outputs": [3]})
    assert delegated_operators(details) == (2, 4)
    details.append({"op_name": "DELEGATE", "inputs": [1, 7], "outputs": [4]})
    assert delegated_operators(details) == (3, 4)


# -- bundles and commands ----------------------------------------------------------------------------------------------


def test_the_compiled_artefact_runs_with_its_own_delegate_only(tiny: Any, delegate: str, tmp_path: Path) -> None:
    """It is told apart by its answers: another model under the same names."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    tree = schema.ModelT.InitFromPackedBuf(tiny.artefact("tflite").model, 0)
    tree.description = b"made of the custom operator ethos-u"
    weights = next(t for t in tree.subgraphs[0].tensors if t.name == b"weights")
    tree.buffers[weights.buffer].data = (-tree.buffers[weights.buffer].data.view(np.float32)).view(np.uint8)
    builder = flatbuffers.Builder(4096)
    builder.Finish(tree.Pack(builder), b"TFL3")
    path = tiny.write(tmp_path / "npu.edgecv", "tflite", extra={COMPILED_MEMBER: bytes(builder.Output())})
    own = tmp_path / "libethosu_delegate.so"
    shutil.copy(delegate, own)
    image = tiny.image(1)
    bias = tiny.reference.bias.astype(np.float32)
    plain = tiny.reference.scores(image)
    for library, expected in ((None, plain), (delegate, plain), (str(own), 2 * bias - plain)):
        with ert.load(path, delegate=library) as model:
            np.testing.assert_array_equal(model.outputs(image)[0][0], expected)
            assert [one.backend.device for one in model.replicas(1)] == [model.backend.device]
    with (
        pytest.warns(RuntimeWarning, match="running the portable artefact on the CPU instead: the delegate cannot be"),
        ert.load(path, device="NPU", options={"absent": 1}, fallback="cpu") as model,
    ):
        np.testing.assert_array_equal(model.outputs(image)[0][0], plain)


@pytest.mark.parametrize("command", ["verify", "bench", "run", "eval", "compare", "gallery"])
def test_the_commands_take_a_delegate(
    command: str, bundle: Path, tiny: Any, delegate: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import cv2

    from edgecv_runtime.cli import main

    (tmp_path / "bee").mkdir()
    cv2.imwrite(str(tmp_path / "bee" / "a.png"), tiny.image(1))
    name = str(bundle)
    rest = {
        "verify": [name],
        "bench": [name, "--runs", "2", "--cold-starts", "1"],
        "run": [name, "--source", str(tmp_path / "bee")],
        "eval": [name, "--data", str(tmp_path)],
        "compare": [name, name, "--data", str(tmp_path), "--runs", "1"],
        "gallery": ["enroll", str(tmp_path / "faces.db"), "Ada", str(tmp_path / "bee" / "a.png"), "--aligned"],
    }[command]
    if command == "gallery":
        embedder = tmp_path / "embedder.edgecv"
        tiny.write(embedder, "tflite", task="embedding", decoder=DecoderSpec("embedding", {}), labels=None)
        rest += ["--embedder", str(embedder), "--quality", "off"]
    words = [command, *rest, "--json", "--delegate"]
    assert main([*words, delegate]) == 0
    answer = capsys.readouterr()
    if command in ("verify", "bench", "compare"):
        assert "NPU: 2 of 4 operators" in json.dumps(json.loads(answer.out))
    assert main([*words, delegate, "--device-option", "take=nothing"]) == 2
    assert "NPU takes none of this model's 4 operators" in capsys.readouterr().err
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        assert main([*words, delegate, "--device-option", "take=nothing", "--fallback", "cpu"]) == 0
    assert "warning: running on the CPU instead" in capsys.readouterr().err
    assert main([*words, delegate, "--device-option", "=1"]) == 2
    assert "--device-option must be KEY=VALUE" in capsys.readouterr().err


def test_a_delegate_that_computes_otherwise_breaks_the_contract(bundle: Path, delegate: str) -> None:
    assert ert.verify(bundle, delegate=delegate).passed
    found = ert.verify(bundle, delegate=delegate, options={"factor": 1.5})
    assert not found.passed and [check.name for check in found.checks if not check.passed] == ["parity"]


# -- ONNX Runtime's execution providers --------------------------------------------------------------------------------


@pytest.mark.parametrize("recorded", [True, False], ids=["recorded", "profiled"])
def test_a_provider_that_takes_nothing_is_the_cpu(
    tiny: Any, one_line: Check, monkeypatch: pytest.MonkeyPatch, recorded: bool
) -> None:
    import onnxruntime

    if AZURE not in onnxruntime.get_available_providers():
        pytest.skip("this onnxruntime has no second execution provider")
    if not recorded:  # as before ONNX Runtime 1.24
        for session in onnxruntime.InferenceSession.__mro__:
            if "get_provider_graph_assignment_info" in vars(session):
                monkeypatch.delattr(session, "get_provider_graph_assignment_info")
    with pytest.raises(AcceleratorError) as caught:
        open_backend(tiny.artefact("onnx"), backend="onnxruntime", device="azure")
    # Product and sum are fused into one.
    assert "azure takes none of this model's 4 operators, so onnxruntime would run it on the CPU" in one_line(caught)
    with (
        pytest.warns(RuntimeWarning, match="running on the CPU instead: azure takes none"),
        open_backend(tiny.artefact("onnx"), backend="onnxruntime", device="azure", fallback="cpu") as backend,
    ):
        assert backend.device == "CPU" and "thread" in backend.note


def test_providers_that_are_not_built_in(tiny: Any, one_line: Check) -> None:
    import onnxruntime

    there = ", ".join(name.removesuffix("ExecutionProvider") for name in onnxruntime.get_available_providers())
    for device in ("TensorRT", "npu", "nonsense"):
        with pytest.raises(AcceleratorError) as caught:
            open_backend(tiny.artefact("onnx"), backend="onnxruntime", device=device)
        assert one_line(caught) == f"this onnxruntime runs on {there}; received device {device!r}"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        open_backend(tiny.artefact("onnx"), backend="onnxruntime", device="cpu").close()


JETSON = ("TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider")
INTEL = ("OpenVINOExecutionProvider", "CPUExecutionProvider")


@pytest.mark.parametrize(
    ("device", "available", "provider", "options"),
    [
        ("GPU", JETSON, "CUDAExecutionProvider", {}),
        ("cuda", JETSON, "CUDAExecutionProvider", {}),
        ("TensorRT", JETSON, "TensorrtExecutionProvider", {}),
        ("GPU", INTEL, "OpenVINOExecutionProvider", {"device_type": "GPU"}),
        ("NPU", INTEL, "OpenVINOExecutionProvider", {"device_type": "NPU"}),
        ("openvino:gpu", INTEL, "OpenVINOExecutionProvider", {"device_type": "GPU"}),
        ("OpenVINO", INTEL, "OpenVINOExecutionProvider", {}),
    ],
)
def test_which_provider_a_device_means(
    device: str, available: tuple[str, ...], provider: str, options: dict[str, str]
) -> None:
    assert choose_provider(device, available) == (provider, options)


def test_tensorrt_keeps_its_engines_and_computes_in_float16_only_where_the_artefact_is_no_float32(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGECV_CACHE", str(tmp_path))
    (name, options), second = provider_list(JETSON[0], {"trt_max_workspace_size": 1 << 30}, "int8", JETSON)
    folder = str(tmp_path / "tensorrt")
    assert (name, second) == JETSON[:2]
    assert options == {
        "trt_engine_cache_enable": "1",
        "trt_engine_cache_path": folder,
        "trt_timing_cache_enable": "1",
        "trt_timing_cache_path": folder,
        "trt_fp16_enable": "1",
        "trt_max_workspace_size": "1073741824",
    }
    assert provider_list(JETSON[0], {}, "fp32", JETSON)[0][1]["trt_fp16_enable"] == "0"
    assert provider_list(JETSON[2], {}, "int8", JETSON) == ["CPUExecutionProvider"]


# -- OpenVINO's devices ------------------------------------------------------------------------------------------------


def test_openvino_on_what_there_is_not(tiny: Any, one_line: Check) -> None:
    for device in ("GPU", "NPU", "GPU.1", "HETERO:GPU,NPU"):
        with pytest.raises(AcceleratorError) as caught:
            open_backend(tiny.artefact("openvino"), device=device)
        assert one_line(caught).startswith("OpenVINO finds CPU here; received device ")


def test_openvino_that_settles_on_the_cpu(tiny: Any, one_line: Check) -> None:
    """AUTO takes the CPU in silence where there is no GPU."""
    with pytest.raises(AcceleratorError) as caught:
        open_backend(tiny.artefact("openvino"), device="AUTO:GPU,CPU")
    assert "OpenVINO would run the model on the CPU, since it finds no GPU for it" in one_line(caught)
    with pytest.warns(RuntimeWarning, match="running on the CPU instead: OpenVINO would run"):
        backend = open_backend(tiny.artefact("openvino"), device="AUTO:GPU,CPU", fallback="cpu")
    with backend, open_backend(tiny.artefact("openvino"), device="AUTO") as automatic:
        assert backend.device == automatic.device == "CPU"
        image = tiny.image(1)
        np.testing.assert_array_equal(automatic.infer([image[None]])[0][0], tiny.reference.scores(image))


def test_openvino_takes_properties(tiny: Any) -> None:
    with open_backend(tiny.artefact("openvino"), options={"NUM_STREAMS": "1"}) as backend:
        assert backend._compiled.get_property("NUM_STREAMS") == 1  # type: ignore[attr-defined]
    with pytest.raises(ert.errors.BackendError, match="NONSENSE"):
        open_backend(tiny.artefact("openvino"), options={"NONSENSE": "1"})


def test_the_mock_takes_neither(tiny: Any) -> None:
    artefact, manifest = Artefact("tflite", b""), tiny.manifest("tflite")
    with pytest.raises(AcceleratorError, match="'mock' takes no delegates"):
        open_backend(artefact, manifest=manifest, backend="mock", delegate="x.so")
    with pytest.warns(RuntimeWarning, match="running on the CPU instead"):
        open_backend(artefact, manifest=manifest, backend="mock", device="NPU", fallback="cpu").close()
