from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from edgecv_runtime import signing


@pytest.fixture(autouse=True)
def no_system_key(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(signing.ENVIRONMENT, raising=False)
    monkeypatch.setattr(signing, "SYSTEM_KEY", tmp_path / "none")


def test_update_start_confirm_and_roll_back(edgecv: Any, tiny: Any, tmp_path: Path) -> None:
    one = tiny.write(tmp_path / "one.edgecv", release=1)
    two = tiny.write(tmp_path / "two.edgecv", release=2)
    where = ["--slots", tmp_path / "slots"]
    outcome = edgecv("update", one, *where)
    assert outcome.status == 0 and outcome.out.startswith(f"{tmp_path}/slots/a.edgecv: release 1, confirmed\n")
    assert "release 2, on trial, 0 starts so far" in edgecv("update", two, *where, "--backend", "onnxruntime").out
    outcome = edgecv("update", "--boot", *where)
    assert outcome.out == f"{tmp_path}/slots/b.edgecv\n" and "on trial, release 2" in outcome.err
    assert edgecv("info", outcome.out.strip()).status == 0
    assert json.loads(edgecv("update", "--status", "--json", *where).out)["starts"] == 1
    outcome = edgecv("update", "--confirm", *where)
    assert "release 2, confirmed" in outcome.out and "lower releases than 2 are refused" in outcome.out
    outcome = edgecv("update", "--boot", *where)
    assert outcome.out == f"{tmp_path}/slots/b.edgecv\n" and outcome.err == ""
    outcome = edgecv("update", one, *where)
    assert outcome.status == 2 and "one.edgecv is release 1, a downgrade from release 2" in outcome.error
    outcome = edgecv("update", "--rollback", *where)
    assert outcome.out == f"{tmp_path}/slots/a.edgecv\n" and "back to the bundle before, release 1" in outcome.err
    assert "was given up: it was rolled back by hand" in edgecv("update", "--status", *where).out
    outcome = edgecv("update", "--rollback", *where)
    assert outcome.status == 1 and "there is no bundle before it" in outcome.error
    assert json.loads(edgecv("update", "--boot", "--json", *where).out)["release"] == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "one of NEW, --boot, --confirm, --rollback and --status is required"),
        (["a.edgecv", "--boot"], "no more than one"),
        (["--boot", "--confirm"], "no more than one"),
        (["--boot", "--allow-downgrade"], "--allow-downgrade goes with NEW"),
        (["--boot"], "no slots at"),
        (["none.edgecv"], "no bundle at none.edgecv"),
    ],
)
def test_bad_requests_are_status_2(edgecv: Any, tmp_path: Path, arguments: list[str], message: str) -> None:
    outcome = edgecv("update", *arguments, "--slots", tmp_path / "slots")
    assert outcome.status == 2 and message in outcome.error
    assert not (tmp_path / "slots").exists()
