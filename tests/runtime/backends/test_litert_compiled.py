"""LiteRT's CompiledModel, checked in a process of its own.

It does not share a process with TensorFlow, which other tests load: a suite that passed was ended by "free(): invalid
pointer" when the interpreter closed.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest


def test_compiled_models() -> None:
    """Every test of the file beside this one passes, and the process ends as it should."""
    if importlib.util.find_spec("ai_edge_litert") is None:
        pytest.skip("ai_edge_litert is not installed here")
    checks = Path(__file__).with_name("litert_compiled_checks.py")
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(checks)],
        capture_output=True, text=True, errors="replace", check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout[-3000:] + ran.stderr[-1000:]
