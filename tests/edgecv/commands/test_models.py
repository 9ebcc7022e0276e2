"""``edgecv models``."""

from __future__ import annotations

import argparse
import json

import pytest

from edgecv.commands.models import MODELS
from edgecv.models.registry import list_models
from edgecv_runtime.errors import InputError


def run(*words: str) -> int:
    parser = argparse.ArgumentParser()
    MODELS.configure(parser)
    return MODELS.run(parser.parse_args(words))


def test_table_has_a_row_per_model(capsys: pytest.CaptureFixture[str]) -> None:
    assert run() == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[2:]] == list(list_models())
    row = next(line for line in lines if line.startswith("mobilenet_v2"))
    for word in ("classification", "224×224×3", "3,538,984", "--alpha", "imagenet", "Sandler 2018"):
        assert word in row


def test_json_is_the_whole_record(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--json", "--task", "classification") == 0
    records = {record["name"]: record for record in json.loads(capsys.readouterr().out)}
    record = records["mobilenet_v1"]
    assert record["parameters"] == 4_253_864
    assert record["options"][0]["name"] == "alpha"
    assert record["options"][0]["type"] == "float"
    assert record["preprocessing"]["resize"]["crop_fraction"] == 0.875
    assert record["weights"][0]["address"].endswith("mobilenet_1_0_224_tf.h5")
    assert record["weights"][0]["sha256"] is None


def test_unknown_task() -> None:
    with pytest.raises(InputError, match="task must be one of"):
        run("--task", "cooking")
