"""The contract of a back end: what a driver must do, and the little it may add."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from abc import ABC, abstractmethod
from collections.abc import Sequence
from types import TracebackType
from typing import Any, ClassVar

import numpy.typing as npt

from edgecv_runtime.artefact import Artefact
from edgecv_runtime.manifest import Manifest, TensorSpec


class Backend(ABC):
    """One loaded model in one inference library.

    A driver must set the four class attributes, `inputs` and `outputs`, and implement `__init__`, `infer` and
    `close`. It imports its library inside `__init__`, never at the top of its module.

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

    Raises
    ------
    MissingPackageError
        The library is not installed.
    UnsupportedError
        The library cannot run there.
    BackendError
        The library refuses the model.

    Attributes
    ----------
    inputs, outputs : tuple of TensorSpec
        As the library reports them, in its own order.
    """

    name: ClassVar[str]
    formats: ClassVar[tuple[str, ...]]
    package: ClassVar[str]  # the import name of the library
    install: ClassVar[str]  # the requirement to install

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    @abstractmethod
    def __init__(
        self,
        artefact: Artefact,
        *,
        manifest: Manifest | None = None,
        device: str | None = None,
        threads: int | None = None,
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
        """

    @abstractmethod
    def close(self) -> None:
        """Release the library's resources. Calling it again does nothing."""

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
        """The library's version, without importing it."""
        distribution = cls.package.replace("_", "-")
        try:
            return importlib.metadata.version(distribution)
        except importlib.metadata.PackageNotFoundError:
            return "unknown"

    def __enter__(self) -> Backend:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
