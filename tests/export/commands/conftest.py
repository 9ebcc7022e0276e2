"""The command line, in this process."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest


@dataclass(frozen=True)
class Ran:
    """What a command said."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def edgecv_command(capsys: pytest.CaptureFixture[str]) -> Callable[..., Ran]:
    """``edgecv_command("export", "lenet5", ...)``."""
    from edgecv_runtime.cli.main import main

    def run(*words: str | Path) -> Ran:
        capsys.readouterr()
        try:
            status = main([str(word) for word in words])
        except SystemExit as left:  # argparse
            status = left.code
        return Ran(status, *capsys.readouterr())

    return run


@pytest.fixture
def pictures(tmp_path: Path, digits: tuple[list[np.ndarray], np.ndarray]) -> Path:
    """20 drawn digits in folders named after them."""
    folder = tmp_path / "pictures"
    for index, (image, label) in enumerate(zip(digits[0][:20], digits[1].tolist(), strict=False)):
        (folder / str(label)).mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(folder / str(label) / f"{index:02d}.png"), image)
    return folder
