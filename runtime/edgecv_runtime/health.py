"""Whether the board holds back: firmware that slows the clock because of heat or a weak supply says so in flags."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

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


def throttling(flags: Path = _PI_FLAGS) -> tuple[str, ...] | None:
    """What holds the board back, in words; empty: nothing; None: it does not say.

    Parameters
    ----------
    flags : Path
        The kernel's file.
    """
    word = _read(flags)
    word = _asked() if word is None else word
    if word is None:
        return None
    return tuple(text for bit, text in _MEANINGS.items() if word >> bit & 1)


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
