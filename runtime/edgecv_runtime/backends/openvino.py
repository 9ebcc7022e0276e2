"""OpenVINO IR (and ONNX) models on OpenVINO."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from edgecv_runtime import cpu
from edgecv_runtime._require import require
from edgecv_runtime.artefact import Artefact
from edgecv_runtime.backends.accelerators import Placement, on_cpu
from edgecv_runtime.backends.base import Backend
from edgecv_runtime.backends.providers import cache_folder
from edgecv_runtime.errors import AcceleratorError, BackendError
from edgecv_runtime.manifest import INTEGER_PRECISIONS, Manifest, TensorSpec


class OpenVINOBackend(Backend):
    """Inference through an OpenVINO infer request, tuned for the latency of one image.

    Three of OpenVINO's defaults change answers from one CPU to the next, and are set here: float models would run
    in bfloat16 or float16 where the CPU has it; compressed weights would quantize activations on the fly; and integer
    models saturate on x86 without VNNI. The first two are switched off always. The third is what the precise kernels
    are for: without the low-precision transformations (``LP_TRANSFORMS_MODE``) integer models are computed in float32
    (int8 then saves size, not time). ``"auto"`` takes them for integer models on such a CPU.

    ``device`` is one of OpenVINO's: ``"GPU"``, ``"GPU.1"``, ``"NPU"``, ``"AUTO"``, ``"AUTO:GPU,CPU"``,
    ``"HETERO:NPU,CPU"``; `options` are its properties. What was compiled for a GPU or an NPU is kept for the next
    start. ``AUTO`` may settle on the CPU: where that was not all that was asked for, it is an error.
    """

    name: ClassVar[str] = "openvino"
    formats: ClassVar[tuple[str, ...]] = ("openvino", "onnx")
    package: ClassVar[str] = "openvino"
    install: ClassVar[str] = "edgecv-runtime[openvino]"
    kernel_sets: ClassVar[tuple[str, ...]] = ("fast", "precise")
    takes: ClassVar[frozenset[str]] = frozenset({"options"})

    def __init__(
        self,
        artefact: Artefact,
        *,
        manifest: Manifest | None = None,
        device: str | None = None,
        threads: int | None = None,
        kernels: str = "auto",
        delegate: str | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        openvino = require("openvino", install=self.install, purpose=f"back end {self.name!r}")
        core = openvino.Core()
        device = "CPU" if device is None else device.upper()
        _check_device(device, core.available_devices)
        config: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY"}
        self._threads, self._requested = threads or cpu.available_cores(), kernels
        self._together = threads is None  # several at a time then share the cores, else each has its threads
        self.kernels = self.choose_kernels(kernels, manifest, device)
        if device == "CPU":
            config |= {"INFERENCE_NUM_THREADS": self._threads, "INFERENCE_PRECISION_HINT": "f32"}
            # Compressed weights would otherwise bring 8-bit activations along, group by group.
            config["DYNAMIC_QUANTIZATION_GROUP_SIZE"] = 0
        if self.kernels == "precise":
            config["LP_TRANSFORMS_MODE"] = "NO"
        folder = cache_folder("openvino")
        if device != "CPU" and device in core.available_devices and folder is not None:
            config["CACHE_DIR"] = folder
        config |= dict(options or {})
        self._artefact, self._device = artefact, device
        self._config, self._options = config, dict(options or {})
        try:
            self._compiled: Any = core.compile_model(_read(core, openvino, artefact), device, config)
            self._request: Any = self._compiled.create_infer_request()
            self._tensor: Any = openvino.Tensor
        except (RuntimeError, ValueError, TypeError) as error:  # a name in the file that is not UTF-8 is a ValueError
            if _accelerators(device):
                raise AcceleratorError(f"openvino cannot run the model on {device}: {_one_line(error)}") from None
            raise BackendError(f"openvino refuses the model: {_one_line(error)}") from None
        self.placement = _placement(device, self._compiled.get_property("EXECUTION_DEVICES"))
        self.inputs = tuple(_spec(port) for port in self._compiled.inputs)
        self.outputs = tuple(_spec(port) for port in self._compiled.outputs)

    @classmethod
    def auto_kernels(cls, manifest: Manifest | None) -> str:
        integer = manifest is not None and manifest.precision in INTEGER_PRECISIONS
        return "precise" if integer and cpu.saturates_int8() else "fast"

    def infer(self, inputs: Sequence[npt.NDArray[Any]]) -> list[npt.NDArray[Any]]:
        if self._request is None:
            raise BackendError("this openvino model is closed")
        self.check_inputs(inputs)
        try:
            # Tensors set one by one: infer() would send a list of arrays through layers of Python, for twice the time.
            # Sharing the memory saves a copy; OpenVINO shares only what is contiguous and writable.
            for index, array in enumerate(inputs):
                flags = array.flags
                shared = array if flags.c_contiguous and flags.writeable else array.copy()
                self._request.set_input_tensor(index, self._tensor(shared, shared_memory=True))
            outputs: list[npt.NDArray[Any]] = list(self._request.infer().to_tuple())  # copies, in the order of outputs
        except (RuntimeError, ValueError, TypeError) as error:
            raise BackendError(f"openvino cannot run this input: {_one_line(error)}") from None
        return outputs

    def requests(self, count: int) -> list[Backend] | None:
        """One compiled model, several infer requests.

        On the CPU it is compiled anew with as many streams, or the requests would wait for one another. On other
        devices the plugin runs as many at a time as suit it.
        """
        if self._request is None:
            raise BackendError("this openvino model is closed")
        try:
            if self._device == "CPU":
                self._compile_for(1 + count)
            further = [copy.copy(self) for _ in range(count)]
            for one in further:
                one._request = self._compiled.create_infer_request()
        except (RuntimeError, ValueError, TypeError) as error:
            raise BackendError(f"openvino makes no {1 + count} infer requests: {_one_line(error)}") from None
        return list(further)

    def _compile_for(self, requests: int) -> None:
        """Take the place of what was compiled for one image at a time."""
        openvino = require("openvino", install=self.install, purpose=f"back end {self.name!r}")
        core = openvino.Core()
        threads = self._threads if self._together else self._threads * requests
        streams = {"NUM_STREAMS": str(min(requests, threads)), "INFERENCE_NUM_THREADS": threads}
        config = {**self._config, **streams, **self._options}
        self._request = self._compiled = None  # its memory goes before more is taken
        self._compiled = core.compile_model(_read(core, openvino, self._artefact), self._device, config)
        self._request = self._compiled.create_infer_request()

    def close(self) -> None:
        self._request = None
        self._compiled = None

    @property
    def note(self) -> str:
        return self._state(self._threads, self._requested)


_VIRTUAL = ("AUTO", "HETERO", "MULTI", "BATCH")  # devices that hand the work on to others


def _parts(device: str) -> list[str]:
    """The real devices that a name speaks of: ``"AUTO:GPU.1,CPU"`` of GPU and CPU; ``"AUTO"`` of none."""
    kind, _, listed = device.partition(":")
    named = listed.split(",") if kind in _VIRTUAL else [device]
    return [name.strip().lstrip("-").partition(".")[0].partition("(")[0] for name in named if name.strip()]


def _accelerators(device: str) -> list[str]:
    return [name for name in _parts(device) if not on_cpu(name)]


def _check_device(device: str, available: Sequence[str]) -> None:
    """Refuse a device of which nothing is here.

    Raises
    ------
    AcceleratorError
    """
    there = {name.partition(".")[0] for name in available}
    parts = _parts(device)
    known = device.partition(":")[0] in _VIRTUAL
    if (not parts and not known) or (parts and not there.intersection(parts)):
        raise AcceleratorError(f"OpenVINO finds {', '.join(available)} here; received device {device!r}")


def _placement(device: str, running: Sequence[str]) -> Placement:
    """Where OpenVINO says that a compiled model runs.

    Raises
    ------
    AcceleratorError
        Only on the CPU, and something else was asked for.
    """
    used = [name.strip("()") for name in running]
    if all(on_cpu(name) for name in used):
        wanted = _accelerators(device)
        if wanted:
            raise AcceleratorError(
                f"OpenVINO would run the model on the CPU, since it finds no {' or '.join(wanted)} for it; "
                f"received device {device!r}: allow fallback='cpu', or leave the device out"
            )
        return Placement()
    return Placement(",".join(used))


def _read(core: Any, openvino: Any, artefact: Artefact) -> Any:
    if artefact.weights is None:
        return core.read_model(model=artefact.model, weights=b"")
    weights = openvino.Tensor(np.frombuffer(artefact.weights, np.uint8))
    return core.read_model(model=artefact.model, weights=weights)


def _one_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__


def _spec(port: Any) -> TensorSpec:
    names = sorted(port.get_names())
    shape = tuple(None if size.is_dynamic else int(size.get_length()) for size in port.get_partial_shape())
    return TensorSpec(names[0] if names else "", shape, np.dtype(port.get_element_type().to_dtype()).name)
