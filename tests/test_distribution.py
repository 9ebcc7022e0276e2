"""What must be true of the three distributions together."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import tomllib

import edgecv_runtime

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("edgecv", "export/edgecv_export", "runtime/edgecv_runtime", "targets/edgecv_targets")
PROJECTS = ("pyproject.toml", "runtime/pyproject.toml", "export/pyproject.toml")


def test_changelog_and_version_are_in_step() -> None:
    newest = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert newest is not None
    assert newest[1] == edgecv_runtime.__version__


@pytest.mark.parametrize("package", PACKAGES)
def test_every_package_says_that_it_is_typed(package: str) -> None:
    assert (ROOT / package / "py.typed").is_file()


@pytest.mark.parametrize("project", PROJECTS)
def test_the_version_stands_in_one_place(project: str) -> None:
    data = tomllib.loads((ROOT / project).read_text(encoding="utf-8"))
    assert "version" in data["project"]["dynamic"]
    written = (ROOT / project).parent / data["tool"]["hatch"]["version"]["path"]
    assert written.resolve() == ROOT / "runtime" / "edgecv_runtime" / "_version.py"


def test_the_device_needs_numpy_only() -> None:
    data = tomllib.loads((ROOT / "runtime" / "pyproject.toml").read_text(encoding="utf-8"))
    assert [re.split(r"[<>=]", need)[0] for need in data["project"]["dependencies"]] == ["numpy"]


def test_constraints_name_versions_and_no_addresses() -> None:
    lines = (ROOT / ".ci" / "constraints.txt").read_text(encoding="utf-8").splitlines()
    assert all(re.fullmatch(r"[a-z0-9-]+==[0-9][\w.]*", line) for line in lines if not line.startswith("#"))


def test_the_top_level_is_as_designed() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    top = {name.split("/")[0] for name in listed.stdout.splitlines()}
    assert top == {
        ".ci", ".gitignore", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "README.md", "pyproject.toml",
        "benchmarks", "edgecv", "export", "runtime", "targets", "tests",
    }  # fmt: skip
