"""Import a heavy package in the function that needs it, with an error that names the extra."""

from __future__ import annotations

import importlib
from typing import Any

from edgecv_runtime.errors import MissingPackageError


def require(module: str, *, install: str, purpose: str) -> Any:
    """Import and return `module`.

    Parameters
    ----------
    module : str
        Dotted module name, for example ``"cv2"``.
    install : str
        The requirement to install, for example ``"edgecv-runtime[cv]"``.
    purpose : str
        What needs it, as the subject of the message: ``"reading an image file"``.

    Raises
    ------
    MissingPackageError
        The package is not installed, or it is and cannot be imported (a system library or one of its own needs is
        missing); the message says which.
    """
    package = module.partition(".")[0]
    try:
        return importlib.import_module(module)
    except ImportError as error:
        absent = isinstance(error, ModuleNotFoundError) and (error.name or package).partition(".")[0] == package
        if absent:
            raise MissingPackageError(
                f"{purpose} needs the package {package}, which is not installed: pip install '{install}'"
            ) from None
        raise MissingPackageError(
            f"{purpose} needs the package {package}, which is installed but cannot be imported: {error}; "
            f"pip install --force-reinstall '{install}'"
        ) from error
