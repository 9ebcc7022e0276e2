from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edgecv_runtime import cpu

Machine = Callable[[str, str], None]


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Machine]:
    def become(architecture: str, cpuinfo: str) -> None:
        (tmp_path / "cpuinfo").write_text(cpuinfo)
        monkeypatch.setattr(cpu, "_CPUINFO", tmp_path / "cpuinfo")
        monkeypatch.setattr("platform.machine", lambda: architecture)
        cpu.features.cache_clear()

    yield become
    cpu.features.cache_clear()


# Shortened from the machines' own /proc/cpuinfo.
HASWELL = "processor\t: 0\nflags\t\t: fpu sse sse2 ssse3 avx avx2 bmi2\nvmx flags\t: ept avx512_vnni\n"
CASCADE_LAKE = "processor\t: 0\nflags\t\t: fpu avx2 avx512f avx512bw avx512_vnni\n"
ALDER_LAKE = "processor\t: 0\nflags\t\t: fpu avx2 avx_vnni\n"
RASPBERRY_PI_4 = "processor\t: 0\nFeatures\t: fp asimd evtstrm crc32 cpuid\nCPU part\t: 0xd08\n"
RASPBERRY_PI_5 = "processor\t: 0\nFeatures\t: fp asimd fphp asimdhp asimddp\n"
ARMV7 = "processor\t: 0\nFeatures\t: half thumb neon vfpv4\n"


@pytest.mark.parametrize(
    ("architecture", "text", "features", "saturates"),
    [
        ("x86_64", HASWELL, {"avx2"}, True),
        ("AMD64", HASWELL, {"avx2"}, True),
        ("x86_64", CASCADE_LAKE, {"avx2", "avx512", "avx512-vnni"}, False),
        ("x86_64", ALDER_LAKE, {"avx2", "avx-vnni"}, False),
        ("x86_64", "flags : amx_int8\n", {"amx-int8"}, False),
        ("x86_64", "", set(), True),  # unknown: precise rather than fast
        ("aarch64", RASPBERRY_PI_4, {"neon"}, False),
        ("aarch64", RASPBERRY_PI_5, {"neon", "fp16", "dotprod"}, False),
        ("armv7l", ARMV7, {"neon"}, False),
        ("aarch64", "nothing known", set(), False),
    ],
)
def test_features_and_saturation(
    machine: Machine, architecture: str, text: str, features: set[str], saturates: bool
) -> None:
    machine(architecture, text)
    assert cpu.features() == features
    assert cpu.saturates_int8() is saturates


def test_description_is_one_sorted_line(machine: Machine) -> None:
    machine("aarch64", RASPBERRY_PI_5)
    assert cpu.describe() == "aarch64 dotprod fp16 neon"


def test_no_cpuinfo_at_all(machine: Machine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    machine("arm64", "")
    monkeypatch.setattr(cpu, "_CPUINFO", tmp_path / "none")
    cpu.features.cache_clear()
    assert cpu.features() == frozenset()
    assert cpu.describe() == "arm64"


def test_cores_are_those_this_process_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3})
    assert cpu.available_cores() == 1
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert cpu.available_cores() == 1
