"""The README is run: every command and every program of its two tours, in order, in an empty folder."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")

_TOUR = re.compile(r"<!-- tour -->\n```(sh|python)\n(.*?)```", re.DOTALL)
_COMMAND = re.compile(r"<!-- command: (\w+) -->\n```sh\n(.*?)\n```", re.DOTALL)
_BLOCK = re.compile(r"^```(?:sh|python)\n", re.MULTILINE)


def test_every_block_is_run_by_a_test() -> None:
    assert len(_BLOCK.findall(README)) == len(_TOUR.findall(README)) + len(_COMMAND.findall(README))


def test_set_up_commands_install_the_three_distributions() -> None:
    commands = dict(_COMMAND.findall(README))
    assert set(commands) == {"quickstart", "tests"}
    for command in commands.values():
        assert "\n" not in command
        assert all(part in command for part in ("-e ./runtime", "-e ./export", "python3 -m venv .venv"))
    assert commands["quickstart"].endswith("&& edgecv quickstart")
    assert commands["tests"].endswith("&& pytest -n auto")


def test_ci_runs_the_readme_s_own_test_command() -> None:
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert "<!-- command: tests -->" in script
    extracted = re.search(r"tests=\$\((awk .*?README\.md)\)", script)
    assert extracted is not None
    shell = subprocess.run(["bash", "-c", extracted[1]], cwd=ROOT, capture_output=True, text=True, check=True)
    assert shell.stdout.strip() == dict(_COMMAND.findall(README))["tests"]


def test_tours_run(tmp_path: Path) -> None:
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    environment |= {"KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3"}

    def run(arguments: list[str], what: str) -> str:
        done = subprocess.run(arguments, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            pytest.fail(f"{what}\nexit {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done.stdout

    table = run(["bash", "-c", "edgecv quickstart"], "edgecv quickstart")
    assert table.count("int8") >= 3
    outputs = []
    for language, block in _TOUR.findall(README):
        if language == "python":
            outputs.append(run([sys.executable, "-c", block], block))
        else:
            outputs += [run(["bash", "-c", line], line) for line in block.strip().splitlines()]
    # The digits' names say what they are: the device tour's program must have read them right.
    read = re.findall(r"_is_(\d)\.png \('(\d)',\)", "\n".join(outputs))
    assert len(read) == 10
    assert all(said == drawn for drawn, said in read)
