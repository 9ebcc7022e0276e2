"""``edgecv style``."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import pytest

import edgecv
from edgecv.commands.style import STYLE
from edgecv_runtime.errors import InputError
from edgecv_runtime.images import cv2, read_image


def run(*words: str | Path) -> int:
    parser = argparse.ArgumentParser()
    STYLE.configure(parser)
    return STYLE.run(parser.parse_args([str(word) for word in words]))


@pytest.fixture
def pictures(tmp_path: Path) -> tuple[Path, Path]:
    generator = np.random.default_rng(0)
    paths = tmp_path / "content.png", tmp_path / "style.png"
    for path, shape in zip(paths, ((40, 60), (30, 30)), strict=True):
        blocks = generator.integers(0, 256, (5, 5, 3), np.uint8)
        cv2("a test").imwrite(str(path), cv2("a test").resize(blocks, shape[::-1]))
    return paths


def test_a_picture_is_painted(pictures: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    weights, output = tmp_path / "fresh.weights.h5", tmp_path / "out.png"
    edgecv.create_model("resnet18", (43, 64, 3)).save_weights(weights)
    words = ("--network", "resnet18", "--weights", weights, "--size", "64", "--steps", "3", "--method", "adam")
    assert run(*pictures, "-o", output, *words, "--style-weight", "2", "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["size"] == [43, 64] and facts["steps"] == 3 and facts["method"] == "adam"
    assert set(facts["start"]) == set(facts["end"]) == {"content", "style", "variation"}
    assert read_image(output).shape == (43, 64, 3)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("-o", "out.jpg"), "--output must end in .png; received out.jpg"),
        (("-o", "out.png", "--steps", "0"), "--steps must be at least 1; received 0"),
        (("-o", "out.png", "--size", "8"), "--size must be at least 32; received 8"),
        (("-o", "out.png", "--network", "unet"), "--network must be a classifier; unet is for segmentation"),
    ],
)
def test_refused(words: tuple[str, ...], message: str, pictures: tuple[Path, Path]) -> None:
    with pytest.raises(InputError, match=message):
        run(*pictures, *words)


def test_configuring_loads_nothing_heavy() -> None:
    import subprocess
    import sys

    code = (
        "import argparse, sys; from edgecv.commands.style import STYLE; "
        "STYLE.configure(argparse.ArgumentParser()); sys.exit(bool({'numpy', 'keras', 'cv2'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
