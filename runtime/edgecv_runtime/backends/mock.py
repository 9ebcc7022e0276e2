"""A back end without a library, for testing an application on a machine that has none."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from edgecv_runtime.artefact import Artefact
from edgecv_runtime.backends.accelerators import on_cpu
from edgecv_runtime.backends.base import Backend
from edgecv_runtime.errors import AcceleratorError, BackendError
from edgecv_runtime.manifest import FORMATS, Manifest


class MockBackend(Backend):
    """Answers with numbers drawn from a generator that the input's bytes seed.

    Shapes, dtypes and names are the manifest's, so everything around the model runs as it will on the device;
    equal inputs give equal outputs. It never pretends to be the model: it must be asked for by name.
    """

    name: ClassVar[str] = "mock"
    formats: ClassVar[tuple[str, ...]] = FORMATS
    package: ClassVar[str] = "numpy"
    install: ClassVar[str] = "edgecv-runtime"
    kernel_sets: ClassVar[tuple[str, ...]] = ("fast", "precise")  # taken, so that an application can ask; no effect

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
        if manifest is None:
            raise BackendError("the mock back end needs a manifest to know the shapes; this artefact carries none")
        if not on_cpu(device):
            raise AcceleratorError(f"back end 'mock' runs on device 'CPU'; received {device!r}")
        self.kernels = self.choose_kernels(kernels, manifest, device)
        self.inputs, self.outputs = manifest.inputs, manifest.outputs
        self._closed = False

    def infer(self, inputs: Sequence[npt.NDArray[Any]]) -> list[npt.NDArray[Any]]:
        if self._closed:
            raise BackendError("this mock model is closed")
        self.check_inputs(inputs)
        seed = zlib.crc32(b"".join(array.tobytes() for array in inputs))
        generator = np.random.default_rng(seed)
        return [
            _draw(generator, tuple(size or 1 for size in spec.shape), np.dtype(spec.dtype)) for spec in self.outputs
        ]

    def close(self) -> None:
        self._closed = True

    @property
    def note(self) -> str:
        return "no model is run: the numbers are made up"


def _draw(generator: np.random.Generator, shape: tuple[int, ...], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        return generator.integers(limits.min, limits.max, shape, dtype, endpoint=True)
    return generator.random(shape).astype(dtype)
