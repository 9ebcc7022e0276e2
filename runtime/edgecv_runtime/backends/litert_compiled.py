"""LiteRT's ``CompiledModel``: its own accelerators for GPU and NPU, and the CPU with settings of its own.

It needs no delegate: the GPU accelerator and the vendors' compilers come with the package. Told to use the CPU as well,
it leaves what an accelerator does not take to the CPU and never says how much that is, even where it is everything. An
accelerator is therefore asked for alone: it takes the whole model, or it is an error.
"""

from __future__ import annotations

import dataclasses
import enum
import hashlib
import importlib.metadata
import re
import sys
import typing
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecv_runtime._require import require
from edgecv_runtime.backends.accelerators import Placement
from edgecv_runtime.errors import AcceleratorError, MissingPackageError

_INSTALL = "edgecv-runtime[litert]"
# Groups of settings: the class in `ai_edge_litert.options`, and the argument of `Options` that takes it.
_GROUPS = {
    "CPU": (("CpuOptions", "cpu_options"),),
    "GPU": (("GpuOptions", "gpu_options"),),
    "NPU": (("QualcommOptions", "qualcomm_options"), ("IntelOpenVinoOptions", "intel_openvino_options")),
}
_ENVIRONMENT = ("compiler_plugin_path", "dispatch_library_path")  # of an NPU: folders of a vendor's libraries
_WEIGHT_CACHE = "xnnpack_weight_cache_path"
_ELSEWHERE = frozenset({"num_threads"})  # it is `threads`
_DTYPES = frozenset({"float32", "float16", "int32", "int8", "uint8", "bool"})
_WORDS = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}
_NOISE = re.compile(r"ERROR: \[[^\]]*\]|└")
# With it loaded, LiteRT 2.3's accelerators end the process with "free(): invalid pointer" when it closes.
_CLASHES = "tensorflow"
_PARTLY = "Some ops are not accelerated"


class CompiledModel:
    """One model in LiteRT's ``CompiledModel``, with the buffers that it reads and writes.

    Parameters
    ----------
    content : bytes
        A TFLite file.
    inputs, outputs : sequence of dict
        LiteRT's details of its tensors, in the order of `infer`.
    device : {"CPU", "GPU", "NPU"}
    operators : int
        How many the file holds.
    threads : int
        On the CPU.
    options : mapping or None
        Fields of LiteRT's ``CpuOptions``, ``GpuOptions``, ``QualcommOptions`` or ``IntelOpenVinoOptions``; for an NPU
        also the folders of a vendor's libraries. Text is read as what the field is; ``xnnpack_weight_cache_path`` is a
        folder, in which each model has a file of its own.

    Attributes
    ----------
    placement : Placement

    Raises
    ------
    AcceleratorError
        The accelerator is not there, does not take every operator, or has no such option; or a tensor has a type that
        there are no buffers for.
    """

    def __init__(
        self,
        content: bytes,
        inputs: Sequence[Mapping[str, Any]],
        outputs: Sequence[Mapping[str, Any]],
        *,
        device: str,
        operators: int,
        threads: int,
        options: Mapping[str, Any] | None,
    ) -> None:
        _check_types([*inputs, *outputs])
        library = _library()
        try:
            self._model: Any = _compiled(library, content, device, threads, options or {})
            self._write, self._read = self._buffers(inputs, outputs)
        except RuntimeError as error:
            raise AcceleratorError(f"LiteRT's own {device} accelerator does not run it: {_reason(error)}") from None
        if device != "CPU" and not self._model.is_fully_accelerated():
            self.close()
            raise AcceleratorError(f"LiteRT's own {device} accelerator does not run it: {_reason(_PARTLY)}")
        self._shapes = [(tuple(detail["shape"].tolist()), detail["dtype"]) for detail in outputs]
        self.placement = Placement() if device == "CPU" else Placement(device, operators, operators)

    def infer(self, inputs: Sequence[npt.NDArray[Any]]) -> list[npt.NDArray[Any]]:
        """Run once; as of `Backend`."""
        given, made = self._write, self._read
        for buffer, array in zip(given.chosen, inputs, strict=True):
            buffer.write(array)
        self._model.run_by_index(0, given.all, made.all)
        return [
            buffer.read(int(np.prod(shape, dtype=np.int64)), dtype).reshape(shape)
            for buffer, (shape, dtype) in zip(made.chosen, self._shapes, strict=True)
        ]

    def close(self) -> None:
        """Release the buffers before the model that made them."""
        self._write = self._read = _Buffers([], [])
        self._model = None

    def _buffers(
        self, inputs: Sequence[Mapping[str, Any]], outputs: Sequence[Mapping[str, Any]]
    ) -> tuple[_Buffers, _Buffers]:
        model = self._model
        signature = model.get_signature_by_index(0)
        key = signature["key"]
        there = [model.get_input_tensor_details(key)[name]["index"] for name in signature["inputs"]]
        back = [model.get_output_tensor_details(key)[name]["index"] for name in signature["outputs"]]
        return (
            _Buffers.ordered(model.create_input_buffers(0), there, inputs),
            _Buffers.ordered(model.create_output_buffers(0), back, outputs),
        )


@dataclasses.dataclass(frozen=True)
class _Buffers:
    """In the order of the signature, and in the order of the interpreter."""

    all: list[Any]
    chosen: list[Any]

    @classmethod
    def ordered(cls, made: list[Any], tensors: list[int], wanted: Iterable[Mapping[str, Any]]) -> _Buffers:
        by_tensor = dict(zip(tensors, made, strict=True))
        return cls(made, [by_tensor[detail["index"]] for detail in wanted])


def _library() -> Any:
    if _CLASHES in sys.modules:
        raise AcceleratorError(
            f"LiteRT's CompiledModel cannot share a process with {_CLASHES}, which would be aborted at its end: "
            f"take a process that has not loaded {_CLASHES}"
        )
    try:
        return require("ai_edge_litert.compiled_model", install=_INSTALL, purpose="LiteRT's CompiledModel")
    except MissingPackageError:  # it came with LiteRT 2
        version = importlib.metadata.version("ai-edge-litert")
        raise AcceleratorError(f"LiteRT {version} has no CompiledModel: pip install --upgrade '{_INSTALL}'") from None


def _compiled(library: Any, content: bytes, device: str, threads: int, given: Mapping[str, Any]) -> Any:
    places = {name: given[name] for name in _ENVIRONMENT if device == "NPU" and name in given}
    settings = {name: value for name, value in given.items() if name not in places}
    _check_backend(settings)
    if settings.get(_WEIGHT_CACHE):
        settings[_WEIGHT_CACHE] = _own_file(settings[_WEIGHT_CACHE], content)
    groups = _groups(library, device, settings)
    if device == "CPU":
        groups["cpu_options"].num_threads = threads
    return library.CompiledModel.from_buffer(
        content,
        environment=library.Environment.create(**places) if places else None,
        options=library.Options(hardware_accelerators=library.HardwareAccelerator[device], **groups),
    )


# -- settings ----------------------------------------------------------------------------------------------------------


def _groups(library: Any, device: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """The groups of settings for a device: all of the CPU's and GPU's, of the NPUs' those that were given."""
    left = dict(given)
    found, known = {}, [*(_ENVIRONMENT if device == "NPU" else ())]
    for kind, argument in _GROUPS[device]:
        group = getattr(library, kind)
        types = typing.get_type_hints(group)
        names = [field.name for field in dataclasses.fields(group) if field.name not in _ELSEWHERE]
        known += names
        chosen = {name: _value(name, left.pop(name), types[name]) for name in names if name in left}
        if chosen or device != "NPU":
            found[argument] = group(**chosen)
    if left:
        raise AcceleratorError(
            f"LiteRT's own options for {device} are {', '.join(known)}; received {next(iter(left))!r}"
        )
    return found


def _check_backend(given: Mapping[str, Any]) -> None:
    """Intel's plugin runs an "NPU" model on what this says, and calls it fully accelerated on the CPU as well."""
    backend = given.get("graph_backend")
    name = str(getattr(backend, "name", backend)).upper()
    if backend is not None and name not in ("NPU", "2"):
        raise AcceleratorError(f"graph_backend must be NPU for device 'NPU'; received {backend}, which is not the NPU")


def _own_file(folder: Any, content: bytes) -> str:
    """A model's own file in a folder for packed weights: with another model's, LiteRT answers wrongly."""
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise AcceleratorError(f"{_WEIGHT_CACHE} must be a folder that can be written to: {error}") from None
    version = importlib.metadata.version("ai-edge-litert")
    return str(Path(folder, f"{hashlib.sha256(content).hexdigest()[:32]}-{version}.xnnpack"))


def _value(name: str, given: Any, kind: Any) -> Any:
    """A setting as its field's type; text from a command line is read."""
    kinds = [one for one in (typing.get_args(kind) or (kind,)) if one is not type(None)]
    wanted = kinds[0] if len(kinds) == 1 else kind
    if not isinstance(given, str) or wanted is str:
        return given
    try:
        if wanted is bool:
            return _WORDS[given.lower()]
        if isinstance(wanted, type) and issubclass(wanted, enum.Enum):
            return wanted[given.upper()]
        if wanted is int:
            return int(given)
    except (KeyError, ValueError):
        choices = "0 or 1" if wanted is bool else "a number" if wanted is int else ", ".join(wanted.__members__)
        raise AcceleratorError(f"LiteRT's option {name} must be {choices}; received {given!r}") from None
    raise AcceleratorError(f"LiteRT's option {name} cannot be given as text; received {given!r}")


# -- what can go wrong -------------------------------------------------------------------------------------------------


def _check_types(details: Iterable[Mapping[str, Any]]) -> None:
    for detail in details:
        dtype = np.dtype(detail["dtype"]).name
        if dtype not in _DTYPES:
            raise AcceleratorError(
                f"LiteRT's CompiledModel has no buffers for {dtype}, which {detail['name']!r} is: "
                "take a delegate, or the CPU without options"
            )


def _reason(error: object) -> str:
    """LiteRT's own words, without its places in source code."""
    said = " ".join(_NOISE.sub(" ", str(error)).split())
    if _PARTLY in said:
        return "it is not there or does not take every operator, and LiteRT does not tell how many it takes"
    return said or "LiteRT gives no reason (its remarks on stderr may: --debug shows them)"
