"""The runtime's README is run on the real models that it names."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

README = (Path(__file__).resolve().parents[1] / "runtime" / "README.md").read_text(encoding="utf-8")

_MODELS = re.compile(r"<!-- models: (\w+) -->\n```sh\n(.*?)```", re.DOTALL)
_LIVE = re.compile(r"<!-- live -->\n```sh\n(.*?)```", re.DOTALL)
_PEOPLE = re.compile(r"<!-- people -->\n```sh\n(.*?)```", re.DOTALL)


def run(line: str, folder: Path) -> str:
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    environment |= {"TF_CPP_MIN_LOG_LEVEL": "3", "XDG_CACHE_HOME": str(folder / "cache")}
    done = subprocess.run(
        ["bash", "-c", line], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        pytest.fail(f"{line}\nexit {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done.stdout


def commands(kind: str) -> list[str]:
    return dict(_MODELS.findall(README))[kind].strip().splitlines()


@pytest.mark.data
def test_every_visible_model_is_named(data_dir: Path) -> None:
    for kind in ("detection", "segmentation", "face"):
        there = {path.name for path in (data_dir / "models" / kind).iterdir() if path.suffix in (".onnx", ".tflite")}
        assert {line.split()[2] for line in commands(kind)} == there


@pytest.mark.data
@pytest.mark.parametrize(
    "kind",
    [
        "detection",
        pytest.param("segmentation", marks=pytest.mark.slow),
        pytest.param("face", marks=pytest.mark.slow),
    ],
)
def test_one_command_wraps_each(kind: str, data_dir: Path, tmp_path: Path) -> None:
    for line in commands(kind):
        source, bundle = line.split()[2], line.split()[-1]
        (tmp_path / source).symlink_to(data_dir / "models" / kind / source)
        run(line, tmp_path)
        assert "passed on" in run(f"edgecv verify {bundle}", tmp_path)


@pytest.mark.data
@pytest.mark.slow
def test_people(data_dir: Path, tmp_path: Path) -> None:
    for line in commands("face"):
        source = line.split()[2]
        (tmp_path / source).symlink_to(data_dir / "models" / "face" / source)
        if "mobilefacenet" in line or "blazeface_back" in line:
            run(line, tmp_path)
    faces = data_dir / "faces" / "lfw-aligned-112"
    everybody = sorted(path for path in faces.iterdir() if path.is_dir())
    for person in everybody[:16]:
        (tmp_path / "people" / person.name).mkdir(parents=True)
        for picture in sorted(person.iterdir())[:6]:
            shutil.copy(picture, tmp_path / "people" / person.name)
    shutil.copy(sorted(everybody[3].iterdir())[7], tmp_path / "visitor.jpg")
    shutil.copy(sorted((data_dir / "faces" / "group-photos").iterdir())[0], tmp_path / "group.jpg")
    (block,) = _PEOPLE.findall(README)
    said = [run(line, tmp_path) for line in block.strip().splitlines()]
    assert everybody[3].name in said[2]
    assert "group.jpg" in said[3]


@pytest.mark.data
def test_a_service(data_dir: Path) -> None:
    with tempfile.TemporaryDirectory(dir=Path(__file__).parent) as name:  # a service does not see /tmp
        folder = Path(name)
        shutil.copy(data_dir / "models" / "detection" / "yolox_nano.onnx", folder)
        run(commands("detection")[0], folder)
        (block,) = _LIVE.findall(README)
        unit = run(block.strip(), folder)
    assert "WatchdogSec=" in unit and "NoNewPrivileges=" in unit


def test_every_block_is_run() -> None:
    shown = re.findall(r"^```sh\n", README, re.MULTILINE)
    assert len(shown) == len(_MODELS.findall(README) + _PEOPLE.findall(README) + _LIVE.findall(README))
