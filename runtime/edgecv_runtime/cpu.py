"""What this machine's processor can do: the same int8 file computes differently from one CPU to the next."""

from __future__ import annotations

import functools
import os
import platform
from dataclasses import dataclass
from pathlib import Path

_CPUINFO = Path("/proc/cpuinfo")

# x86 flag, or Arm feature, that matters for quantized or reduced-precision arithmetic.
_RELEVANT = {
    "avx2": "avx2", "avx512bw": "avx512", "avx_vnni": "avx-vnni", "avx512_vnni": "avx512-vnni", "amx_int8": "amx-int8",
    "avx512_bf16": "avx512-bf16", "avx512_fp16": "avx512-fp16", "amx_bf16": "amx-bf16", "amx_fp16": "amx-fp16",
    "asimd": "neon", "neon": "neon", "asimddp": "dotprod", "asimdhp": "fp16", "i8mm": "i8mm", "bf16": "bf16",
    "sve": "sve",
}  # fmt: skip
_X86 = frozenset({"x86_64", "amd64", "i686", "i386"})
_EXACT_X86 = frozenset({"avx-vnni", "avx512-vnni", "amx-int8"})
# Wider vectors only sum in another order; what is left selects other arithmetic.
_WIDTHS = frozenset({"avx2", "avx512", "neon", "sve"})


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
    return platform.machine().lower() in _X86


def saturates_int8() -> bool:
    """Whether fast u8 × s8 kernels add pairs in 16 bits and saturate: x86 without VNNI or AMX (vpmaddubsw)."""
    return is_x86() and not features() & _EXACT_X86


def describe() -> str:
    """Architecture and relevant features in one line, for manifests and reports."""
    return " ".join([platform.machine() or "unknown", *sorted(features())])


@dataclass(frozen=True)
class Provenance:
    """Where an artefact was proven against its source, and where it is now.

    Attributes
    ----------
    proven_on : str or None
        The CPU of the proof, as `describe` gives it; None where the manifest does not say.
    here : str
        This machine's.
    differences : tuple of str
        What of it changes the arithmetic, in words; empty where both compute alike, and where it is not known.
    """

    proven_on: str | None
    here: str
    differences: tuple[str, ...]

    def __str__(self) -> str:
        if self.proven_on is None:
            return f"where it was proven is not known, here {self.here}"
        if not self.differences:
            same = self.proven_on == self.here
            return f"proven on {self.proven_on}, here " + ("the same" if same else f"{self.here}, which computes alike")
        return f"proven on {self.proven_on}, here {self.here} ({', '.join(self.differences)})"


def provenance(proven_on: str | None) -> Provenance:
    """Compare the CPU of an artefact's proof with this machine's."""
    here = describe()
    return Provenance(proven_on, here, () if not proven_on else arithmetic_differences(proven_on, here))


def arithmetic_differences(proven_on: str, here: str) -> tuple[str, ...]:
    """What makes one CPU compute otherwise than another, from their descriptions.

    Parameters
    ----------
    proven_on, here : str
        As `describe` gives them.

    Examples
    --------
    >>> arithmetic_differences("x86_64 avx2 avx512-vnni", "x86_64 avx2")
    ('8-bit sums saturate here',)
    >>> arithmetic_differences("aarch64 neon", "aarch64 dotprod neon")
    ('here also dotprod',)
    """
    (before, *had), (now, *has) = proven_on.split() or [""], here.split() or [""]
    found = []
    if before != now:
        found.append(f"another architecture, {now or 'unknown'}")
    saturated, saturates = _saturates(before, set(had)), _saturates(now, set(has))
    if saturated != saturates:
        found.append("8-bit sums saturate here" if saturates else "8-bit sums saturated there")
    if before == now:
        ignored = _WIDTHS | _EXACT_X86  # the latter have been spoken of
        found += [f"here also {feature}" for feature in sorted({*has} - {*had} - ignored)]
        found += [f"here no {feature}" for feature in sorted({*had} - {*has} - ignored)]
    return tuple(found)


def _saturates(architecture: str, features: set[str]) -> bool:
    return architecture.lower() in _X86 and not features & _EXACT_X86


def available_cores() -> int:
    """Cores this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not Linux
        return os.cpu_count() or 1
