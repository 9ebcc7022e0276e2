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
        The package is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is not None and error.name.partition(".")[0] != module.partition(".")[0]:
            raise  # the package is there but one of its own needs is missing: that is another story
        raise MissingPackageError(
            f"{purpose} needs the package {module.partition('.')[0]}, which is not installed: pip install '{install}'"
        ) from None
