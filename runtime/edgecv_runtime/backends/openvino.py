"""OpenVINO IR (and ONNX) models on OpenVINO."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from edgecv_runtime import cpu
from edgecv_runtime._require import require
from edgecv_runtime.artefact import Artefact
from edgecv_runtime.backends.base import Backend
from edgecv_runtime.errors import BackendError, UnsupportedError
from edgecv_runtime.manifest import INTEGER_PRECISIONS, Manifest, TensorSpec


class OpenVINOBackend(Backend):
    """Inference through an OpenVINO infer request, tuned for the latency of one image.

    Three of OpenVINO's defaults change answers from one CPU to the next, and are set here: float models would run
    in bfloat16 or float16 where the CPU has it; compressed weights would quantize activations on the fly; and integer
    models saturate on x86 without VNNI. The first two are switched off always. The third is what the precise kernels
    are for: without the low-precision transformations (``LP_TRANSFORMS_MODE``) integer models are computed in float32
    (int8 then saves size, not time). ``"auto"`` takes them for integer models on such a CPU.
    """

    name: ClassVar[str] = "openvino"
    formats: ClassVar[tuple[str, ...]] = ("openvino", "onnx")
    package: ClassVar[str] = "openvino"
    install: ClassVar[str] = "edgecv-runtime[openvino]"
    kernel_sets: ClassVar[tuple[str, ...]] = ("fast", "precise")

    def __init__(
        self,
        artefact: Artefact,
        *,
        manifest: Manifest | None = None,
        device: str | None = None,
        threads: int | None = None,
        kernels: str = "auto",
    ) -> None:
        openvino = require("openvino", install=self.install, purpose=f"back end {self.name!r}")
        core = openvino.Core()
        device = device or "CPU"
        if device.partition(".")[0] not in {name.partition(".")[0] for name in core.available_devices}:
            raise UnsupportedError(
                f"OpenVINO finds {', '.join(core.available_devices)} here; received device {device!r}"
            )
        config: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY"}
        self._threads, self._requested = threads or cpu.available_cores(), kernels
        self.kernels = self.choose_kernels(kernels, manifest, device)
        if device == "CPU":
            config |= {"INFERENCE_NUM_THREADS": self._threads, "INFERENCE_PRECISION_HINT": "f32"}
            # Compressed weights would otherwise bring 8-bit activations along, group by group.
            config["DYNAMIC_QUANTIZATION_GROUP_SIZE"] = 0
        if self.kernels == "precise":
            config["LP_TRANSFORMS_MODE"] = "NO"
        try:
            model = _read(core, openvino, artefact)
            self._compiled: Any = core.compile_model(model, device, config)
            self._request: Any = self._compiled.create_infer_request()
            self._tensor: Any = openvino.Tensor
        except (RuntimeError, ValueError, TypeError) as error:  # a name in the file that is not UTF-8 is a ValueError
            raise BackendError(f"openvino refuses the model: {_one_line(error)}") from None
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

    def close(self) -> None:
        self._request = None
        self._compiled = None

    @property
    def note(self) -> str:
        return self._state(self._threads, self._requested)


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
