"""TFLite models on LiteRT (Google's successor of tflite-runtime)."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt

from edgecv_runtime import cpu
from edgecv_runtime._require import require
from edgecv_runtime.artefact import Artefact
from edgecv_runtime.backends.accelerators import (
    DELEGATES,
    Placement,
    check_taken,
    delegate_choices,
    delegate_device,
    delegated_operators,
)
from edgecv_runtime.backends.base import Backend
from edgecv_runtime.errors import AcceleratorError, BackendError, UnsupportedError
from edgecv_runtime.manifest import Manifest, Quantization, TensorSpec

if TYPE_CHECKING:
    from edgecv_runtime.backends.litert_compiled import CompiledModel


class LiteRTBackend(Backend):
    """Inference through the LiteRT interpreter: on the CPU with its XNNPACK kernels, elsewhere with a delegate.

    On the CPU it has one set of kernels, and they are precise: 8-bit products are added in 32 bits on every CPU, and
    float models run in float32. ``kernels="precise"`` is therefore what one gets anyway, and ``"fast"`` is refused.

    A delegate is a shared library, named by its path or found by the system's loader. What it does not take runs on
    the CPU; the interpreter tells which operators those are. Where no delegate for the device starts, LiteRT's own
    accelerators are tried (`litert_compiled`), and options for the CPU go the same way.
    """

    name: ClassVar[str] = "litert"
    formats: ClassVar[tuple[str, ...]] = ("tflite",)
    package: ClassVar[str] = "ai_edge_litert"
    install: ClassVar[str] = "edgecv-runtime[litert]"
    kernel_sets: ClassVar[tuple[str, ...]] = ("precise",)
    takes: ClassVar[frozenset[str]] = frozenset({"delegate", "options"})
    _module: ClassVar[str] = "ai_edge_litert.interpreter"
    _compiles: ClassVar[bool] = True  # whether the library has a CompiledModel

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
        device = delegate_device(device, delegate)
        if device == "CPU" and options and not self._compiles:
            raise AcceleratorError(f"{self.name} has options for delegates only; received {dict(options)} for the CPU")
        self.kernels = self.choose_kernels(kernels, manifest, device)
        library = require(self._module, install=self.install, purpose=f"back end {self.name!r}")
        self._threads = threads or cpu.available_cores()
        self._compiled: CompiledModel | None = None
        loaded, refused = self._delegate(library, device, delegate, options)
        try:
            self._interpreter: Any = library.Interpreter(
                model_content=artefact.model, num_threads=self._threads, experimental_delegates=loaded
            )
            if loaded:  # before XNNPACK takes the rest, which counts as a delegate too
                operators = self._interpreter._get_ops_details()
                self.placement = check_taken("LiteRT", Placement(device, *delegated_operators(operators)))
            if refused or (options and not loaded):
                self._compile(artefact.model, device, options, refused)
            else:
                self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            if isinstance(error, UnsupportedError):
                raise
            raise _refusal(self.name, error, device) from None
        inputs, outputs = self._interpreter.get_input_details(), self._interpreter.get_output_details()
        self._input_indices = [detail["index"] for detail in inputs]
        self._output_indices = [detail["index"] for detail in outputs]
        self.inputs = tuple(_spec(detail) for detail in inputs)
        self.outputs = tuple(_spec(detail) for detail in outputs)

    def _delegate(
        self, library: Any, device: str, delegate: str | None, options: Mapping[str, Any] | None
    ) -> tuple[list[Any], str]:
        """The delegate for the device, if one is meant; or why none starts where there is another way."""
        if device == "CPU":
            return [], ""
        try:
            return [_load_delegate(library, device, delegate, options)], ""
        except AcceleratorError as error:
            if delegate is not None or not self._compiles:
                raise
            return [], str(error)

    def _compile(self, content: bytes, device: str, options: Mapping[str, Any] | None, refused: str) -> None:
        """The model in LiteRT's own accelerator; the interpreter is left to tell its inputs and outputs."""
        from edgecv_runtime.backends.litert_compiled import CompiledModel  # few need it, and every start would pay

        try:
            self._compiled = CompiledModel(
                content,
                self._interpreter.get_input_details(),
                self._interpreter.get_output_details(),
                device=device,
                operators=len(self._interpreter._get_ops_details()),
                threads=self._threads,
                options=options,
            )
        except AcceleratorError as error:
            raise AcceleratorError(f"{refused}; {error}" if refused else str(error)) from None
        self.placement = self._compiled.placement

    def infer(self, inputs: Sequence[npt.NDArray[Any]]) -> list[npt.NDArray[Any]]:
        if self._interpreter is None:
            raise BackendError(f"this {self.name} model is closed")
        self.check_inputs(inputs)
        try:
            if self._compiled is not None:
                return self._compiled.infer(inputs)
            for index, array in zip(self._input_indices, inputs, strict=True):
                self._interpreter.set_tensor(index, array)
            self._interpreter.invoke()
        except (ValueError, RuntimeError) as error:
            raise BackendError(f"{self.name} cannot run this input: {_one_line(error)}") from None
        return [self._interpreter.get_tensor(index) for index in self._output_indices]

    def close(self) -> None:
        if self._compiled is not None:
            self._compiled.close()
        self._interpreter = self._compiled = None

    @property
    def note(self) -> str:
        return self._state(self._threads, self.kernels)


def _load_delegate(library: Any, device: str, delegate: str | None, options: Mapping[str, Any] | None) -> Any:
    """The delegate that was named, or the first of those known for the device that starts here."""
    reasons = []
    for path in delegate_choices(device, delegate):
        try:
            # LiteRT's own loader would complain on stderr when its half-made object is thrown away.
            _ = ctypes.CDLL(path).tflite_plugin_create_delegate
            return library.load_delegate(path, dict(options or {}))
        except (OSError, AttributeError, ValueError, RuntimeError) as error:
            # No such file, no delegate at all, a device that is not there, another Python than CPython.
            reasons.append(f"{path}: {_one_line(error)}")
    if delegate is not None:
        raise AcceleratorError(f"the delegate cannot be used: {reasons[0]}")
    tried = ", ".join(entry.file for entry in DELEGATES if entry.device == device)
    raise AcceleratorError(f"no delegate for {device} starts here (tried {tried}): name one with delegate=PATH")


# Operators that compilers of accelerators put in the place of a whole graph.
_COMPILED = {"ethos-u": "an Arm Ethos-U", "edgetpu-custom-op": "a Coral Edge TPU"}


def _refusal(name: str, error: Exception, device: str) -> BackendError | UnsupportedError:
    reason = _one_line(error)
    for operator, accelerator in _COMPILED.items():
        if f"custom op: {operator}" in reason:
            return UnsupportedError(
                f"this artefact is compiled for {accelerator} and runs on that device only, with its delegate; "
                f"received device {device!r}: take the bundle that also holds the portable artefact"
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
