"""The clip on emulated Arm, in short, where the emulated root has been made before."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


def run(*words: str | Path, path: str | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, BENCHMARKS / "arm64_clip.py", *words]
    environment = None if path is None else {"PATH": path}
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False, env=environment)


def test_missing_tools_are_named(tmp_path: Path) -> None:
    ran = run("--root", tmp_path, "--bundle", "none.edgecv", path=str(tmp_path))
    assert ran.returncode == 2
    assert "qemu-aarch64-static" in ran.stderr and "apt-get install" in ran.stderr


@pytest.mark.data
@pytest.mark.slow
def test_the_walking_people_on_a_pi_4(data_dir: Path, tmp_path: Path) -> None:
    """One command makes EDGECV_ARM64_ROOT (arm64_replay.py or arm64_clip.py --root); it takes a few minutes."""
    root = os.environ.get("EDGECV_ARM64_ROOT")
    if root is None or shutil.which("qemu-aarch64-static") is None:
        pytest.skip("no emulated root: make one with benchmarks/arm64_clip.py --root DIR, then set EDGECV_ARM64_ROOT")
    from edgecv_export.wrapping import wrap

    source = data_dir / "models/detection/ssd_mobilenet_v1_coco_quant.tflite"
    wrap(source, tmp_path / "ssd.edgecv", decoder="ssd-postprocessed")
    ran = run("--root", root, "--bundle", tmp_path / "ssd.edgecv", "--frames", "2", "--cpus", "cortex-a72")
    assert ran.returncode == 0, ran.stderr
    assert "cortex-a72  Raspberry Pi 4 Model B  passed  passed       2      2  passed" in ran.stdout
