"""One suite for every back end: what `Backend` promises, checked against numbers computed with numpy."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from edgecv_runtime.artefact import Artefact
from edgecv_runtime.backends import Backend, backend_names, open_backend
from edgecv_runtime.backends.registry import backend_class
from edgecv_runtime.errors import AcceleratorError, BackendError, InputError, MissingPackageError, UnsupportedError

Check = Callable[[pytest.ExceptionInfo[Any]], str]

REAL = {
    "litert": ("litert", "tflite"),
    "tflite": ("tflite", "tflite"),
    "onnxruntime": ("onnxruntime", "onnx"),
    "openvino": ("openvino", "openvino"),
    "openvino-onnx": ("openvino", "onnx"),
}


def skip_if_absent(name: str) -> None:
    if not backend_class(name).is_installed():
        pytest.skip(f"{backend_class(name).package} is not installed here")


@pytest.fixture(params=[*REAL, "mock"])
def case(request: pytest.FixtureRequest) -> tuple[str, str]:
    """Back end and format."""
    name, format = REAL.get(request.param, ("mock", "tflite"))
    skip_if_absent(name)
    return name, format


@pytest.fixture
def backend(tiny: Any, case: tuple[str, str]) -> Any:
    name, format = case
    with opened(tiny, name, format) as backend:
        yield backend


def opened(tiny: Any, name: str, format: str, **options: Any) -> Backend:
    return open_backend(tiny.artefact(format), manifest=tiny.manifest(format), backend=name, **options)


def is_mock(backend: Backend) -> bool:
    return backend.name == "mock"


# -- specifications and values -------------------------------------------------------------------------------------


def test_specifications(backend: Backend) -> None:
    assert [(s.name, s.shape, s.dtype, s.quantization) for s in backend.inputs] == [
        ("image", (1, 6, 8, 3), "uint8", None)
    ]
    outputs = [("scores", (1, 4), "float32", None), ("total", (1, 1), "float32", None)]
    if is_mock(backend):
        outputs = outputs[:1]  # as its manifest says
    assert [(s.name, s.shape, s.dtype, s.quantization) for s in backend.outputs] == outputs


def check_values(tiny: Any, backend: Backend, batch: np.ndarray) -> None:
    outputs = backend.infer([batch])
    assert [(o.shape, o.dtype) for o in outputs] == [(s.shape, np.dtype(s.dtype)) for s in backend.outputs]
    if not is_mock(backend):
        np.testing.assert_array_equal(outputs[0][0], tiny.reference.scores(batch[0]))
        np.testing.assert_array_equal(outputs[1][0], tiny.reference.total(batch[0]))


def test_values_are_the_reference_s(tiny: Any, backend: Backend) -> None:
    for seed in range(5):
        check_values(tiny, backend, tiny.image(seed)[None])
    for level in (0, 255):
        check_values(tiny, backend, np.full((1, 6, 8, 3), level, np.uint8))


def test_repeated_calls_give_the_same(tiny: Any, backend: Backend) -> None:
    batch, other = tiny.image(1)[None], tiny.image(2)[None]
    first = [output.tobytes() for output in backend.infer([batch])]
    for _ in range(3):
        assert [output.tobytes() for output in backend.infer([other])] != first
        assert [output.tobytes() for output in backend.infer([batch])] == first


def test_outputs_stay_valid_after_the_next_call_and_after_close(tiny: Any, backend: Backend) -> None:
    outputs = backend.infer([tiny.image(1)[None]])
    copies = [output.copy() for output in outputs]
    for seed in range(2, 6):
        backend.infer([tiny.image(seed)[None]])
    backend.close()
    for output, copy in zip(outputs, copies, strict=True):
        np.testing.assert_array_equal(output, copy)


def test_the_input_is_neither_kept_nor_changed(tiny: Any, backend: Backend) -> None:
    batch = tiny.image(1)[None].copy()
    backend.infer([batch])
    np.testing.assert_array_equal(batch[0], tiny.image(1))
    batch[:] = 0  # a camera's buffer that is filled again
    check_values(tiny, backend, batch)


@pytest.mark.parametrize(
    "view",
    [
        lambda x: x[:, ::-1],
        lambda x: x[:, :, ::-1],
        lambda x: x[..., ::-1],
        np.asfortranarray,
        lambda x: np.repeat(x, 2, axis=2)[:, :, ::2],
        lambda x: np.concatenate([x, x], axis=3)[..., :3],
        lambda x: np.broadcast_to(x[:, :1], x.shape),
    ],
    ids=["flipped", "mirrored", "BGR", "Fortran", "strided", "RGBA", "broadcast"],
)
def test_views_of_any_strides(tiny: Any, backend: Backend, view: Callable[[np.ndarray], np.ndarray]) -> None:
    check_values(tiny, backend, view(tiny.image(3)[None]))


def test_read_only_input(tiny: Any, backend: Backend) -> None:
    batch = tiny.image(1)[None].copy()
    batch.flags.writeable = False
    check_values(tiny, backend, batch)


# -- what does not fit ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "received"),
    [
        (lambda x: [x.astype(np.float32)], "must be uint8 [1, 6, 8, 3]; received float32 [1, 6, 8, 3]"),
        (lambda x: [x.astype(np.int8)], "must be uint8 [1, 6, 8, 3]; received int8 [1, 6, 8, 3]"),
        (lambda x: [x.astype(np.int64)], "must be uint8 [1, 6, 8, 3]; received int64 [1, 6, 8, 3]"),
        (lambda x: [x[:, :5]], "must be uint8 [1, 6, 8, 3]; received uint8 [1, 5, 8, 3]"),
        (lambda x: [x[0]], "must be uint8 [1, 6, 8, 3]; received uint8 [6, 8, 3]"),
        (lambda x: [x.transpose(0, 3, 1, 2)], "must be uint8 [1, 6, 8, 3]; received uint8 [1, 3, 6, 8]"),
        (lambda x: [np.repeat(x, 2, axis=0)], "must be uint8 [1, 6, 8, 3]; received uint8 [2, 6, 8, 3]"),
        (lambda x: [x[:0]], "must be uint8 [1, 6, 8, 3]; received uint8 [0, 6, 8, 3]"),
        (lambda x: [x.tolist()], "must be an array; received list"),
        (lambda x: [None], "must be an array; received NoneType"),
        (lambda x: [], "takes 1 input(s); received 0"),
        (lambda x: [x, x], "takes 1 input(s); received 2"),
    ],
)
def test_inputs_that_do_not_fit_are_refused_and_the_model_goes_on(
    tiny: Any, backend: Backend, one_line: Check, change: Callable[[np.ndarray], list[Any]], received: str
) -> None:
    with pytest.raises(BackendError) as caught:
        backend.infer(change(tiny.image(1)[None]))
    message = one_line(caught)
    assert backend.name in message and received in message
    check_values(tiny, backend, tiny.image(2)[None])


def test_close_is_idempotent_and_a_closed_model_refuses(tiny: Any, backend: Backend, one_line: Check) -> None:
    backend.close()
    backend.close()
    with pytest.raises(BackendError) as caught:
        backend.infer([tiny.image(1)[None]])
    assert one_line(caught) == f"this {backend.name} model is closed"
    assert isinstance(backend.note, str)


def test_context_manager_closes(tiny: Any, case: tuple[str, str]) -> None:
    with opened(tiny, *case) as backend:
        check_values(tiny, backend, tiny.image(1)[None])
    with pytest.raises(BackendError, match="is closed"):
        backend.infer([tiny.image(1)[None]])


def test_unknown_device_is_refused(tiny: Any, case: tuple[str, str], one_line: Check) -> None:
    with pytest.raises(UnsupportedError) as caught:
        opened(tiny, *case, device="TPU")
    assert "'TPU'" in one_line(caught) and "CPU" in one_line(caught)
    opened(tiny, *case, device="CPU").close()


def test_two_models_at_once(tiny: Any, case: tuple[str, str]) -> None:
    first, second = opened(tiny, *case), opened(tiny, *case)
    check_values(tiny, first, tiny.image(1)[None])
    first.close()
    check_values(tiny, second, tiny.image(2)[None])
    second.close()


@pytest.mark.parametrize("threads", [1, 3])
def test_threads(tiny: Any, case: tuple[str, str], threads: int) -> None:
    with opened(tiny, *case, threads=threads) as backend:
        check_values(tiny, backend, tiny.image(1)[None])
        if not is_mock(backend):
            assert backend.note.startswith("1 thread" if threads == 1 else "3 threads")
            assert backend.note.startswith("1 threads") is False


def test_thread_count_reaches_the_library(tiny: Any) -> None:
    with opened(tiny, "onnxruntime", "onnx", threads=1) as backend:
        assert backend._session.get_session_options().intra_op_num_threads == 1
    with opened(tiny, "openvino", "openvino", threads=1) as backend:
        assert backend._compiled.get_property("INFERENCE_NUM_THREADS") == 1
    tasks = "import os; count = lambda: len(os.listdir('/proc/self/task'))\n"
    before, after = _counted(tiny, tasks, threads=1)
    assert after == before  # one thread: the caller's own
    before, after = _counted(tiny, tasks, threads=3)
    assert after == before + 2


def _counted(tiny: Any, prelude: str, threads: int) -> tuple[int, int]:
    """Tasks of a fresh process before and after a LiteRT model ran with `threads`."""
    path = tiny.folder / "threads.tflite"
    path.write_bytes(tiny.artefact("tflite").model)
    program = prelude + (
        "import sys, numpy as np, ai_edge_litert.interpreter\n"
        "from edgecv_runtime.artefact import Artefact\n"
        "from edgecv_runtime.backends import open_backend\n"
        "before = count()\n"
        "backend = open_backend(Artefact.from_file(sys.argv[1]), threads=int(sys.argv[2]))\n"
        "backend.infer([np.zeros((1, 6, 8, 3), np.uint8)])\n"
        "print(before, count())\n"
    )
    command = [sys.executable, "-c", program, str(path), str(threads)]
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    before, after = done.stdout.split()
    return int(before), int(after)


# -- kernels -------------------------------------------------------------------------------------------------------

SETS = {
    "litert": ("precise",), "tflite": ("precise",), "mock": ("fast", "precise"),
    "onnxruntime": ("fast", "precise"), "openvino": ("fast", "precise"),
}  # fmt: skip


@pytest.mark.parametrize("kernels", ["auto", "fast", "precise"])
def test_kernels(tiny: Any, case: tuple[str, str], one_line: Check, kernels: str) -> None:
    name, format = case
    there = backend_class(name).kernel_sets
    assert there == SETS[name]
    if kernels != "auto" and kernels not in there:
        with pytest.raises(UnsupportedError) as caught:
            opened(tiny, name, format, kernels=kernels)
        assert one_line(caught) == (
            f"back end {name!r} has {' and '.join(there)} kernels; received kernels {kernels!r}: leave it at 'auto'"
        )
        return
    with opened(tiny, name, format, kernels=kernels) as backend:
        assert backend.kernels in there and (kernels == "auto" or backend.kernels == kernels)
        assert is_mock(backend) or f"{backend.kernels} " in backend.note
        assert "no VNNI" not in backend.note or kernels == "auto"
        check_values(tiny, backend, tiny.image(1)[None])


@pytest.mark.parametrize("saturates", [True, False])
def test_auto_kernels_go_by_the_cpu(
    tiny: Any, case: tuple[str, str], monkeypatch: pytest.MonkeyPatch, saturates: bool
) -> None:
    name, format = case
    monkeypatch.setattr("edgecv_runtime.cpu.saturates_int8", lambda: saturates)
    manifest = tiny.manifest(format, precision="int8")
    with open_backend(tiny.artefact(format), manifest=manifest, backend=name) as backend:
        exact = SETS[name] == ("precise",) or (saturates and name != "mock")
        assert backend.kernels == ("precise" if exact else "fast")


def test_kernels_that_there_are_not(tiny: Any, case: tuple[str, str], one_line: Check) -> None:
    for kernels in ("slow", "", "FAST", None):
        with pytest.raises(InputError) as caught:
            opened(tiny, *case, kernels=kernels)
        assert one_line(caught) == f"kernels must be one of auto, fast, precise; received {kernels!r}"


def test_only_the_cpu_has_precise_kernels() -> None:
    driver = backend_class("onnxruntime")
    assert driver.choose_kernels("auto", None, "CUDA") == "fast"
    with pytest.raises(UnsupportedError, match="has fast kernels on device 'CUDA'; received kernels 'precise'"):
        driver.choose_kernels("precise", None, "CUDA")


# -- files that are no models --------------------------------------------------------------------------------------

_OPEN_ALL = """
import sys
from pathlib import Path
from edgecv_runtime.artefact import Artefact
from edgecv_runtime.backends import open_backend
from edgecv_runtime.errors import BackendError
name, format, folder = sys.argv[1:]
weights = Path(folder, "weights").read_bytes() if format == "openvino" else None
for path in sorted(Path(folder).glob("*.model")):
    try:
        open_backend(Artefact(format, path.read_bytes(), weights), backend=name)
        print(path.stem, "opened")
    except BackendError as error:
        print(path.stem, "refused" if "\\n" not in str(error) and len(str(error)) > 20 else "many lines")
"""


@pytest.mark.parametrize("name", REAL)
def test_garbage_is_refused_without_a_crash(tiny: Any, tmp_path: Any, name: str) -> None:
    backend, format = REAL[name]
    skip_if_absent(backend)
    artefact, generator = tiny.artefact(format), np.random.default_rng(5)
    cases = {
        "empty": b"",
        "text": b"hello world\n" * 100,
        "zeros": bytes(1000),
        "noise": generator.bytes(5000),
        "start": artefact.model[:4],
        "half": artefact.model[: len(artefact.model) // 2],
        "identifier": b"\x10\0\0\0TFL3" + generator.bytes(200),
    }
    flipped = {}
    for index, position in enumerate(generator.integers(0, len(artefact.model), 40).tolist()):
        changed = bytearray(artefact.model)
        changed[position] ^= 1 << int(generator.integers(8))
        flipped[f"flip{index}"] = bytes(changed)
    for stem, content in (cases | flipped).items():
        (tmp_path / f"{stem}.model").write_bytes(content)
    (tmp_path / "weights").write_bytes(artefact.weights or b"")
    command = [sys.executable, "-c", _OPEN_ALL, backend, format, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    answers = dict(line.split(maxsplit=1) for line in done.stdout.splitlines())
    assert {stem: answers[stem] for stem in cases} == dict.fromkeys(cases, "refused")
    assert {answers[stem] for stem in flipped} <= {"opened", "refused"}
    assert len(answers) == len(cases) + len(flipped)  # nothing else came on stdout


def test_openvino_weights_that_are_too_short(tiny: Any, one_line: Check) -> None:
    artefact = tiny.artefact("openvino")
    with pytest.raises(BackendError) as caught:
        open_backend(Artefact("openvino", artefact.model, artefact.weights[:10]), backend="openvino")
    assert one_line(caught).startswith("openvino refuses the model: ")


# -- the registry --------------------------------------------------------------------------------------------------


def test_names_in_order_of_preference() -> None:
    assert backend_names()[:4] == ("litert", "tflite", "onnxruntime", "openvino")
    assert "mock" in backend_names()


@pytest.mark.parametrize(("format", "name"), [("tflite", "litert"), ("onnx", "onnxruntime"), ("openvino", "openvino")])
def test_the_preferred_back_end_is_taken_and_never_the_mock(tiny: Any, format: str, name: str) -> None:
    with open_backend(tiny.artefact(format)) as backend:
        assert backend.name == name


def test_refused_requests(tiny: Any, one_line: Check) -> None:
    with pytest.raises(InputError) as caught:
        open_backend(tiny.artefact("onnx"), backend="tensorrt")
    assert "backend must be one of litert, " in one_line(caught) and "'tensorrt'" in one_line(caught)
    with pytest.raises(UnsupportedError, match="back end 'litert' runs tflite; this artefact is onnx"):
        open_backend(tiny.artefact("onnx"), backend="litert")
    for threads in (0, -1, 1025, 2**40):
        with pytest.raises(InputError, match=rf"threads must be in 1\.\.1024; received {threads}"):
            open_backend(tiny.artefact("onnx"), threads=threads)
    with pytest.raises(BackendError, match="the mock back end needs a manifest"):
        open_backend(tiny.artefact("onnx"), backend="mock")


@pytest.mark.parametrize(
    ("name", "package", "extra", "format"),
    [
        ("litert", "ai_edge_litert", "litert", "tflite"),
        ("tflite", "tflite_runtime", "tflite", "tflite"),
        ("onnxruntime", "onnxruntime", "onnx", "onnx"),
        ("openvino", "openvino", "openvino", "openvino"),
    ],
)
def test_a_library_that_is_not_installed_is_named_with_its_extra(
    tiny: Any, block_import: Any, one_line: Check, name: str, package: str, extra: str, format: str
) -> None:
    artefact = tiny.artefact(format)
    block_import(package)
    assert not backend_class(name).is_installed()
    with pytest.raises(MissingPackageError) as caught:
        open_backend(artefact, backend=name)
    assert one_line(caught) == (
        f"back end {name!r} needs the package {package}, which is not installed: pip install 'edgecv-runtime[{extra}]'"
    )
    assert isinstance(caught.value, ImportError)


def test_without_any_library_the_message_names_the_first_choice(tiny: Any, block_import: Any, one_line: Check) -> None:
    artefact = tiny.artefact("onnx")
    block_import("onnxruntime")
    with open_backend(artefact) as backend:
        assert backend.name == "openvino"  # the next that reads the format
    block_import("openvino")
    with pytest.raises(MissingPackageError) as caught:
        open_backend(artefact)
    assert one_line(caught) == (
        "running a onnx model needs onnxruntime or openvino, and none is installed: pip install 'edgecv-runtime[onnx]'"
    )


def test_a_library_that_is_there_but_broken_is_told_apart(
    tiny: Any, monkeypatch: pytest.MonkeyPatch, one_line: Check
) -> None:
    def broken(name: str) -> Any:
        raise ImportError("libgomp.so.1: cannot open shared object file")

    artefact = tiny.artefact("onnx")
    monkeypatch.setattr("edgecv_runtime._require.importlib.import_module", broken)
    with pytest.raises(MissingPackageError) as caught:
        open_backend(artefact, backend="onnxruntime")
    assert "is installed but cannot be imported: libgomp.so.1: cannot open shared object file" in one_line(caught)


@pytest.mark.parametrize("name", ["litert", "tflite", "onnxruntime", "openvino", "mock"])
def test_version_and_is_installed_import_nothing(name: str) -> None:
    program = (
        "import sys\n"
        "from edgecv_runtime.backends.registry import backend_class\n"
        f"driver = backend_class({name!r})\n"
        "print(driver.is_installed(), driver.version())\n"
        "assert not {'ai_edge_litert', 'tflite_runtime', 'onnxruntime', 'openvino', 'cv2'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    installed, version = done.stdout.split()
    assert installed == str(importlib.util.find_spec(backend_class(name).package) is not None)
    assert (version != "unknown") == (installed == "True")


def test_version_of_a_vendor_s_build(monkeypatch: pytest.MonkeyPatch) -> None:
    """onnxruntime-gpu installs the package onnxruntime under another distribution name."""
    driver = backend_class("onnxruntime")

    def absent(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr("importlib.metadata.version", absent)
    monkeypatch.setitem(sys.modules, "onnxruntime", type(sys)("onnxruntime"))
    assert driver.version() == "unknown"
    sys.modules["onnxruntime"].__version__ = "9.9"
    assert driver.version() == "9.9"


def test_drivers_from_elsewhere_must_be_back_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    from importlib.metadata import EntryPoint

    points = {
        "nothing": EntryPoint("nothing", "edgecv_runtime_no_such_module:Driver", "edgecv.backends"),
        "wrong": EntryPoint("wrong", "collections:OrderedDict", "edgecv.backends"),
    }
    monkeypatch.setattr("edgecv_runtime.backends.registry._entry_points", lambda: points)
    with pytest.raises(BackendError, match=r"driver of back end 'nothing' .* cannot be imported"):
        backend_class("nothing")
    with pytest.raises(BackendError, match="must be a subclass of Backend"):
        backend_class("wrong")


# -- particular to one library -------------------------------------------------------------------------------------


def test_onnxruntime_precise_kernels(tiny: Any, x86_without_vnni: None) -> None:
    with opened(tiny, "onnxruntime", "onnx") as backend:
        options = backend._session.get_session_options()
        assert options.get_session_config_entry("session.x64quantprecision") == "1"
        assert (
            backend.note.endswith("threads, precise int8 kernels: this CPU has no VNNI") or "1 thread," in backend.note
        )
        check_values(tiny, backend, tiny.image(1)[None])


def test_onnxruntime_fast_kernels_where_they_are_exact(tiny: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgecv_runtime.cpu.saturates_int8", lambda: False)
    with opened(tiny, "onnxruntime", "onnx") as backend:
        options = backend._session.get_session_options()
        with pytest.raises(RuntimeError, match="x64quantprecision"):
            options.get_session_config_entry("session.x64quantprecision")
        assert "precise" not in backend.note


def test_onnxruntime_never_falls_back_to_the_cpu(tiny: Any, monkeypatch: pytest.MonkeyPatch, capfd: Any) -> None:
    import onnxruntime

    providers = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this onnxruntime has CUDA")
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: providers)
    with pytest.warns(UserWarning, match="CUDAExecutionProvider"), pytest.raises(AcceleratorError, match="CUDA"):
        opened(tiny, "onnxruntime", "onnx", device="CUDA")
    assert capfd.readouterr().out == ""


def test_onnxruntime_writes_nothing_to_stdout_when_it_refuses(tiny: Any, capfd: Any, one_line: Check) -> None:
    """By itself it would print that it falls back and try again, into the middle of a JSON document."""
    content = tiny.onnx().replace(b"MatMul", b"Mat\xfful")
    with pytest.raises(BackendError) as caught:
        open_backend(Artefact("onnx", content), backend="onnxruntime")
    assert one_line(caught).startswith("onnxruntime refuses the model: ")
    assert capfd.readouterr() == ("", "")


def test_onnxruntime_dynamic_batch_and_quantized_output(tiny: Any) -> None:
    with open_backend(Artefact("onnx", tiny.onnx(batch="N")), backend="onnxruntime") as backend:
        assert backend.inputs[0].shape == (None, 6, 8, 3)
        batch = np.stack([tiny.image(seed) for seed in range(3)])
        expected = [tiny.reference.scores(image) for image in batch]
        np.testing.assert_array_equal(backend.infer([batch])[0], expected)
        with pytest.raises(BackendError, match=r"must be uint8 \[\?, 6, 8, 3\]; received uint8 \[2, 6, 7, 3\]"):
            backend.infer([batch[:2, :, :7]])
    with open_backend(Artefact("onnx", tiny.onnx(quantized=True)), backend="onnxruntime") as backend:
        assert backend.outputs[0].dtype == "uint8"


@pytest.mark.parametrize(("precision", "precise"), [("int8", True), ("mixed", True), ("fp32", False), ("fp16", False)])
def test_openvino_leaves_out_low_precision_where_it_saturates(
    tiny: Any, x86_without_vnni: None, monkeypatch: pytest.MonkeyPatch, precision: str, precise: bool
) -> None:
    import openvino

    configurations: list[dict[str, Any]] = []
    compile_model = openvino.Core.compile_model

    def spy(self: Any, model: Any, device: str, config: dict[str, Any]) -> Any:
        configurations.append(config)
        return compile_model(self, model, device, config)

    monkeypatch.setattr(openvino.Core, "compile_model", spy)
    manifest = tiny.manifest("openvino", precision=precision)
    with open_backend(tiny.artefact("openvino"), manifest=manifest, backend="openvino") as backend:
        assert ("LP_TRANSFORMS_MODE" in configurations[0]) is precise
        assert ("precise int8 kernels: this CPU has no VNNI" in backend.note) is precise
        check_values(tiny, backend, tiny.image(1)[None])
    assert configurations[0]["INFERENCE_PRECISION_HINT"] == "f32"


def test_openvino_knows_the_internal_property() -> None:
    """LP_TRANSFORMS_MODE is not documented: this fails when a version of OpenVINO no longer knows it."""
    import openvino

    core = openvino.Core()
    image = openvino.opset13.parameter([1, 4], np.float32)
    model = openvino.Model([openvino.opset13.relu(image)], [image], "one")
    core.compile_model(model, "CPU", {"LP_TRANSFORMS_MODE": "NO"})
    with pytest.raises(RuntimeError, match="LP_TRANSFORMS_MODE"):
        core.compile_model(model, "CPU", {"LP_TRANSFORMS_MODE": "PERHAPS"})
    with pytest.raises(RuntimeError, match="LP_TRANSFORMS_NO_SUCH"):
        core.compile_model(model, "CPU", {"LP_TRANSFORMS_NO_SUCH": "NO"})


def test_tflite_runtime_is_the_fallback_and_warns(
    tiny: Any, monkeypatch: pytest.MonkeyPatch, block_import: Any
) -> None:
    """tflite-runtime has LiteRT's interface; LiteRT stands in for it here, as its wheels need numpy 1."""
    interpreter = __import__("ai_edge_litert.interpreter").interpreter
    package = type(sys)("tflite_runtime")
    package.__path__ = []
    package.__spec__ = importlib.util.spec_from_loader("tflite_runtime", None)
    monkeypatch.setitem(sys.modules, "tflite_runtime", package)
    monkeypatch.setitem(sys.modules, "tflite_runtime.interpreter", interpreter)
    artefact = tiny.artefact("tflite")
    block_import("ai_edge_litert")
    with pytest.warns(RuntimeWarning, match=r"pip install 'edgecv-runtime\[litert\]'"):
        backend = open_backend(artefact)
    assert backend.name == "tflite"
    check_values(tiny, backend, tiny.image(1)[None])


def test_mock_draws_from_the_input_in_the_manifest_s_shapes(tiny: Any) -> None:
    from edgecv_runtime.manifest import TensorSpec

    outputs = (TensorSpec("scores", (None, 4), "float32"), TensorSpec("codes", (1, 50), "int8"))
    manifest = tiny.manifest("onnx", outputs=outputs)
    with open_backend(tiny.artefact("onnx"), manifest=manifest, backend="mock") as backend:
        scores, codes = backend.infer([tiny.image(1)[None]])
        assert (scores.shape, codes.shape, codes.dtype) == ((1, 4), (1, 50), np.int8)
        assert codes.min() < -50 and codes.max() > 50
        assert ((scores >= 0) & (scores < 1)).all()
        assert "made up" in backend.note
