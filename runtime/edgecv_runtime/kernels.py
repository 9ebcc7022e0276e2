"""What `verify` found out about kernels on this machine, kept so that `load` need not find it out again.

A small JSON file in the user's cache folder holds one line for each artefact, CPU, back end and version that was
compared. It is a convenience: missing, damaged or not writable, it costs a warning at most, and ``"auto"`` then goes by
the CPU alone.
"""

from __future__ import annotations

import json
import os
import warnings
from pathlib import Path

from edgecv_runtime import cpu
from edgecv_runtime.artefact import Artefact
from edgecv_runtime.backends.base import Backend
from edgecv_runtime.backends.registry import check_options, choose_driver
from edgecv_runtime.bundle import write_atomically
from edgecv_runtime.errors import OutputError

FILE_NAME = "kernels.json"

_VERSION = 1
_SETS = ("fast", "precise")
_LIMIT = 1000  # choices kept; the oldest give way
_MAX_BYTES = 2**20  # more than the file ever has


def memory_file() -> Path | None:
    """``kernels.json`` in ``EDGECV_CACHE``, else in ``XDG_CACHE_HOME/edgecv``, else in ``~/.cache/edgecv``.

    None where there is no home. Nothing is created.
    """
    chosen = os.environ.get("EDGECV_CACHE")
    if chosen:
        return Path(chosen) / FILE_NAME
    caches = os.environ.get("XDG_CACHE_HOME", "")
    if Path(caches).is_absolute():  # the specification has relative ones ignored
        return Path(caches, "edgecv", FILE_NAME)
    try:
        return Path.home() / ".cache" / "edgecv" / FILE_NAME
    except RuntimeError:
        return None


def settled(artefact: Artefact, backend: str | None, device: str | None, kernels: str) -> str:
    """The kernels to load an artefact with: for ``"auto"``, what is remembered of it, if anything is.

    Raises
    ------
    InputError, UnsupportedError, MissingPackageError, BackendError
        As in `open_backend`.
    """
    check_options(backend, None, kernels)
    if kernels != "auto" or device not in (None, "CPU"):
        return kernels
    file = memory_file()
    if file is None or not file.is_file():
        return kernels
    return recall(artefact, choose_driver(artefact.format, backend)) or kernels


def recall(artefact: Artefact, driver: type[Backend]) -> str | None:
    """What `verify` settled on for this artefact with this back end on this machine; None where it did not."""
    choices = _read(memory_file())
    kernels = choices.get(_key(artefact, driver)) if choices else None
    return kernels if kernels in driver.kernel_sets else None


def remember(artefact: Artefact, driver: type[Backend], kernels: str | None) -> None:
    """Keep a choice, or with None forget it. Where that cannot be done, a warning says so."""
    file = memory_file()
    choices = _read(file)
    key = _key(artefact, driver)
    if file is None or choices.get(key) == kernels:
        return
    choices.pop(key, None)
    if kernels is not None:
        choices[key] = kernels
    kept = dict(list(choices.items())[-_LIMIT:])
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(file, json.dumps({"version": _VERSION, "kernels": kept}, indent=1).encode())
    except (OutputError, OSError) as error:
        warnings.warn(
            f"the choice of kernels cannot be remembered ({' '.join(str(error).split())}): "
            f"load with kernels={kernels or 'auto'!r}, or set EDGECV_CACHE to a folder that can be written",
            RuntimeWarning,
            stacklevel=3,
        )


def _key(artefact: Artefact, driver: type[Backend]) -> str:
    return f"{artefact.sha256()} on {cpu.describe()} with {driver.name} {driver.version()}"


def _read(file: Path | None) -> dict[str, str]:
    """All choices; none where the file is not there, is of another version, or is damaged."""
    try:
        if file is None or not file.is_file():
            return {}
        if file.stat().st_size > _MAX_BYTES:
            raise ValueError("it is too large")
        document = json.loads(file.read_bytes())
        if document["version"] != _VERSION:
            return {}
        return {str(key): value for key, value in document["kernels"].items() if value in _SETS}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        warnings.warn(
            f"{file} is not used, it cannot be read or is damaged ({' '.join(str(error).split()):.80}): "
            "what edgecv verify found out on this machine is lost, run it again",
            RuntimeWarning,
            stacklevel=4,
        )
        return {}
