"""How the device fares: its temperatures, what this process takes of it, and whether the board holds back.

Firmware that slows the clock because of heat or a weak supply says so in flags.
"""

from __future__ import annotations

import math
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

_PLAUSIBLE = (-60.0, 200.0)  # °C: a zone that is switched off gives nonsense

# Where a Raspberry Pi's kernel shows the flags; older ones answer only to vcgencmd.
_PI_FLAGS = Path("/sys/devices/platform/soc/soc:firmware/get_throttled")
_VCGENCMD = "vcgencmd"

# Bits of get_throttled, as the Raspberry Pi documentation names them ("vcgencmd get_throttled").
_MEANINGS = {
    0: "under-voltage", 1: "clock capped", 2: "throttled", 3: "soft temperature limit",
    16: "under-voltage since the start", 17: "clock capped since the start", 18: "throttled since the start",
    19: "soft temperature limit since the start",
}  # fmt: skip
_NOW = 0xF


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
        value = system_text(zone / "temp")
        if not value.lstrip("-").isdecimal():
            continue
        degrees = int(value) / 1000
        if _PLAUSIBLE[0] < degrees < _PLAUSIBLE[1]:
            kind = system_text(zone / "type") or zone.name
            found[kind if kind not in found else f"{kind} {zone.name.removeprefix('thermal_zone')}"] = degrees
    return found


def _status(path: Path) -> dict[str, str]:
    pairs = (line.partition(":") for line in system_text(path).splitlines())
    return {name: value.strip() for name, _, value in pairs}


def _leading_number(text: str) -> int:
    word = text.partition(" ")[0]
    return int(word) if word.isdecimal() else 0


def system_text(path: Path) -> str:
    """What a file of the system says, without white space around it; empty where it cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def _entries(folder: Path) -> int:
    try:
        return sum(1 for _ in folder.iterdir())
    except OSError:
        return 0


def throttling(flags: Path = _PI_FLAGS, system: Path = Path("/sys")) -> tuple[str, ...] | None:
    """What holds the board back, in words; empty: nothing; None: it does not say.

    Parameters
    ----------
    flags : Path
        The file of a Raspberry Pi's kernel.
    system : Path
        ``/sys``: on other boards its cooling devices and clocks tell.
    """
    word = _read(flags)
    word = _asked() if word is None else word
    if word is None:
        return _cooling(system)
    return tuple(text for bit, text in _MEANINGS.items() if word >> bit & 1)


def _cooling(system: Path) -> tuple[str, ...] | None:
    """What the kernel's thermal governor does to the processor, and clocks that are held below what they could be."""
    said, found = False, []
    for device in sorted((system / "class/thermal").glob("cooling_device*")):
        kind, state = system_text(device / "type"), system_text(device / "cur_state")
        if not state.isdecimal() or not any(word in kind.lower() for word in ("cpu", "processor")):
            continue
        said = True
        if int(state) > 0:
            found.append(f"throttled by {kind}, step {state} of {system_text(device / 'max_state') or '?'}")
    for policy in sorted((system / "devices/system/cpu/cpufreq").glob("policy*")):
        allowed, possible = (system_text(policy / f"{name}_max_freq") for name in ("scaling", "cpuinfo"))
        if not (allowed.isdecimal() and possible.isdecimal()):
            continue
        said = True
        if int(allowed) < int(possible):
            found.append(f"clock capped at {int(allowed) / 1e6:.1f} of {int(possible) / 1e6:.1f} GHz ({policy.name})")
    return tuple(found) if said else None


def throttled_now(flags: Path = _PI_FLAGS) -> bool:
    """Whether it holds back at this moment."""
    word = _read(flags)
    return bool(word and word & _NOW)


def _read(flags: Path) -> int | None:
    try:
        return int(flags.read_text(encoding="ascii").strip(), 16)
    except (OSError, ValueError):
        return None


def _asked() -> int | None:
    command = shutil.which(_VCGENCMD)
    if command is None:
        return None
    try:
        answer = subprocess.run([command, "get_throttled"], capture_output=True, text=True, timeout=2, check=True)
        return int(answer.stdout.strip().partition("=")[2], 16)
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
