"""What a vendor's tool needs, as members of the bundle: a float model, pictures to calibrate on, a script.

The tool is run where it is found; else the report says "prepared, not compiled here", and the members are enough to run
it elsewhere: take them out of the bundle, start the script.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecv_runtime.bundle import GOLDEN_MEMBER, Bundle
from edgecv_runtime.errors import InputError, UnsupportedError
from edgecv_runtime.golden import Golden
from edgecv_runtime.preprocess import Preprocessor
from edgecv_targets import Target

CALIBRATION_FILE = "calibration.npy"

PICTURES = 64  # each lies in the bundle uncompressed


@dataclass(frozen=True)
class Kit:
    """Made ready for a tool, and compiled where it was found.

    Attributes
    ----------
    members : mapping of str to bytes
    said : mapping
        For the report: ``tool``, ``command``, ``install``, ``compiled``, and ``note`` or ``size``.
    """

    members: Mapping[str, bytes]
    said: Mapping[str, Any] = field(default_factory=dict)


Maker = Callable[[Bundle, Target, Any], Kit]


def maker_of(target: Target) -> Maker | None:
    """Who prepares ONNX bundles for a device's tool; None where nobody does."""
    from edgecv_export.compilers import hailo, rockchip, tensorrt

    if target.tool is None or target.tool.input_format != "onnx":
        return None
    makers: dict[str, Maker] = {
        "trtexec": tensorrt.prepare,
        "rknn-toolkit2": rockchip.prepare,
        "hailo": hailo.prepare,
    }
    return makers.get(target.tool.name)


def words_of(target: Target) -> dict[str, Any]:
    """What the report says of a tool in any case."""
    tool = target.tool
    if tool is None:
        raise InputError(f"{target.name} has no tool of its own")
    return {"tool": tool.name, "command": tool.command, "install": tool.install, "configuration": target.id}


def calibration_set(bundle: Bundle, source: Any, limit: int = PICTURES) -> npt.NDArray[np.uint8]:
    """(N, H, W, C) uint8: pictures as the model takes them.

    Parameters
    ----------
    bundle : Bundle
    source : folder, sequence of pictures, or None
        None: those of the parity contract, which are few and perhaps generated.
    limit : int
        Most of them.

    Raises
    ------
    InputError, MissingFileError
        As from `load_calibration`; or there is nothing to take.
    UnsupportedError
        The bundle's input is not uint8.
    """
    from edgecv_export.calibration import load_calibration

    if source is None:
        content = bundle.member(GOLDEN_MEMBER)
        if content is None:
            raise InputError(f"{bundle.path} holds no pictures to calibrate on: pass --calibrate DIR")
        pictures = Golden.from_bytes(content, origin=str(bundle.path)).images
    else:
        pictures = load_calibration(source, limit).images
    prepare = Preprocessor(bundle.manifest.inputs[0])
    tensors = np.concatenate([prepare(picture)[0] for picture in pictures[:limit]])
    if tensors.dtype != np.uint8:
        raise UnsupportedError(f"the tool takes pictures in uint8; this bundle's input is {tensors.dtype}")
    return tensors


def npy(array: npt.NDArray[Any]) -> bytes:
    """An array as the content of a ``.npy`` file."""
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def in_folder(folder: str, members: Mapping[str, bytes]) -> dict[str, bytes]:
    """The same under ``folder/``."""
    return {f"{folder}/{name}": content for name, content in members.items()}


def unpack(members: Mapping[str, bytes], folder: Path) -> None:
    """Write members as files, where a tool is to find them."""
    for name, content in members.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
