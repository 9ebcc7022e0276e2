"""LiteRT's CompiledModel: the CPU with its settings; accelerators that LiteRT refuses, and a stand-in that it takes."""

from __future__ import annotations

import enum
import importlib
import importlib.util
import types
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgecv_runtime.artefact import Artefact
from edgecv_runtime.backends import open_backend
from edgecv_runtime.backends.accelerators import Placement
from edgecv_runtime.errors import AcceleratorError, BackendError

if importlib.util.find_spec("ai_edge_litert") is None:
    pytest.skip("ai_edge_litert is not installed here", allow_module_level=True)

Check = Callable[[pytest.ExceptionInfo[Any]], str]
LIBRARY = "ai_edge_litert.compiled_model"


def opened(tiny: Any, **how: Any) -> Any:
    return open_backend(tiny.artefact("tflite"), **how)


# -- the CPU -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{"kernel_mode": "reference"}, {"kernel_mode": "Builtin"}, {"xnnpack_flags": "0"}])
def test_the_cpu_with_settings_answers_the_same(tiny: Any, options: dict[str, str]) -> None:
    image = tiny.image(1)
    with opened(tiny, options=options, threads=1) as backend, opened(tiny) as plain:
        scores, total = backend.infer([image[None]])
        np.testing.assert_array_equal(scores[0], tiny.reference.scores(image))
        np.testing.assert_array_equal(total[0], tiny.reference.total(image))
        assert backend.inputs == plain.inputs and backend.outputs == plain.outputs
        assert backend.placement == Placement("CPU") and backend.note == "1 thread, precise kernels"
        backend.infer([tiny.image(2)[None]])
        np.testing.assert_array_equal(scores[0], tiny.reference.scores(image))  # what was given stays
        with pytest.raises(BackendError, match="must be uint8"):
            backend.infer([image[None].astype(np.float32)])
    backend.close()
    with pytest.raises(BackendError, match="is closed"):
        backend.infer([image[None]])


def test_each_model_has_its_own_packed_weights(tiny: Any, tmp_path: Path) -> None:
    """LiteRT itself takes one model's file for another of the same shapes: the answers would be the first one's."""
    model = tiny.artefact("tflite").model
    bias = tiny.reference.bias.astype(np.float32)
    assert model.count(bias.tobytes()) == 1
    other = Artefact("tflite", model.replace(bias.tobytes(), (bias + 7).tobytes()))
    image, options = tiny.image(1), {"xnnpack_weight_cache_path": str(tmp_path / "packed")}
    for _ in range(2):  # written, then read
        for artefact, more in ((tiny.artefact("tflite"), 0), (other, 7)):
            with open_backend(artefact, options=options) as backend:
                scores, _ = backend.infer([image[None]])
            np.testing.assert_array_equal(scores[0], tiny.reference.scores(image) + more)
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(AcceleratorError, match="xnnpack_weight_cache_path must be a folder that can be written to"):
        opened(tiny, options={"xnnpack_weight_cache_path": str(blocked)})


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"factor": 2}, "LiteRT's own options for CPU are kernel_mode, enable_ynnpack, .*; received 'factor'"),
        ({"num_threads": 2}, "received 'num_threads'"),  # it is `threads`
        ({"kernel_mode": "fast"}, "option kernel_mode must be DELEGATE, .*REFERENCE, BUILTIN; received 'fast'"),
        ({"enable_ynnpack": "maybe"}, "option enable_ynnpack must be 0 or 1; received 'maybe'"),
        ({"xnnpack_flags": "some"}, "option xnnpack_flags must be a number; received 'some'"),
    ],
)
def test_settings_that_there_are_not(tiny: Any, one_line: Check, options: dict[str, Any], said: str) -> None:
    with pytest.raises(AcceleratorError, match=said) as caught:
        opened(tiny, options=options)
    one_line(caught)


# -- accelerators ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("device", ["GPU", "NPU"])
def test_what_is_not_there_is_refused_with_the_reason(tiny: Any, one_line: Check, device: str) -> None:
    with pytest.raises(AcceleratorError) as caught:
        opened(tiny, device=device)
    said = one_line(caught)
    assert said.startswith(f"no delegate for {device} starts here (tried lib")
    assert device == "GPU" or "(tried libedgetpu.so.1, " in said
    assert f"LiteRT's own {device} accelerator does not run it: " in said and "ERROR" not in said
    image = tiny.image(1)
    with (
        pytest.warns(RuntimeWarning, match="running on the CPU instead: no delegate"),
        opened(tiny, device=device, fallback="cpu") as backend,
    ):
        assert backend.device == "CPU"
        np.testing.assert_array_equal(backend.infer([image[None]])[0][0], tiny.reference.scores(image))


def test_intels_npu_that_is_the_cpu_is_refused(tiny: Any) -> None:
    """LiteRT 2.3 with OpenVINO beside it runs graph_backend=CPU on the CPU and says "fully accelerated"."""
    for word in ("CPU", "cpu", "0", "GPU"):
        with pytest.raises(AcceleratorError, match="graph_backend must be NPU for device 'NPU'"):
            opened(tiny, device="NPU", options={"graph_backend": word})
    with pytest.raises(AcceleratorError, match="option configs_map cannot be given as text"):
        opened(tiny, device="NPU", options={"configs_map": "a=b"})


@dataclass
class GpuOptions:
    enforce_f32: bool = False


class Accelerator(enum.IntFlag):
    CPU = 1
    GPU = 2
    NPU = 4


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> types.SimpleNamespace:
    """LiteRT with a GPU: the CPU's own model in its place, and what was asked for."""
    real = importlib.import_module(LIBRARY)
    asked = types.SimpleNamespace(options=None, full=True)
    actual, plain = real.CompiledModel, real.Options()

    class Options:
        def __init__(self, hardware_accelerators: Accelerator, gpu_options: GpuOptions) -> None:
            self.accelerators, self.gpu = hardware_accelerators, gpu_options

    class CompiledModel:
        @staticmethod
        def from_buffer(content: bytes, environment: Any = None, options: Any = None) -> Any:
            asked.options = options
            model = actual.from_buffer(content, options=plain)
            model.is_fully_accelerated = lambda: asked.full
            # As a signature may have them: in another order than the interpreter.
            model.get_signature_by_index = lambda index: {
                "key": key,
                "inputs": ["image"],
                "outputs": ["total", "scores"],
            }
            key = next(iter(model.get_signature_list()))
            make, run = model.create_output_buffers, model.run_by_index
            model.create_output_buffers = lambda index: make(index)[::-1]
            model.run_by_index = lambda index, given, made: run(index, given, made[::-1])
            return model

    for name, value in (
        ("Options", Options), ("GpuOptions", GpuOptions), ("HardwareAccelerator", Accelerator),
        ("CompiledModel", CompiledModel),
    ):  # fmt: skip
        monkeypatch.setattr(real, name, value)
    return asked


def test_an_accelerator_is_asked_for_alone_and_takes_all(tiny: Any, gpu: types.SimpleNamespace) -> None:
    image = tiny.image(1)
    with opened(tiny, device="GPU", options={"enforce_f32": "yes"}) as backend:
        scores, total = backend.infer([image[None]])
        np.testing.assert_array_equal(scores[0], tiny.reference.scores(image))
        np.testing.assert_array_equal(total[0], tiny.reference.total(image))
        assert backend.placement == Placement("GPU", 4, 4) and backend.note == "GPU: 4 of 4 operators"
        assert backend.kernels == "fast"
    assert gpu.options.accelerators == Accelerator.GPU and gpu.options.gpu == GpuOptions(True)


def test_one_that_takes_a_part_is_refused(tiny: Any, gpu: types.SimpleNamespace, one_line: Check) -> None:
    gpu.full = False
    with pytest.raises(AcceleratorError) as caught:
        opened(tiny, device="GPU")
    assert "does not take every operator, and LiteRT does not tell how many it takes" in one_line(caught)


def test_a_litert_without_it(tiny: Any, monkeypatch: pytest.MonkeyPatch, one_line: Check) -> None:
    import sys

    monkeypatch.setitem(sys.modules, LIBRARY, None)
    with pytest.raises(AcceleratorError, match=r"LiteRT [\d.]+ has no CompiledModel: pip install --upgrade") as caught:
        opened(tiny, device="GPU")
    one_line(caught)
    opened(tiny).close()


def test_beside_a_library_that_it_clashes_with(tiny: Any, monkeypatch: pytest.MonkeyPatch, one_line: Check) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "tensorflow", types.ModuleType("tensorflow"))
    with pytest.raises(AcceleratorError, match="cannot share a process with tensorflow") as caught:
        opened(tiny, options={"kernel_mode": "builtin"})
    one_line(caught)
    opened(tiny).close()


def test_types_without_buffers(tiny: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from edgecv_runtime.backends import litert_compiled

    monkeypatch.setattr(litert_compiled, "_DTYPES", frozenset({"uint8"}))
    with pytest.raises(AcceleratorError, match="no buffers for float32, which 'scores' is"):
        opened(tiny, options={"kernel_mode": "builtin"})
