"""The contract of a back end: what a driver must do, and the little it may add."""

from __future__ import annotations

import functools
import importlib.metadata
import importlib.util
import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from edgecv_runtime.artefact import Artefact
from edgecv_runtime.backends.accelerators import Placement, on_cpu
from edgecv_runtime.errors import BackendError, UnsupportedError
from edgecv_runtime.manifest import Manifest, TensorSpec

KERNELS = ("auto", "fast", "precise")

_dtype = functools.cache(np.dtype)  # parsing the name anew at every inference costs microseconds


class Backend(ABC):
    """One loaded model in one inference library.

    A driver must set the five class attributes, `inputs`, `outputs` and `kernels`, and implement `__init__`, `infer`
    and `close`. It imports its library inside `__init__`, never at the top of its module. `infer` calls
    `check_inputs` first. A driver with two sets of kernels says in `auto_kernels` which one suits this CPU. One that
    runs on accelerators sets `placement` to what its library answers, never to what was asked for.

    Parameters
    ----------
    artefact : Artefact
        Of one of `formats`.
    manifest : Manifest or None
        The artefact's manifest; None while a foreign model is being wrapped.
    device : str or None
        The library's own name for where to run. None: the CPU.
    threads : int or None
        Threads for one inference. None: every core this process may use.
    kernels : {"auto", "fast", "precise"}
        Which kernels to compute with. ``"fast"`` are the quickest; on some CPUs their 8-bit sums saturate.
        ``"precise"`` are exact there too. ``"auto"``: as `auto_kernels` says.

    delegate : str or None
        A shared library that takes the graph to an accelerator; given only to drivers whose `takes` names it.
    options : mapping or None
        The library's own settings for the device: of a delegate, an execution provider or a plugin. Likewise.

    Raises
    ------
    MissingPackageError
        The library is not installed.
    UnsupportedError
        The library has no such kernels.
    AcceleratorError
        The device is not there, or takes nothing of the model.
    BackendError
        The library refuses the model.

    Attributes
    ----------
    inputs, outputs : tuple of TensorSpec
        As the library reports them, in its own order.
    kernels : str
        The kernels in use: ``"fast"`` or ``"precise"``.
    placement : Placement
        Where it runs, as the library says it.
    """

    name: ClassVar[str]
    formats: ClassVar[tuple[str, ...]]
    package: ClassVar[str]  # the import name of the library
    install: ClassVar[str]  # the requirement to install
    kernel_sets: ClassVar[tuple[str, ...]]  # "fast", "precise" or both, as there are on the CPU
    takes: ClassVar[frozenset[str]] = frozenset()  # "delegate", "options"

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    kernels: str
    placement: Placement = Placement()

    @abstractmethod
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
    ) -> None: ...

    @abstractmethod
    def infer(self, inputs: Sequence[npt.NDArray[Any]]) -> list[npt.NDArray[Any]]:
        """Run once.

        Parameters
        ----------
        inputs : sequence of arrays
            In the order, shape and dtype of `inputs`.

        Returns
        -------
        list of arrays
            In the order of `outputs`. They stay valid after the next call.

        Raises
        ------
        BackendError
            The inputs do not fit, the library failed, or the model is closed. After the first two it still works.
        """

    def requests(self, count: int) -> list[Backend] | None:
        """Further `count` to infer with at the same time, each in a thread of its own, of the model as it is loaded.

        Returns
        -------
        list of Backend, or None
            To be closed each. None where the library has no such thing: every thread then needs a model of its own.

        Raises
        ------
        BackendError
            The library refuses, or the model is closed.
        """
        return None

    @abstractmethod
    def close(self) -> None:
        """Release the library's resources. Calling it again does nothing."""

    @classmethod
    def auto_kernels(cls, manifest: Manifest | None) -> str:
        """The set that ``"auto"`` means on this machine's CPU."""
        return cls.kernel_sets[0]

    @classmethod
    def choose_kernels(cls, kernels: str, manifest: Manifest | None, device: str | None) -> str:
        """The set to use for a request; only the CPU has a choice.

        Raises
        ------
        UnsupportedError
            There is no such set.
        """
        here = on_cpu(device)
        if kernels == "auto":
            return cls.auto_kernels(manifest) if here else "fast"
        there = cls.kernel_sets if here else ("fast",)
        if kernels not in there:
            place = "" if here else f" on device {device!r}"
            raise UnsupportedError(
                f"back end {cls.name!r} has {' and '.join(there)} kernels{place}; received kernels {kernels!r}: "
                "leave it at 'auto'"
            )
        return kernels

    def check_inputs(self, inputs: Sequence[npt.NDArray[Any]]) -> None:
        """Refuse what does not fit `inputs`, alike in every library: OpenVINO would cast a wrong dtype silently.

        Raises
        ------
        BackendError
            Another number of arrays, or an array of another shape or dtype.
        """
        if len(inputs) != len(self.inputs):
            raise BackendError(f"this {self.name} model takes {len(self.inputs)} input(s); received {len(inputs)}")
        for spec, array in zip(self.inputs, inputs, strict=True):
            # The usual case in as little code as possible: it runs before every inference, with cold caches.
            if not (isinstance(array, np.ndarray) and array.shape == spec.shape and array.dtype == _dtype(spec.dtype)):
                self._check_input(spec, array)

    def _check_input(self, spec: TensorSpec, array: Any) -> None:
        if not isinstance(array, np.ndarray):
            raise BackendError(f"{self.name} input {spec.name!r} must be an array; received {type(array).__name__}")
        fits = array.ndim == len(spec.shape) and all(
            wanted in (None, size) for wanted, size in zip(spec.shape, array.shape, strict=True)
        )
        if not fits or array.dtype != spec.dtype:
            wanted = ", ".join("?" if size is None else str(size) for size in spec.shape)
            raise BackendError(
                f"{self.name} input {spec.name!r} must be {spec.dtype} [{wanted}]; "
                f"received {array.dtype} {list(array.shape)}"
            )

    @property
    def device(self) -> str:
        """Where it runs: ``"CPU"``, or the accelerator."""
        return self.placement.device

    @property
    def note(self) -> str:
        """What a user should know of how this back end computes here; empty if nothing."""
        return ""

    @classmethod
    def is_installed(cls) -> bool:
        """Whether the library can be found, without importing it."""
        return importlib.util.find_spec(cls.package) is not None

    @classmethod
    def version(cls) -> str:
        """The library's version, without importing it; "unknown" where no distribution of its name is installed."""
        distribution = cls.package.replace("_", "-")
        try:
            return importlib.metadata.version(distribution)
        except importlib.metadata.PackageNotFoundError:
            # Some vendors ship the package in a distribution of another name (onnxruntime-gpu): once it is loaded,
            # it can be asked.
            return str(getattr(sys.modules.get(cls.package), "__version__", "unknown"))

    def _state(self, threads: int, requested: str) -> str:
        """Threads and kernels for `note`; the reason where the choice was made here."""
        if self.device != "CPU":
            return str(self.placement)
        counted = f"{threads} thread{'s' if threads > 1 else ''}"
        forced = requested == "auto" and self.kernels == "precise" and "fast" in self.kernel_sets
        return f"{counted}, " + ("precise int8 kernels: this CPU has no VNNI" if forced else f"{self.kernels} kernels")

    def __enter__(self) -> Backend:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
