"""Mutated bundles are read: only our own errors come out, and memory stays bounded."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).resolve().parents[2] / "benchmarks" / "fuzz_bundle.py"


@pytest.mark.parametrize("files", [300, pytest.param(100_000, marks=pytest.mark.slow)])
def test_mutated_files(tmp_path: Path, files: int) -> None:
    written = tmp_path / "figures.json"
    command = [sys.executable, str(PROGRAM), "--files", str(files), "--json", str(written)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    figures = json.loads(written.read_text())
    outcomes = figures["outcomes"]
    assert figures["failures"] == {} and "FAILED" not in outcomes
    assert sum(outcomes.values()) == figures["files"] == files
    # Some mutations leave a good bundle, some are found behind the digests only: the mutations are of all kinds.
    assert outcomes["refused: BundleError"] > files // 3 and outcomes["read in part"] > files // 20
    assert figures["peak_growth_mib"] < 128


@pytest.mark.parametrize(
    ("sabotage", "message"),
    [
        ("bundle._check_end = lambda *_: {}['missing']", "KeyError at <string>"),
        ("bundle._check_end = lambda *_: bytes(2**30)", "MemoryError at <string>"),
        ("manifest.Manifest.from_json = one_of_two_lines", "with a message of 7 characters"),
    ],
)
def test_what_is_not_ours_is_noticed(sabotage: str, message: str) -> None:
    """The check itself is checked: with a reader that fails in another way, it fails, once the good ones are read."""
    program = f"""
import sys
sys.path.insert(0, {str(PROGRAM.parent)!r})
import fuzz_bundle
from edgecv_runtime import bundle, manifest
from edgecv_runtime.errors import BundleError
def one_of_two_lines(*_, **__):
    raise BundleError("one\\ntwo")
address_space = fuzz_bundle.address_space
def begin():
    {sabotage}
    return address_space()
fuzz_bundle.address_space = begin
sys.argv = ["fuzz_bundle", "--files", "30"]
sys.exit(fuzz_bundle.main())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 1 and f"FAILED: {message}" in done.stderr.replace("message: BundleError ", ""), (
        done.stderr
    )
