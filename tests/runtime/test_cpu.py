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


@pytest.mark.parametrize(
    ("proven_on", "here", "differences"),
    [
        ("x86_64 avx2 avx512-vnni", "x86_64 avx2 avx512-vnni", ()),
        ("x86_64 avx2 avx512 avx512-vnni", "x86_64 avx-vnni avx2", ()),  # either is exact; width is only order
        ("x86_64 avx2 avx512-vnni", "x86_64 avx2", ("8-bit sums saturate here",)),
        ("x86_64 avx2", "x86_64 amx-int8 avx2", ("8-bit sums saturated there",)),
        ("x86_64 avx-vnni avx2", "x86_64 avx-vnni avx512-bf16", ("here also avx512-bf16",)),
        ("aarch64 dotprod fp16 neon", "aarch64 neon", ("here no dotprod", "here no fp16")),
        ("aarch64 neon", "aarch64 bf16 i8mm neon sve", ("here also bf16", "here also i8mm")),
        ("x86_64 avx2 avx512-vnni", "aarch64 dotprod neon", ("another architecture, aarch64",)),
        ("x86_64 avx2", "aarch64 neon", ("another architecture, aarch64", "8-bit sums saturated there")),
        ("aarch64 neon", "x86_64 avx2", ("another architecture, x86_64", "8-bit sums saturate here")),
    ],
)
def test_what_makes_two_cpus_compute_otherwise(proven_on: str, here: str, differences: tuple[str, ...]) -> None:
    assert cpu.arithmetic_differences(proven_on, here) == differences


def test_provenance_in_words(machine: Machine) -> None:
    machine("x86_64", HASWELL)
    assert str(cpu.provenance(None)) == "where it was proven is not known, here x86_64 avx2"
    assert str(cpu.provenance("x86_64 avx2")) == "proven on x86_64 avx2, here the same"
    assert str(cpu.provenance("x86_64")) == "proven on x86_64, here x86_64 avx2, which computes alike"
    assert str(cpu.provenance("x86_64 avx2 avx512-vnni")) == (
        "proven on x86_64 avx2 avx512-vnni, here x86_64 avx2 (8-bit sums saturate here)"
    )


def test_reduced_precision_features(machine: Machine) -> None:
    machine("x86_64", "flags : avx512_bf16 avx512_fp16 amx_bf16 amx_fp16\n")
    assert cpu.features() == {"avx512-bf16", "avx512-fp16", "amx-bf16", "amx-fp16"}
    machine("aarch64", "Features : asimd bf16\n")
    assert cpu.features() == {"neon", "bf16"}


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
