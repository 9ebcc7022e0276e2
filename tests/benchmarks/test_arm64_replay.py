"""What of the replay on emulated Arm needs no Arm: its files, its arithmetic, its refusals."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def replay(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    for name in ("_common", "device_install", "arm64_replay"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return importlib.import_module("arm64_replay")


def run(folder: Path, *arguments: object, path: str | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(BENCHMARKS / "arm64_replay.py"), "--root", str(folder), *map(str, arguments)]
    environment = None if path is None else {"PATH": path}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


def test_cpu_description_of_a_raspberry_pi_4(replay: Any, tmp_path: Path) -> None:
    replay.describe_cpu(tmp_path, "cortex-a72")
    blocks = (tmp_path / "proc/cpuinfo").read_text().split("\n\n")
    assert len(blocks) == 5  # four cores, and the board
    for index, block in enumerate(blocks[:4]):
        facts = dict(line.split("\t: ") for line in block.splitlines() if "\t: " in line)
        assert facts["processor"] == str(index) and facts["CPU part"] == "0xd08"
        assert facts["Features"] == "fp asimd evtstrm crc32 cpuid" and facts["CPU implementer"] == "0x41"
    assert "Raspberry Pi 4" in blocks[4]
    system = tmp_path / "sys/devices/system/cpu"
    assert (system / "possible").read_text() == (system / "present").read_text() == "0-3\n"
    assert (system / "kernel_max").read_text() == "3\n"
    for index in range(4):
        assert (system / f"cpu{index}/topology/core_id").read_text() == f"{index}\n"
        assert int((system / f"cpu{index}/cpufreq/cpuinfo_max_freq").read_text()) > 0


@pytest.mark.parametrize(("cpu", "features"), [("cortex-a53", {"neon"}), ("cortex-a76", {"neon", "fp16", "dotprod"})])
def test_the_runtime_reads_it_as_that_cpu(
    replay: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cpu: str, features: set[str]
) -> None:
    from edgecv_runtime import cpu as runtime_cpu

    replay.describe_cpu(tmp_path, cpu)
    monkeypatch.setattr(runtime_cpu, "_CPUINFO", tmp_path / "proc/cpuinfo")
    runtime_cpu.features.cache_clear()
    assert runtime_cpu.features() == features
    runtime_cpu.features.cache_clear()


def test_comparison_by_hand(replay: Any) -> None:
    here = {"model": "here", "answers": [[3, 0.5], [1, 0.9], [7, 0.25], [2, 0.5]]}
    there = {"model": "there", "answers": [[3, 0.5], [1, 0.875], [6, 0.75], [2, 0.5]]}
    found = replay.compare(here, there)
    assert (found["images"], found["equal"], found["agreement"], found["different"]) == (4, 3, 0.75, [2])
    assert found["largest_score_difference"] == pytest.approx(0.025)
    nothing = replay.compare({"model": "", "answers": [[1, 0.5]]}, {"model": "", "answers": [[2, 0.5]]})
    assert (nothing["equal"], nothing["largest_score_difference"]) == (0, 0.0)


@pytest.mark.parametrize(("count", "chosen"), [(1, [0]), (2, [0, 9]), (4, [0, 3, 6, 9]), (50, list(range(10)))])
def test_images_are_spread_over_the_folder(replay: Any, count: int, chosen: list[int]) -> None:
    paths = [Path(str(index)) for index in range(10)]
    assert replay.spaced(paths, count) == [paths[index] for index in chosen]


def test_the_driver_here(replay: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The program that both machines run, with an interpreter that only records."""
    finished = subprocess.CompletedProcess([], 0, 'noise\n{"model": "m", "answers": [[1, 0.5]]}\n', "")
    words: list[Any] = []

    def python(*arguments: Any) -> Any:
        words.extend(arguments)
        return finished

    answer = replay.answers(python, Path("a.edgecv"), [tmp_path / "x.png"], tmp_path)
    assert answer == {"model": "m", "answers": [[1, 0.5]]}
    assert words[0] == "-c" and words[2:4] == [Path("a.edgecv"), "1"]
    assert words[4].read_text() == f'["{tmp_path / "x.png"}"]'
    finished.returncode = -11
    with pytest.raises(Exception, match="a.edgecv does not run: ended by signal 11"):
        replay.answers(python, Path("a.edgecv"), [], tmp_path)


def test_missing_tools_are_named_and_status_2(tmp_path: Path) -> None:
    done = run(tmp_path / "root", "--bundles", "a.edgecv", "--images", tmp_path, path=str(tmp_path))
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert done.stderr == (
        "qemu-aarch64-static, debootstrap, dpkg-deb needed and not here: "
        "apt-get install debootstrap dpkg qemu-user-static\n"
    )
    assert not (tmp_path / "root").exists()


def test_what_is_no_bundle_is_refused_before_any_work(
    replay: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setattr(replay, "missing_tools", list)
    arguments = ["--root", str(tmp_path / "root"), "--bundles", str(tmp_path / "a.edgecv"), "--images", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["arm64_replay.py", *arguments])
    assert replay.main() == 2
    assert capsys.readouterr().err == f"no bundle at {tmp_path / 'a.edgecv'}\n"
    assert not (tmp_path / "root").exists()


def test_help_and_bad_usage(tmp_path: Path) -> None:
    assert "--cpu" in run(tmp_path, "--help").stdout
    assert run(tmp_path, "--bundles", "a.edgecv", "--images", "x", "--cpu", "pentium").returncode == 2
    assert run(tmp_path, "--bundles", "a.edgecv", "--images", "x", "--count", "0").returncode == 2


def test_root_needs_its_rights(replay: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(Exception, match="debootstrap needs root's rights"):
        replay.build_root(tmp_path / "root", "bookworm", None)
    (tmp_path / "root").mkdir()
    (tmp_path / "root/.complete").touch()
    replay.build_root(tmp_path / "root", "bookworm", None)  # it is there: nothing to do
    with pytest.raises(Exception, match="has no Python"):
        replay.interpreter(tmp_path / "root")
    (tmp_path / "root/usr/bin").mkdir(parents=True)
    for name in ("python3", "python3.11", "python3-config"):
        (tmp_path / "root/usr/bin" / name).touch()
    assert replay.interpreter(tmp_path / "root").name == "python3.11"
