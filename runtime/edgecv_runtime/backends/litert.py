"""TFLite models on LiteRT (Google's successor of tflite-runtime)."""

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
from edgecv_runtime.manifest import Manifest, Quantization, TensorSpec


class LiteRTBackend(Backend):
    """CPU inference through the LiteRT interpreter and its XNNPACK kernels.

    It has one set of kernels, and they are precise: 8-bit products are added in 32 bits on every CPU, and float models
    run in float32. ``kernels="precise"`` is therefore what one gets anyway, and ``"fast"`` is refused.
    """

    name: ClassVar[str] = "litert"
    formats: ClassVar[tuple[str, ...]] = ("tflite",)
    package: ClassVar[str] = "ai_edge_litert"
    install: ClassVar[str] = "edgecv-runtime[litert]"
    kernel_sets: ClassVar[tuple[str, ...]] = ("precise",)
    _module: ClassVar[str] = "ai_edge_litert.interpreter"

    def __init__(
        self,
        artefact: Artefact,
        *,
        manifest: Manifest | None = None,
        device: str | None = None,
        threads: int | None = None,
        kernels: str = "auto",
    ) -> None:
        if device not in (None, "CPU"):
            raise UnsupportedError(f"back end {self.name!r} runs on device 'CPU'; received {device!r}")
        self.kernels = self.choose_kernels(kernels, manifest, device)
        library = require(self._module, install=self.install, purpose=f"back end {self.name!r}")
        self._threads = threads or cpu.available_cores()
        try:
            self._interpreter: Any = library.Interpreter(model_content=artefact.model, num_threads=self._threads)
            self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise _refusal(self.name, error) from None
        inputs, outputs = self._interpreter.get_input_details(), self._interpreter.get_output_details()
        self._input_indices = [detail["index"] for detail in inputs]
        self._output_indices = [detail["index"] for detail in outputs]
        self.inputs = tuple(_spec(detail) for detail in inputs)
        self.outputs = tuple(_spec(detail) for detail in outputs)

    def infer(self, inputs: Sequence[npt.NDArray[Any]]) -> list[npt.NDArray[Any]]:
        if self._interpreter is None:
            raise BackendError(f"this {self.name} model is closed")
        self.check_inputs(inputs)
        try:
            for index, array in zip(self._input_indices, inputs, strict=True):
                self._interpreter.set_tensor(index, array)
            self._interpreter.invoke()
        except (ValueError, RuntimeError) as error:
            raise BackendError(f"{self.name} cannot run this input: {_one_line(error)}") from None
        return [self._interpreter.get_tensor(index) for index in self._output_indices]

    def close(self) -> None:
        self._interpreter = None

    @property
    def note(self) -> str:
        return self._state(self._threads, self.kernels)


# Operators that compilers of accelerators put in the place of a whole graph.
_COMPILED = {"ethos-u": "an Arm Ethos-U", "edgetpu-custom-op": "a Coral Edge TPU"}


def _refusal(name: str, error: Exception) -> BackendError | UnsupportedError:
    reason = _one_line(error)
    for operator, accelerator in _COMPILED.items():
        if f"custom op: {operator}" in reason:
            return UnsupportedError(
                f"this artefact is compiled for {accelerator} and runs on that device only, with its delegate; "
                f"received device 'CPU': take the bundle that also holds the portable artefact"
            )
    return BackendError(f"{name} refuses the model: {reason}")


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _spec(detail: dict[str, Any]) -> TensorSpec:
    scale, zero_point = detail["quantization"]
    return TensorSpec(
        name=detail["name"],
        shape=tuple(detail["shape"].tolist()),
        dtype=np.dtype(detail["dtype"]).name,
        quantization=Quantization(float(scale), int(zero_point)) if scale else None,
    )
