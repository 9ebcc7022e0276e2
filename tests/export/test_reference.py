"""The float source on labelled pictures, and an artefact beside it: counted by hand."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edgecv.models.registry import Preprocessing
from edgecv_export.plan import Plan
from edgecv_export.quantize.recipe import Recipe
from edgecv_export.reference import Fidelity, Reference
from edgecv_export.sources import Source
from edgecv_runtime.artefact import Artefact
from edgecv_runtime.errors import InputError
from edgecv_runtime.evaluate import ClassificationAccuracy, LabelledImage
from edgecv_runtime.manifest import DecoderSpec, TensorSpec


class Told(Source):
    """Answers to a picture whose first pixel is r with the r-th row of its table."""

    table: np.ndarray
    asked: list[int]

    @property
    def size(self) -> tuple[int, int]:
        return 4, 4

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        return (TensorSpec("scores", (1, self.table.shape[1]), "float32"),)

    def answers(self, pixels: np.ndarray) -> tuple[np.ndarray, ...]:
        self.asked.append(len(pixels))
        return (self.table[pixels[:, 0, 0, 0]],)

    def convert(self, plan: Plan, pixels: np.ndarray, recipe: Recipe | None = None) -> Artefact:
        raise NotImplementedError

    def cost(self) -> dict[str, int | None]:
        return {"parameters": None, "macs": None}


def told(table: Any) -> Told:
    source = Told(
        None, Preprocessing(mean=(0.0,) * 3, std=(1.0,) * 3), "classification", {}, DecoderSpec("classification")
    )
    object.__setattr__(source, "table", np.array(table, np.float32))
    object.__setattr__(source, "asked", [])
    return source


class Artefacts:
    """In place of a loaded model: as `Told`, by the first pixel."""

    def __init__(self, table: Any) -> None:
        self.table = np.array(table, np.float32)

    def outputs(self, image: np.ndarray) -> list[np.ndarray]:
        return [self.table[image[0, 0, 0]][None]]


def items(folder: Path, classes: list[int]) -> list[LabelledImage]:
    """Picture number i is filled with i."""
    found = []
    for index, number in enumerate(classes):
        path = folder / f"{index}.png"
        cv2.imwrite(str(path), np.full((4, 4, 3), index, np.uint8))
        found.append(LabelledImage(path, number))
    return found


# Six classes, so that the fifth best is not all of them.
FLOAT = [
    [0.5, 0.2, 0.1, 0.1, 0.06, 0.04],
    [0.5, 0.2, 0.1, 0.1, 0.06, 0.04],
    [0.1, 0.1, 0.6, 0.1, 0.06, 0.04],
    [0.1, 0.1, 0.6, 0.1, 0.06, 0.04],
    [0.1, 0.2, 0.1, 0.5, 0.06, 0.04],
]
TRUTH = [0, 1, 2, 5, 3]  # the float source: right, second, right, sixth, right
WORSE = [
    [0.4, 0.3, 0.1, 0.1, 0.06, 0.04],  # right as before; lost 0.1 on class 0
    [0.3, 0.4, 0.1, 0.1, 0.06, 0.04],  # gained; lost 0.2 on class 0
    [0.3, 0.2, 0.1, 0.2, 0.1, 0.1],  # lost; lost 0.5 on class 2
    [0.1, 0.1, 0.6, 0.1, 0.06, 0.04],  # wrong as before, the same
    [0.1, 0.2, 0.0, 0.6, 0.06, 0.04],  # right as before, and surer: -0.1
]


def test_the_float_source(tmp_path: Path) -> None:
    reference = Reference.of(told(FLOAT), items(tmp_path, TRUTH))
    assert reference.accuracy == ClassificationAccuracy(top1=3 / 5, top5=4 / 5, n=5, skipped=0)
    assert reference.truth.tolist() == TRUTH
    np.testing.assert_array_equal(reference.scores, np.array(FLOAT, np.float32))


def test_an_artefact_beside_it(tmp_path: Path) -> None:
    reference = Reference.of(told(FLOAT), items(tmp_path, TRUTH), ("a", "b", "c", "d", "e", "f"))
    fidelity = reference.compare(Artefacts(WORSE))
    assert fidelity.accuracy == ClassificationAccuracy(top1=3 / 5, top5=4 / 5, n=5, skipped=0)
    assert fidelity.agreement == pytest.approx(3 / 5)
    assert (fidelity.gained, fidelity.lost) == (1, 1)
    assert fidelity.to_dict() == {
        "top1": 0.6, "top5": 0.8, "n": 5, "skipped": 0, "agreement": pytest.approx(0.6), "gained": 1, "lost": 1,
    }  # fmt: skip
    assert [entry["file"] for entry in fidelity.worst] == ["2.png", "1.png", "0.png", "3.png", "4.png"]
    assert [entry["probability_drop"] for entry in fidelity.worst] == pytest.approx([0.5, 0.2, 0.1, 0.0, -0.1])
    assert fidelity.worst[0] == {
        "file": "2.png", "truth": "c", "float_label": "c", "artefact_label": "a",
        "probability_drop": pytest.approx(0.5),
    }  # fmt: skip


def test_the_source_beside_itself(tmp_path: Path) -> None:
    fidelity = Reference.of(told(FLOAT), items(tmp_path, TRUTH)).compare(Artefacts(FLOAT))
    assert (fidelity.agreement, fidelity.gained, fidelity.lost) == (1.0, 0, 0)
    assert fidelity.worst[0]["truth"] == "class 0"


def test_the_worst_are_eight_and_ties_in_order(tmp_path: Path) -> None:
    table = [[1.0, 0.0]] * 12
    reference = Reference.of(told(table), items(tmp_path, [0] * 12))
    drops = [0.1, 0.2] * 6
    fidelity = reference.compare(Artefacts([[1 - drop, drop] for drop in drops]))
    assert [entry["file"] for entry in fidelity.worst] == [f"{index}.png" for index in (1, 3, 5, 7, 9, 11, 0, 2)]


def test_many_pictures_are_asked_in_chunks(tmp_path: Path) -> None:
    source = told(np.eye(70, dtype=np.float32))
    reference = Reference.of(source, items(tmp_path, list(range(70))))
    assert source.asked == [32, 32, 6]
    assert reference.accuracy.top1 == 1.0


def test_unreadable_pictures_are_told_and_counted(tmp_path: Path) -> None:
    found = items(tmp_path, TRUTH)
    found[1].path.write_text("no picture")
    found[3].path.unlink()
    with pytest.warns(RuntimeWarning) as warned:
        reference = Reference.of(told(FLOAT), found)
    assert [str(one.message)[:8] for one in warned] == ["skipped:"] * 2
    assert reference.accuracy == ClassificationAccuracy(top1=1.0, top5=1.0, n=3, skipped=2)
    assert reference.compare(Artefacts(WORSE)).accuracy.skipped == 2


@pytest.mark.filterwarnings("ignore:skipped")
def test_not_one_readable_picture(tmp_path: Path) -> None:
    lost = LabelledImage(tmp_path / "none.png", 0)
    with pytest.raises(InputError, match="^none of the 2 labelled images could be read$"):
        Reference.of(told(FLOAT), [lost, lost])


def test_equal_scores_go_to_the_smaller_index(tmp_path: Path) -> None:
    """As the device ranks them."""
    reference = Reference.of(told([[0.5, 0.5]] * 2), items(tmp_path, [0, 1]))
    assert reference.accuracy.top1 == 0.5
    fidelity: Fidelity = reference.compare(Artefacts([[0.5, 0.5], [0.4, 0.6]]))
    assert (fidelity.agreement, fidelity.gained) == (0.5, 1)


def test_what_goes_into_the_report_is_plain(tmp_path: Path) -> None:
    fidelity = Reference.of(told(FLOAT), items(tmp_path, TRUTH)).compare(Artefacts(WORSE))
    plain: Mapping[str, Any] = {**fidelity.to_dict(), "worst": list(fidelity.worst)}
    kinds = {type(value) for value in plain.values()} | {type(v) for entry in fidelity.worst for v in entry.values()}
    assert kinds <= {float, int, str, list}
