"""ONNX models on ONNX Runtime."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from edgecv_runtime import cpu
from edgecv_runtime._require import require
from edgecv_runtime.artefact import Artefact
from edgecv_runtime.backends.accelerators import check_taken, on_cpu
from edgecv_runtime.backends.base import Backend
from edgecv_runtime.backends.providers import choose_provider, count_taken, prepare_count, provider_list
from edgecv_runtime.errors import AcceleratorError, BackendError
from edgecv_runtime.manifest import Manifest, TensorSpec

_DTYPES = {
    "tensor(float)": "float32", "tensor(float16)": "float16", "tensor(double)": "float64", "tensor(uint8)": "uint8",
    "tensor(int8)": "int8", "tensor(uint16)": "uint16", "tensor(int16)": "int16", "tensor(int32)": "int32",
    "tensor(int64)": "int64", "tensor(bool)": "bool",
}  # fmt: skip


class ONNXRuntimeBackend(Backend):
    """Inference through an ONNX Runtime session.

    On an x86 CPU without VNNI its fast kernels multiply u8 × s8 pairs into 16 bits and saturate: the same int8
    file loses points of accuracy there. The precise kernels (session option ``session.x64quantprecision``) do not, and
    ``"auto"`` takes them on such a CPU. Its float kernels compute in float32 everywhere.

    Elsewhere it runs with an execution provider: ``device="GPU"`` and ``"NPU"`` take the first that is built in,
    ``"CUDA"``, ``"TensorRT"`` or ``"OpenVINO:GPU"`` name one, and `options` are the provider's own. ONNX Runtime gives
    every operator that the provider does not take to the CPU without a word; it is asked which ones those are.
    """

    name: ClassVar[str] = "onnxruntime"
    formats: ClassVar[tuple[str, ...]] = ("onnx",)
    package: ClassVar[str] = "onnxruntime"
    install: ClassVar[str] = "edgecv-runtime[onnx]"
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
        ort = require("onnxruntime", install=self.install, purpose=f"back end {self.name!r}")
        self._threads, self._requested = threads or cpu.available_cores(), kernels
        available = ort.get_available_providers()
        provider, implied = choose_provider(device or "CPU", available)
        self.kernels = self.choose_kernels(kernels, manifest, device)
        settings = self._settings(ort, manifest)
        here = on_cpu(device)
        if here and options:
            raise AcceleratorError(
                f"onnxruntime has options for execution providers only; received {dict(options)} for the CPU"
            )
        folder = None if here else prepare_count(ort.InferenceSession, settings)
        precision = None if manifest is None else manifest.precision
        providers = provider_list(provider, implied | dict(options or {}), precision, available)
        try:
            # Without this it would print to stdout and go on with the CPU where the provider fails.
            self._session: Any = ort.InferenceSession(
                artefact.model, settings, providers, enable_fallback=False, disabled_optimizers=_disabled(manifest)
            )
            if not here:
                if provider not in self._session.get_providers():
                    raise AcceleratorError(f"onnxruntime cannot start {provider} here and would run on the CPU instead")
                placement = count_taken(self._session, provider, device or "CPU", folder)
                self.placement = check_taken("onnxruntime", placement)
        except AcceleratorError:
            raise
        except Exception as error:  # noqa: BLE001  # its exceptions share no base class of their own
            reason = " ".join(str(error).split())
            if here:
                raise BackendError(f"onnxruntime refuses the model: {reason}") from None
            raise AcceleratorError(f"onnxruntime cannot run the model on {device}: {reason}") from None
        self.inputs = tuple(_spec(node) for node in self._session.get_inputs())
        self.outputs = tuple(_spec(node) for node in self._session.get_outputs())
        self._input_names = [spec.name for spec in self.inputs]
        self._output_names = [spec.name for spec in self.outputs]

    def _settings(self, ort: Any, manifest: Manifest | None) -> Any:
        """Session options: threads, and what keeps the model as it was proven."""
        options = ort.SessionOptions()
        options.intra_op_num_threads = self._threads
        options.log_severity_level = 4  # errors come as exceptions; its warnings are about its own optimizer
        if self.kernels == "precise":
            options.add_session_config_entry("session.x64quantprecision", "1")
        if manifest is not None and manifest.precision == "dynamic":
            # Weights are stored as int8 and dequantized: once, when the session is made, instead of at every call.
            options.add_session_config_entry("session.disable_quant_qdq", "1")
        return options

    @classmethod
    def auto_kernels(cls, manifest: Manifest | None) -> str:
        return "precise" if cpu.saturates_int8() else "fast"

    def infer(self, inputs: Sequence[npt.NDArray[Any]]) -> list[npt.NDArray[Any]]:
        if self._session is None:
            raise BackendError("this onnxruntime model is closed")
        self.check_inputs(inputs)
        try:
            feeds = dict(zip(self._input_names, inputs, strict=True))
            outputs: list[npt.NDArray[Any]] = self._session.run(self._output_names, feeds)
        except Exception as error:  # noqa: BLE001  # as above
            raise BackendError(f"onnxruntime cannot run this input: {' '.join(str(error).split())}") from None
        return outputs

    def close(self) -> None:
        self._session = None

    @property
    def note(self) -> str:
        return self._state(self._threads, self._requested)


def _disabled(manifest: Manifest | None) -> list[str]:
    """Optimizers that would change the model.

    WeightBiasQuantization stores the weights of a float layer between two quantized ones as int8, one scale for all
    channels: what ``mixed`` keeps in float would be lost (MobileNetV1 0.25: agreement with float 93 % → 65 %).
    """
    return ["WeightBiasQuantization"] if manifest is not None and manifest.precision == "mixed" else []


def _spec(node: Any) -> TensorSpec:
    shape = tuple(size if isinstance(size, int) else None for size in node.shape)
    return TensorSpec(node.name, shape, np.dtype(_DTYPES.get(node.type, "object")).name)
