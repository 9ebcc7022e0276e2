"""A float embedder and an artefact on pictures of known people, with vectors that are known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edgecv_export.reference import Reference
from edgecv_export.reference_faces import FaceReference
from edgecv_export.tasks import task_of
from edgecv_runtime.evaluate import LabelledImage


class Told:
    """Answers to a picture of grey level g with the g-th row of its table, as a source and as an artefact."""

    size, classes = (4, 4), 2

    def __init__(self, *degrees: float) -> None:
        angles = np.radians(degrees)
        self.table = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)

    def pixels(self, images: list[np.ndarray]) -> np.ndarray:
        return np.stack(images)

    def predict_pixels(self, pixels: np.ndarray) -> np.ndarray:
        return 5 * self.table[pixels[:, 0, 0, 0]]

    def outputs(self, image: np.ndarray) -> list[np.ndarray]:
        return [self.table[image[0, 0, 0]][None]]


@pytest.fixture
def items(tmp_path: Path) -> list[LabelledImage]:
    found = []
    for index, person in enumerate((0, 0, 1, 1)):
        path = tmp_path / f"{person}" / f"{index}.png"
        path.parent.mkdir(exist_ok=True)
        assert cv2.imwrite(str(path), np.full((4, 4, 3), index, np.uint8))
        found.append(LabelledImage(path, person))
    return found


def reference(items: list[LabelledImage], far: float) -> FaceReference:
    asked: Any = FaceReference.of(Told(0, 10, 30, 60), items)  # type: ignore[arg-type]
    return FaceReference(asked.items, asked.vectors, asked.skipped, far)


def test_counts(items: list[LabelledImage]) -> None:
    # Genuine pairs 10 and 30 degrees apart, impostor pairs 30, 60, 20 and 50.
    found = reference(items, far=0.5)
    assert (found.accuracy.score, found.trials, found.trial, found.people) == (1.0, 2, "pair", [0, 0, 1, 1])
    assert found.accepted.tolist() == [True, True]
    found = reference(items, far=0.25)
    assert found.accuracy.score == 0.5 and found.accepted.tolist() == [True, False]


def test_an_artefact_beside_it(items: list[LabelledImage]) -> None:
    same = reference(items, far=0.25).compare(Told(0, 10, 30, 60))  # type: ignore[arg-type]
    assert (same.accuracy.score, same.agreement, same.gained, same.lost) == (0.5, 1.0, 0, 0)
    # Genuine 40 and 5 degrees; impostors 50, 55, 10, 15: of these one in four is accepted at 10 degrees.
    other = reference(items, far=0.25).compare(Told(0, 40, 50, 55))  # type: ignore[arg-type]
    assert (other.accuracy.score, other.agreement, other.gained, other.lost) == (0.5, 0.0, 1, 1)
    report = other.to_dict()
    assert (report["tar_at_far"], report["agreement"], report["lost"], report["n"]) == (0.5, 0.0, 1, 4)


@pytest.mark.filterwarnings("ignore:a false-accept rate of 0.001 needs")
def test_by_task(items: list[LabelledImage], tmp_path: Path) -> None:
    told: Any = Told(0, 10, 30, 60)
    embedding, classification = task_of("embedding"), task_of("classification")
    assert isinstance(embedding.evaluation(told, items, None), FaceReference)
    assert isinstance(classification.evaluation(told, items, None), Reference)
    assert embedding.read_evaluation(told, tmp_path, None) == items
    assert classification.read_evaluation(told, tmp_path, None) == items
