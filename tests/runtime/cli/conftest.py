"""The command run in this process and in one of its own, as on a device: without the workstation's packages."""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edgecv_runtime.cli import main

_DEVICE = """
import importlib.metadata, sys
find = importlib.metadata.entry_points
importlib.metadata.entry_points = lambda **query: [] if query.get("group") == "edgecv.commands" else find(**query)
from edgecv_runtime.cli import main
sys.exit(main())
"""


@dataclass(frozen=True)
class Outcome:
    status: int
    out: str
    err: str

    @property
    def error(self) -> str:
        """The one line on stderr; nothing on stdout."""
        assert self.out == ""
        assert self.err.endswith("\n") and self.err.count("\n") == 1, self.err
        return self.err[:-1]


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.metadata.entry_points
    monkeypatch.setattr(
        importlib.metadata,
        "entry_points",
        lambda **query: [] if query.get("group") == "edgecv.commands" else find(**query),
    )


@pytest.fixture
def edgecv(device: None, capsys: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    def run(*arguments: object) -> Outcome:
        try:
            status = main([str(argument) for argument in arguments])
        except SystemExit as error:
            status = int(error.code or 0)
        out, err = capsys.readouterr()
        return Outcome(status, out, err)

    return run


@pytest.fixture
def edgecv_process() -> Callable[..., Outcome]:
    def run(*arguments: object, **options: Any) -> Outcome:
        environment = os.environ | options.pop("env", {})
        command = [sys.executable, "-c", _DEVICE, *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, **options)
        return Outcome(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture(scope="session")
def device_program() -> str:
    return _DEVICE


@pytest.fixture(scope="session")
def pictures(tiny: Any) -> Path:
    """Three pictures in class folders, of which the first is right: ant/0.png, bee/1.png, cat/2.png."""
    folder: Path = tiny.folder / "pictures"
    best = [int(tiny.reference.scores(tiny.image(seed)).argmax()) for seed in range(3)]
    for seed, truth in enumerate((best[0], (best[1] + 1) % 4, (best[2] + 1) % 4)):
        path = folder / tiny.labels[truth] / f"{seed}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(path), tiny.enlarge(tiny.image(seed))[..., ::-1])
    return folder


@pytest.fixture
def picture(tiny: Any, tmp_path: Path) -> Path:
    path = tmp_path / "picture.png"
    assert cv2.imwrite(str(path), np.ascontiguousarray(tiny.image(1)[..., ::-1]))
    return path
