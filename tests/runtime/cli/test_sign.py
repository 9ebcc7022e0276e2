from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from edgecv_runtime import signing


@pytest.fixture(autouse=True)
def no_system_key(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(signing.ENVIRONMENT, raising=False)
    monkeypatch.setattr(signing, "SYSTEM_KEY", tmp_path / "none")


def test_from_a_new_key_to_a_device_that_asks_for_it(
    edgecv: Any, bundle: Path, picture: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = tmp_path / "key"
    made = json.loads(edgecv("sign", "--new-key", key, "--json").out)
    assert made["private_key"] == str(key) and made["public_key"] == f"{key}.pub"
    path = tmp_path / "a.edgecv"
    shutil.copy(bundle, path)
    assert edgecv("verify", path).status == 0
    refused = edgecv("verify", path, "--key", f"{key}.pub")
    assert refused.status == 1 and f"✗ signature: {path} is not signed" in refused.out
    monkeypatch.setenv(signing.ENVIRONMENT, f"{key}.pub")
    for command in (["run", path, "--source", picture], ["bench", path, "--runs", 1]):
        outcome = edgecv(*command)
        assert outcome.status == 2 and "is not signed" in outcome.error
    outcome = edgecv("sign", path, "--key", key, "--release", 4)
    assert outcome.status == 0 and outcome.out == f"{path} is signed with the key {made['key_id']}\n"
    assert json.loads(edgecv("info", path, "--json").out)["manifest"]["release"] == 4
    assert f"✓ signature: of the key {made['key_id']}" in edgecv("verify", path).out
    assert edgecv("run", path, "--source", picture).status == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "a bundle and --key KEY are required"),
        (["a.edgecv"], "a bundle and --key KEY are required"),
        (["a.edgecv", "--new-key", "k"], "takes nothing else; received bundle"),
        (["a.edgecv", "--key", "none"], "no private key at none"),
        (["a.zip", "--key", "none"], "must end in .edgecv"),
    ],
)
def test_bad_requests_are_status_2(edgecv: Any, tmp_path: Path, arguments: list[str], message: str) -> None:
    outcome = edgecv("sign", *arguments)
    assert outcome.status == 2 and message in outcome.error
