"""Fixtures for every test: where the real data lies."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of real images and weights: EDGECV_DATA, or ../shared/data beside the checkout."""
    folder = Path(os.environ.get("EDGECV_DATA") or ROOT.parent / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder} (set EDGECV_DATA)")
    return folder
