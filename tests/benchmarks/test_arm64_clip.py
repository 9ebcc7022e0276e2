"""The clip on emulated Arm, in short, where the emulated root has been made before."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


def run(*words: str | Path, path: str | None = None, data: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, BENCHMARKS / "arm64_clip.py", *words]
    environment = {**os.environ, "EDGECV_DATA": str(data)} if path is None else {"PATH": path}
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False, env=environment)


def test_missing_tools_are_named(tmp_path: Path) -> None:
    ran = run("--root", tmp_path, "--bundle", "none.edgecv", path=str(tmp_path))
    assert ran.returncode == 2
    assert "qemu-aarch64-static" in ran.stderr and "apt-get install" in ran.stderr


def test_the_root_is_one_command(tmp_path: Path) -> None:
    """Without the tools it says so; with --root, too, it is refused."""
    ran = run("--make-root", tmp_path / "root", path=str(tmp_path))
    assert ran.returncode == 2 and "debootstrap" in ran.stderr and not (tmp_path / "root").exists()
    ran = run("--make-root", tmp_path, "--root", tmp_path)
    assert ran.returncode == 2 and "not allowed with" in ran.stderr


@pytest.mark.data
@pytest.mark.slow
def test_the_walking_people_on_a_pi_4(data_dir: Path) -> None:
    """`arm64_clip.py --make-root` makes EDGECV_ARM64_ROOT, in a few minutes; the bundle is the one that CI runs."""
    root = os.environ.get("EDGECV_ARM64_ROOT")
    if root is None or shutil.which("qemu-aarch64-static") is None:
        pytest.skip(
            "no emulated root: make one with benchmarks/arm64_clip.py --make-root DIR, then set EDGECV_ARM64_ROOT"
        )
    ran = run("--root", root, "--frames", "2", "--cpus", "cortex-a72", data=data_dir)
    assert ran.returncode == 0, ran.stderr
    assert "cortex-a72  Raspberry Pi 4 Model B  passed  passed       2      2  passed" in ran.stdout
