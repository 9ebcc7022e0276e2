"""Which back ends exist, and which one opens an artefact."""

from __future__ import annotations

import functools
import importlib.metadata
import warnings
from collections.abc import Mapping
from typing import Any

from edgecv_runtime.artefact import Artefact
from edgecv_runtime.backends.accelerators import FALLBACKS, on_cpu
from edgecv_runtime.backends.base import KERNELS, Backend
from edgecv_runtime.errors import AcceleratorError, BackendError, InputError, MissingPackageError, UnsupportedError
from edgecv_runtime.manifest import Manifest

GROUP = "edgecv.backends"

# The order of preference where several can open a format; back ends from elsewhere come after these.
_PREFERENCE = ("litert", "tflite", "onnxruntime", "openvino")


_MAX_THREADS = 1024  # ONNX Runtime starts them all, and with 100,000 of them does not come back


@functools.cache
def _entry_points() -> dict[str, importlib.metadata.EntryPoint]:
    return {point.name: point for point in importlib.metadata.entry_points(group=GROUP)}


def backend_names() -> tuple[str, ...]:
    """Names of all known back ends, installed or not, preferred ones first."""
    known = _entry_points()
    return tuple(sorted(known, key=lambda name: (_PREFERENCE.index(name) if name in _PREFERENCE else 99, name)))


def backend_class(name: str) -> type[Backend]:
    """The driver of that name. Its library is not imported.

    Raises
    ------
    InputError
        Unknown name.
    BackendError
        The driver's own module cannot be imported.
    """
    check_options(name, None)
    known = _entry_points()
    try:
        driver = known[name].load()
    except ImportError as error:
        raise BackendError(
            f"the driver of back end {name!r} ({known[name].value}) cannot be imported: {error}"
        ) from error
    if not (isinstance(driver, type) and issubclass(driver, Backend)):
        raise BackendError(f"{known[name].value}, registered as back end {name!r}, must be a subclass of Backend")
    return driver


def open_backend(
    artefact: Artefact,
    *,
    manifest: Manifest | None = None,
    backend: str | None = None,
    device: str | None = None,
    threads: int | None = None,
    kernels: str = "auto",
    delegate: str | None = None,
    options: Mapping[str, Any] | None = None,
    fallback: str | None = None,
) -> Backend:
    """Open an artefact with the named back end, or with the preferred one that is installed.

    Parameters
    ----------
    artefact : Artefact
    manifest : Manifest or None
    backend : str or None
    device, threads, kernels, delegate, options
        As in `Backend`.
    fallback : {None, "cpu"}
        What to do where the accelerator is not there or takes nothing: an error, or the CPU with a warning.

    Raises
    ------
    InputError
        Unknown back end, kernels or fallback, or a thread count that is not in 1..1024.
    UnsupportedError
        The back end does not run this format, or has no such kernels, delegates or options.
    AcceleratorError
        The accelerator is not there, or takes nothing of the model.
    MissingPackageError
        No back end for this format is installed; the message names the extra.
    BackendError
        The library refuses the model.
    """
    check_options(backend, threads, kernels)
    if fallback is not None and fallback not in FALLBACKS:
        raise InputError(f"fallback must be {' or '.join(FALLBACKS)}, or left out; received {fallback!r}")
    driver = choose_driver(artefact.format, backend)
    how: dict[str, Any] = {"manifest": manifest, "threads": threads, "kernels": kernels}
    if fallback is None:
        return driver(artefact, device=device, **how, **_accepted(driver, delegate, options))
    try:
        return driver(artefact, device=device, **how, **_accepted(driver, delegate, options))
    except AcceleratorError as error:
        if on_cpu(device) and delegate is None:
            raise
        reason = str(error)
    warnings.warn(f"running on the CPU instead: {reason}", RuntimeWarning, stacklevel=2)
    return driver(artefact, device="CPU", **how)


def _accepted(driver: type[Backend], delegate: str | None, options: Mapping[str, Any] | None) -> dict[str, Any]:
    """What of it was given, if the driver knows what to do with it."""
    given = {name: value for name, value in (("delegate", delegate), ("options", options)) if value}
    unknown = [name for name in given if name not in driver.takes]
    if unknown:
        what = {"delegate": "delegates", "options": "options"}[unknown[0]]
        raise AcceleratorError(f"back end {driver.name!r} takes no {what}; received {given[unknown[0]]}")
    return given


def choose_driver(format: str, backend: str | None) -> type[Backend]:
    """The named driver, or the preferred one that is installed; its library is not imported.

    Raises
    ------
    UnsupportedError
        The named one does not run this format.
    MissingPackageError, InputError, BackendError
        As in `open_backend`.
    """
    driver = backend_class(backend) if backend is not None else _preferred(format)
    if format not in driver.formats:
        raise UnsupportedError(f"back end {driver.name!r} runs {', '.join(driver.formats)}; this artefact is {format}")
    return driver


def check_options(backend: str | None, threads: int | None, kernels: str = "auto") -> None:
    """Refuse what no artefact could be opened with.

    Raises
    ------
    InputError
        Unknown back end or kernels, or a thread count that is not in 1..1024.
    """
    if kernels not in KERNELS:
        raise InputError(f"kernels must be one of {', '.join(KERNELS)}; received {kernels!r}")
    if backend is not None and backend not in _entry_points():
        raise InputError(f"backend must be one of {', '.join(backend_names())}; received {backend!r}")
    if threads is not None and not 1 <= threads <= _MAX_THREADS:
        raise InputError(f"threads must be in 1..{_MAX_THREADS}; received {threads}")


def _preferred(format: str) -> type[Backend]:
    # Drivers that only stand in for a library (the mock) must be asked for by name.
    candidates = [
        driver for name in backend_names() if name != "mock" and format in (driver := backend_class(name)).formats
    ]
    for driver in candidates:
        if driver.is_installed():
            return driver
    if not candidates:
        raise BackendError(f"no back end for {format} is registered: reinstall edgecv-runtime")
    raise MissingPackageError(
        f"running a {format} model needs {' or '.join(driver.package for driver in candidates)}, "
        f"and none is installed: pip install '{candidates[0].install}'"
    )
