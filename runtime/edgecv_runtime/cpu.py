"""What this machine's processor can do: the same int8 file computes differently from one CPU to the next."""

from __future__ import annotations

import functools
import os
import platform
from pathlib import Path

_CPUINFO = Path("/proc/cpuinfo")

# x86 flag, or Arm feature, that matters for quantized arithmetic.
_RELEVANT = {
    "avx2": "avx2", "avx512bw": "avx512", "avx_vnni": "avx-vnni", "avx512_vnni": "avx512-vnni", "amx_int8": "amx-int8",
    "asimd": "neon", "neon": "neon", "asimddp": "dotprod", "asimdhp": "fp16", "i8mm": "i8mm", "sve": "sve",
}  # fmt: skip


@functools.cache
def features() -> frozenset[str]:
    """Instruction-set features that matter for quantized arithmetic, for example ``{"avx2", "avx512-vnni"}``.

    Read from ``/proc/cpuinfo``; empty where there is none.
    """
    try:
        text = _CPUINFO.read_text(errors="replace")
    except OSError:
        return frozenset()
    for line in text.splitlines():
        key, _, value = line.partition(":")
        if key.strip().lower() in ("flags", "features"):
            return frozenset(_RELEVANT[flag] for flag in value.split() if flag in _RELEVANT)
    return frozenset()


def is_x86() -> bool:
    return platform.machine().lower() in ("x86_64", "amd64", "i686", "i386")


def saturates_int8() -> bool:
    """Whether fast u8 × s8 kernels add pairs in 16 bits and saturate: x86 without VNNI or AMX (vpmaddubsw)."""
    return is_x86() and not features() & {"avx-vnni", "avx512-vnni", "amx-int8"}


def describe() -> str:
    """Architecture and relevant features in one line, for manifests and reports."""
    return " ".join([platform.machine() or "unknown", *sorted(features())])


def available_cores() -> int:
    """Cores this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not Linux
        return os.cpu_count() or 1
