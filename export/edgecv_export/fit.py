"""Whether a model fits a device: its file into flash, its activations into memory."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from edgecv_export.memory import measure
from edgecv_export.micro import arena
from edgecv_export.tflite_graph import Graph
from edgecv_targets import Target


@dataclass(frozen=True)
class Fit:
    """What a model needs, and what a device has.

    Attributes
    ----------
    storage_bytes, memory_bytes : int
        Needed for the file, and while it runs.
    storage_there, memory_there : int or None
        On the device; None where no figure is published.
    """

    storage_bytes: int
    memory_bytes: int
    storage_there: int | None
    memory_there: int | None

    @property
    def fits(self) -> bool | None:
        """Whether both fit; None where neither figure is published."""
        known = [
            needed <= there
            for needed, there in ((self.storage_bytes, self.storage_there), (self.memory_bytes, self.memory_there))
            if there is not None
        ]
        return all(known) if known else None

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {**asdict(self), "fits": self.fits}


def fit(graph: Graph, target: Target) -> Fit:
    """What a graph needs on a device.

    On a microcontroller that is the file in flash and the arena in SRAM, without the program around it; elsewhere the
    weights and LiteRT's arena in main memory, without the interpreter and the system.
    """
    if any(backend.name == "tflite-micro" for backend in target.backends):
        return Fit(graph.size, arena(graph).size, _bytes(target.flash_bytes), _bytes(target.sram_bytes))
    memory = measure(graph)
    return Fit(graph.size, memory.arena_bytes + memory.weight_bytes, None, _bytes(target.memory_bytes))


def _bytes(figure: Any) -> int | None:
    return None if figure is None else int(figure.value)
