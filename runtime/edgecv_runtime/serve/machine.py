"""How the device fares: its temperatures, and what this process takes of it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

_PLAUSIBLE = (-60.0, 200.0)  # °C: a zone that is switched off gives nonsense


@dataclass(frozen=True)
class Machine:
    """A look at the device.

    Attributes
    ----------
    temperatures : mapping of zone to float
        °C, of ``/sys/class/thermal``.
    memory : int
        Bytes of memory that this process holds (resident); 0 where the system does not say.
    descriptors, threads : int
        Of this process.
    """

    temperatures: dict[str, float]
    memory: int
    descriptors: int
    threads: int

    @property
    def hottest(self) -> float:
        """°C; NaN where no temperature can be read."""
        return max(self.temperatures.values(), default=math.nan)


def look(thermal: Path = Path("/sys/class/thermal"), process: Path = Path("/proc/self")) -> Machine:
    """Read what the system tells; what it does not tell is left out."""
    status = _status(process / "status")
    return Machine(
        _temperatures(thermal),
        1024 * _leading_number(status.get("VmRSS", "")),
        _entries(process / "fd"),
        _leading_number(status.get("Threads", "")),
    )


def _temperatures(thermal: Path) -> dict[str, float]:
    found: dict[str, float] = {}
    for zone in sorted(thermal.glob("thermal_zone*")):
        value = _text(zone / "temp")
        if not value.lstrip("-").isdecimal():
            continue
        degrees = int(value) / 1000
        if _PLAUSIBLE[0] < degrees < _PLAUSIBLE[1]:
            kind = _text(zone / "type") or zone.name
            found[kind if kind not in found else f"{kind} {zone.name.removeprefix('thermal_zone')}"] = degrees
    return found


def _status(path: Path) -> dict[str, str]:
    pairs = (line.partition(":") for line in _text(path).splitlines())
    return {name: value.strip() for name, _, value in pairs}


def _leading_number(text: str) -> int:
    word = text.partition(" ")[0]
    return int(word) if word.isdecimal() else 0


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""


def _entries(folder: Path) -> int:
    try:
        return sum(1 for _ in folder.iterdir())
    except OSError:
        return 0
