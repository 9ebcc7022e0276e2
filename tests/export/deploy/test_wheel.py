"""The runtime as a wheel, from what is installed."""

from __future__ import annotations

import base64
import csv
import hashlib
import zipfile
from pathlib import Path

import edgecv_runtime
from edgecv_export.deploy import runtime_wheel


def test_it_holds_the_code_that_runs_here(tmp_path: Path) -> None:
    path = runtime_wheel(tmp_path)
    version = edgecv_runtime.__version__
    assert path.name == f"edgecv_runtime-{version}-py3-none-any.whl"
    root = Path(edgecv_runtime.__file__).parent
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        for code in root.rglob("*.py"):
            name = f"edgecv_runtime/{code.relative_to(root).as_posix()}"
            assert archive.read(name) == code.read_bytes()
        assert not any("__pycache__" in name for name in names)
        assert "edgecv_runtime/py.typed" in names
        points = archive.read(f"edgecv_runtime-{version}.dist-info/entry_points.txt").decode()
        assert "edgecv = edgecv_runtime.cli:main" in points
        metadata = archive.read(f"edgecv_runtime-{version}.dist-info/METADATA").decode()
        assert f"Version: {version}" in metadata
        assert "Provides-Extra: litert" in metadata
        record = f"edgecv_runtime-{version}.dist-info/RECORD"
        rows = list(csv.reader(archive.read(record).decode().splitlines()))
        assert [row[0] for row in rows] == names
        for name, digest, size in rows[:-1]:
            content = archive.read(name)
            expected = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
            assert (digest, size) == (f"sha256={expected}", str(len(content)))
        assert rows[-1] == [record, "", ""]


def test_the_same_code_gives_the_same_wheel(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    assert runtime_wheel(tmp_path / "a").read_bytes() == runtime_wheel(tmp_path / "b").read_bytes()
