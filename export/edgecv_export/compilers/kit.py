"""What a vendor's tool needs, as members of the bundle: a float model, pictures to calibrate on, a script.

The tool is run where it is found; else the report says "prepared, not compiled here", and the members are enough to run
it elsewhere: take them out of the bundle, start the script.
"""

from __future__ import annotations

import io
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecv_runtime.bundle import GOLDEN_MEMBER, Bundle
from edgecv_runtime.errors import BackendError, InputError, UnsupportedError
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


@dataclass(frozen=True)
class Tool:
    """A vendor's compiler, as a command that is started in the folder of its files.

    Attributes
    ----------
    name : str
        For messages.
    command : tuple of str
    output : str
        The file that it writes; a pattern where its name is the tool's own choice.
    timeout : float
        Seconds.
    requirement : str
        What must hold for the command to start.
    """

    name: str
    command: tuple[str, ...]
    output: str
    timeout: float
    requirement: str


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


def run_tool(tool: Tool, folder: Path) -> str:
    """Start a tool among its files, and return what it said on stdout.

    Parameters
    ----------
    tool : Tool
    folder : Path
        Where it reads and writes.

    Raises
    ------
    BackendError
        There is no such program; it refuses the model (the message is its last line); it does not come to an end.
    """
    try:
        ran = subprocess.run(
            list(tool.command),
            cwd=folder, capture_output=True, text=True, errors="replace", check=False, timeout=tool.timeout,
        )  # fmt: skip
    except OSError as error:
        raise BackendError(f"{tool.requirement}; {tool.command[0]}: {error}") from None
    except subprocess.TimeoutExpired:
        raise BackendError(f"{tool.name} has not come to an end within {tool.timeout:g} s") from None
    if ran.returncode != 0 or not any(folder.glob(tool.output)):
        lines = [line.strip() for line in (ran.stdout + ran.stderr).splitlines() if line.strip()]
        raise BackendError(f"{tool.name} refuses the model: {lines[-1] if lines else f'exit status {ran.returncode}'}")
    return ran.stdout


def finished(name: str, members: Mapping[str, bytes], said: Mapping[str, Any], tool: Tool | None, missing: str) -> Kit:
    """The kit in its folder: with the compiled model where the tool is at hand, else with the word that it is not.

    Parameters
    ----------
    name : str
        The folder of the bundle.
    members : mapping of str to bytes
        What the tool needs.
    said : mapping
        As of `Kit`, so far.
    tool : Tool or None
        None where it is not here.
    missing : str
        What is not here then.

    Raises
    ------
    BackendError
        As from `run_tool`.
    """
    inside = in_folder(name, members)
    if tool is None:
        return Kit(inside, {**said, "compiled": False, "note": f"prepared, not compiled here: {missing}"})
    with tempfile.TemporaryDirectory() as place:
        unpack(members, Path(place))
        run_tool(tool, Path(place))
        compiled = Path(place, tool.output).read_bytes()
    inside |= in_folder(name, {tool.output: compiled})
    return Kit(inside, {**said, "compiled": True, "size": len(compiled)})
