"""Whatever moment a process ends at, the folder holds a whole state."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgecv.training.checkpoint import Checkpoint, State
from edgecv_runtime.errors import InputError, OutputError

FACTS = {"model": "lenet5", "epochs": 5}


def epoch(checkpoint: Checkpoint, number: int) -> None:
    weights = checkpoint.write_weights(f"epoch-{number:05d}", lambda path: path.write_bytes(b"w" * number) and None)
    best = checkpoint.write_weights(f"best-{number:05d}", lambda path: path.write_bytes(b"b" * number) and None)
    checkpoint.commit(State(number, weights, best, number, 0.5, [{"epoch": float(number)}]))


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_only_the_last_state_is_kept(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path / "c", FACTS)
    assert checkpoint.state is None
    epoch(checkpoint, 1)
    epoch(checkpoint, 2)
    assert files(tmp_path / "c") == ["best-00002.weights.h5", "epoch-00002.weights.h5", "state.json"]
    again = Checkpoint(tmp_path / "c", FACTS)
    assert again.state == checkpoint.state and again.state.epoch == 2
    assert again.path(again.state.weights).read_bytes() == b"ww"


def test_an_epoch_that_was_not_committed_is_forgotten(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path / "c", FACTS)
    epoch(checkpoint, 1)
    # Killed after the weights were written, before the state was.
    (tmp_path / "c" / "epoch-00002.weights.h5").write_bytes(b"half")
    again = Checkpoint(tmp_path / "c", FACTS)
    assert again.state.epoch == 1
    assert files(tmp_path / "c") == ["best-00001.weights.h5", "epoch-00001.weights.h5", "state.json"]


def test_killed_before_the_first_commit(tmp_path: Path) -> None:
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "epoch-00001.weights.h5").write_bytes(b"half")
    assert Checkpoint(tmp_path / "c", FACTS).state is None
    assert files(tmp_path / "c") == []


def test_another_training_is_refused(tmp_path: Path) -> None:
    epoch(Checkpoint(tmp_path / "c", FACTS), 1)
    with pytest.raises(InputError, match=r"belongs to a training with another epochs \(5; this one has 6\): give the"):
        Checkpoint(tmp_path / "c", {**FACTS, "epochs": 6})
    assert "epoch-00001.weights.h5" in files(tmp_path / "c")


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("text")
    with pytest.raises(InputError, match="must be new, empty or one that edgecv made; .* holds thesis.txt"):
        Checkpoint(tmp_path, FACTS)
    with pytest.raises(OutputError, match="cannot use .* for checkpoints"):
        Checkpoint(tmp_path / "thesis.txt", FACTS)
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "state.json").write_text(json.dumps({"format": 1}))
    with pytest.raises(InputError, match="is not the state of a training"):
        Checkpoint(tmp_path / "c", FACTS)


def test_removing_leaves_what_is_not_ours(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path / "c", FACTS)
    epoch(checkpoint, 1)
    checkpoint.remove()
    assert not (tmp_path / "c").exists()
    checkpoint = Checkpoint(tmp_path / "d", FACTS)
    epoch(checkpoint, 1)
    (tmp_path / "d" / "notes.txt").write_text("mine")
    checkpoint.remove()
    assert files(tmp_path / "d") == ["notes.txt"]
