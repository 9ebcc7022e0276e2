"""The runtime that is installed here, as a wheel: the device gets the very code that proved the bundle.

It is put together from the installed files, so it needs neither a build tool nor the internet, and the same files give
the same wheel (PEP 427; the digests in RECORD as PEP 376 wants them).
"""

from __future__ import annotations

import base64
import hashlib
import zipfile
from importlib.metadata import distribution
from pathlib import Path

import edgecv_runtime
from edgecv_runtime._version import __version__
from edgecv_runtime.errors import InputError

_EPOCH = (1980, 1, 1, 0, 0, 0)
_WHEEL = "Wheel-Version: 1.0\nGenerator: edgecv\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


def runtime_wheel(folder: str | Path) -> Path:
    """Write the wheel of edgecv-runtime, as it is installed here.

    Parameters
    ----------
    folder : str or Path

    Returns
    -------
    Path

    Raises
    ------
    InputError
        The installed metadata belongs to another version than the code.
    """
    found = distribution("edgecv-runtime")
    if found.version != __version__:
        raise InputError(
            f"edgecv-runtime is installed as {found.version}, its code is {__version__}: install it again first"
        )
    root = Path(edgecv_runtime.__file__).parent
    members = {
        f"edgecv_runtime/{path.relative_to(root).as_posix()}": path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    }
    information = f"edgecv_runtime-{__version__}.dist-info"
    for name in ("METADATA", "entry_points.txt"):
        members[f"{information}/{name}"] = (found.read_text(name) or "").encode()
    members[f"{information}/WHEEL"] = _WHEEL.encode()
    record = [f"{name},sha256={_digest(content)},{len(content)}" for name, content in members.items()]
    members[f"{information}/RECORD"] = "\n".join([*record, f"{information}/RECORD,,", ""]).encode()
    path = Path(folder) / f"edgecv_runtime-{__version__}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.external_attr = 0o644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, content)
    return path


def _digest(content: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
