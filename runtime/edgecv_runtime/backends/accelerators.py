"""Accelerators: the names under which they are asked for, the libraries behind them, and where a model really runs.

A library that cannot use an accelerator often goes on with the CPU and says nothing. Every back end therefore states a
`Placement` that it asked its library for, and an accelerator that takes no operator at all is an error.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgecv_runtime.errors import AcceleratorError

FALLBACKS = ("cpu",)

Options = Mapping[str, Any]


@dataclass(frozen=True)
class Placement:
    """Where a loaded model runs, as its library says it.

    Attributes
    ----------
    device : str
        ``"CPU"``, or the accelerator as it was asked for.
    taken : int or None
        Operators on the accelerator; None on the CPU, and where the library does not tell.
    operators : int or None
        All of them.
    """

    device: str = "CPU"
    taken: int | None = None
    operators: int | None = None

    def __str__(self) -> str:
        if self.taken is None or self.operators is None:
            return self.device
        return f"{self.device}: {self.taken} of {self.operators} operators"

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {"device": self.device, "taken": self.taken, "operators": self.operators}


def on_cpu(device: str | None) -> bool:
    """Whether the CPU is asked for."""
    return device is None or device.upper() == "CPU"


def check_taken(library: str, placement: Placement) -> Placement:
    """The placement, if the accelerator runs anything.

    Raises
    ------
    AcceleratorError
        It takes no operator: the model would run on the CPU.
    """
    if placement.taken == 0:
        raise AcceleratorError(
            f"{placement.device} takes none of this model's {placement.operators} operators, so {library} would run it "
            "on the CPU: take a model made for the accelerator, or allow fallback='cpu'"
        )
    return placement


# -- delegates of LiteRT -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class DelegateLibrary:
    """A shared library that takes a TFLite graph to an accelerator.

    Attributes
    ----------
    file : str
    device : {"GPU", "NPU"}
    name : str
        What it drives.
    operator : str or None
        The custom operator of its compiler: it takes models that hold it, and those only.
    """

    file: str
    device: str
    name: str
    operator: str | None = None


DELEGATES = (
    DelegateLibrary("libedgetpu.so.1", "NPU", "Coral Edge TPU", "edgetpu-custom-op"),
    DelegateLibrary("libethosu_delegate.so", "NPU", "Arm Ethos-U", "ethos-u"),
    DelegateLibrary("libvx_delegate.so", "NPU", "VeriSilicon GPU and NPU"),
    DelegateLibrary("libneuronrt_delegate.so", "NPU", "MediaTek NPU"),
    DelegateLibrary("libQnnTFLiteDelegate.so", "NPU", "Qualcomm NPU"),
    DelegateLibrary("libtensorflowlite_gpu_delegate.so", "GPU", "GPU"),
    DelegateLibrary("libarmnnDelegate.so", "GPU", "Arm NN: Mali GPU"),
)


def known_delegate(library: str | Path) -> DelegateLibrary | None:
    """What is known of a library by its file name, with or without a version behind ``.so``."""
    stem = Path(library).name.partition(".so")[0]
    return next((entry for entry in DELEGATES if entry.file.partition(".so")[0] == stem), None)


def delegate_device(device: str | None, delegate: str | Path | None) -> str:
    """The device that a request means for LiteRT: ``"CPU"``, ``"GPU"`` or ``"NPU"``.

    Raises
    ------
    AcceleratorError
        Another name, or the CPU together with a delegate.
    """
    known = None if delegate is None else known_delegate(delegate)
    if device is None:
        return "CPU" if delegate is None else "NPU" if known is None else known.device
    name = device.upper()
    if name not in ("CPU", "GPU", "NPU"):
        raise AcceleratorError(f"LiteRT runs on device CPU, GPU or NPU; received {device!r}")
    if name == "CPU" and delegate is not None:
        raise AcceleratorError(f"a delegate takes the model off the CPU; received device 'CPU' with {delegate}")
    if known is not None and name != known.device:
        raise AcceleratorError(f"{delegate} is for device {known.device!r}; received {device!r}")
    return name


def delegate_choices(device: str, delegate: str | Path | None) -> tuple[str, ...]:
    """Libraries to try for a device, as the system's loader finds them."""
    if delegate is not None:
        return (str(delegate),)
    return tuple(entry.file for entry in DELEGATES if entry.device == device)


def delegated_operators(details: list[dict[str, Any]]) -> tuple[int, int]:
    """How many operators of a TFLite graph are in a delegate's hands, and how many there are.

    Parameters
    ----------
    details : list of dict
        LiteRT's list of operators: first those of the file, then one ``DELEGATE`` for each part that was taken. Each
        part names what it reads and writes; the operators between are those that it replaces.
    """
    parts = [entry for entry in details if entry["op_name"] == "DELEGATE"]
    own = [entry for entry in details if entry["op_name"] != "DELEGATE"]
    maker = {int(tensor): number for number, entry in enumerate(own) for tensor in entry["outputs"]}
    taken: set[int] = set()
    for part in parts:
        given = {int(tensor) for tensor in part["inputs"]}
        waiting = [int(tensor) for tensor in part["outputs"]]
        while waiting:
            tensor = waiting.pop()
            number = maker.get(tensor)
            if tensor in given or number is None or number in taken:
                continue
            taken.add(number)
            waiting += [int(source) for source in own[number]["inputs"]]
    return len(taken), len(own)
