"""``edgecv matrix`` and ``edgecv export --all-targets``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgecv_targets import list_targets


@pytest.mark.slow
def test_it_makes_bundles_a_table_and_a_page(
    edgecv_command: Callable[..., Any], pictures: Path, tmp_path: Path
) -> None:
    words = ("matrix", "lenet5=digits", "--calibrate", pictures, "--eval", pictures, "--round-to-nearest")
    ran = edgecv_command(*words, "--targets", "pi-4,pi-3", "-o", tmp_path / "out", "--json")
    assert ran.status == 0
    assert [row["target"] for row in ran.json["rows"]] == ["pi-4", "pi-3"]
    assert ran.json["conversions"] == 1
    assert {row["images"] for row in ran.json["rows"]} == {20}
    assert ran.err.splitlines()[0] == "lenet5: tflite int8 ready"
    assert (tmp_path / "out" / "lenet5" / "pi-3.edgecv").is_file()
    assert "Accuracy against time" in (tmp_path / "out" / "index.html").read_text()


def test_export_to_all_targets_hands_all_of_them_over(
    edgecv_command: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from edgecv_export.matrix import Matrix, Row

    asked: dict[str, Any] = {}

    def stand_in(networks: Any, folder: Any, **given: Any) -> Matrix:
        asked.update(given, networks=networks)
        rows = [Row("lenet5", name, name, "board", "ready", bundle=f"lenet5/{name}.edgecv") for name in list_targets()]
        return Matrix(tuple(rows), 6, Path(folder))

    monkeypatch.setattr("edgecv_export.matrix.run_matrix", stand_in)
    ran = edgecv_command("export", "lenet5", "--weights", "digits", "--all-targets", "-o", tmp_path)
    assert ran.status == 0
    assert asked["targets"] is None
    assert [(entry.model, entry.weights) for entry in asked["networks"]] == [("lenet5", "digits")]
    assert f"{len(list_targets())} bundles from 6 conversions" in ran.out
    # The other command gives the same, and its models can have weights of their own.
    ran = edgecv_command("matrix", "lenet5=digits", "--targets", "pi-3, pi-4", "--round-to-nearest", "-o", tmp_path)
    assert ran.status == 0
    assert asked["targets"] == ["pi-3", "pi-4"]
    assert [(entry.model, entry.weights) for entry in asked["networks"]] == [("lenet5", "digits")]
    assert asked["recipe"].adaround is False


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("export", "lenet5", "--all-targets", "--precision", "int8"), "each device decides: leave out --precision"),
        (("export", "lenet5", "--jobs", "2"), "--jobs is for --all-targets"),
        (("matrix", "lenet5", "--cluster", "--jobs", "2"), "--cluster for many"),
        (("matrix", "lenet5", "--calibrate", "nowhere"), "no folder of pictures at nowhere"),
        (("matrix", "lenet6"), "lenet6"),
        (("matrix", "lost.keras"), "there is no file lost.keras"),
        (("matrix", "lenet5", "--targets", "pi-9"), "pi-9"),
    ],
)
def test_what_does_not_apply_is_one_line(
    edgecv_command: Callable[..., Any], tmp_path: Path, words: tuple[str, ...], said: str
) -> None:
    ran = edgecv_command(*words, "-o", tmp_path / "out")
    assert ran.status == 2
    assert said in ran.err.splitlines()[-1]
    assert not (tmp_path / "out").exists()
