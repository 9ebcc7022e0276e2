"""A model that is asked about several views."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import edgecv_runtime as ert
from edgecv_runtime.augmented import AugmentedModel
from edgecv_runtime.errors import InputError, UnsupportedError
from edgecv_runtime.manifest import InputSpec
from edgecv_runtime.results import Classification, Detections, Segmentation


class Fake:
    """Answers by a function of the pixels."""

    def __init__(self, task: str, answer: Callable[[np.ndarray], Any]) -> None:
        self.task, self.answer = task, answer
        self.manifest = SimpleNamespace(inputs=[InputSpec("image", (1, 4, 6, 3), "uint8")])
        self.asked: list[int] = []

    def __call__(self, images: list[np.ndarray]) -> list[Any]:
        self.asked.append(len(images))
        return [self.answer(image) for image in images]

    def score_map(self, image: np.ndarray) -> Any:
        scores = np.stack([255.0 - image[..., 0], image[..., 0]], axis=-1).astype(np.float32)
        return scores, np.ones(image.shape[:2], bool)

    def decide(self, scores: np.ndarray, seen: np.ndarray) -> Segmentation:
        return Segmentation(np.where(seen, scores.argmax(axis=2), 255).astype(np.uint8))


def left_half(image: np.ndarray) -> Classification:
    """Class 0 by the brightness of the left half."""
    bright = float(image[:, : image.shape[1] // 2].mean() / 255)
    return Classification.from_scores(np.float32([bright, 1 - bright]))


HALF = np.zeros((4, 6, 3), np.uint8)
HALF[:, :3] = 204  # 0.8 of 255


def test_mean_over_a_flip() -> None:
    model = Fake("classification", left_half)
    assert ert.tta(model, HALF).scores.tolist() == pytest.approx([0.6, 0.4])  # (0.8 + 0) / 2 for class 0
    assert model.asked == [2]


@pytest.mark.parametrize(("threshold", "calls"), [(0.75, 1), (0.85, 2)])
def test_only_if_unsure(threshold: float, calls: int) -> None:
    model = AugmentedModel(Fake("classification", left_half), ["identity", "hflip"], only_if_unsure=threshold)
    answer = model(HALF)
    assert model.calls == calls and model.pictures == 1
    assert answer.scores[0] == pytest.approx(0.8 if calls == 1 else 0.6)


def bright_spot(image: np.ndarray) -> Detections:
    rows, columns = np.nonzero(image[..., 0])
    if not len(rows):
        return Detections.none()
    box = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    return Detections(np.float32([box]), np.float32([0.9]), np.array([0]))


def test_boxes_of_four_flips_are_one() -> None:
    image = np.zeros((20, 30, 3), np.uint8)
    image[3:9, 5:15] = 255
    found = ert.tta(Fake("detection", bright_spot), image, ["identity", "hflip", "vflip", "hflip+vflip"])
    assert found.boxes.tolist() == [[5, 3, 15, 9]] and found.scores.tolist() == pytest.approx([0.9])


def test_masks_are_averaged_where_they_were_taken() -> None:
    image = np.zeros((4, 6, 3), np.uint8)
    image[1:3, 0:2] = 255
    mask = ert.tta(Fake("segmentation", left_half), image, ["identity", "hflip", "vflip", "shift:0.5"]).mask
    assert mask.tolist() == (image[..., 0] // 255).tolist()
    alone = ert.tta(Fake("segmentation", left_half), image, ["shift:0.5"]).mask
    assert (alone[:, 3:] == Segmentation.UNKNOWN).all() and (alone[:, :3] == mask[:, :3]).all()


def test_a_list_gives_a_list() -> None:
    model = AugmentedModel(Fake("classification", left_half))
    assert len(model([HALF, HALF])) == 2 and model.pictures == 2


@pytest.mark.parametrize(
    ("task", "options", "error", "message"),
    [
        ("classification", {"merge": "median"}, InputError, "merge must be one of mean, gmean, max"),
        ("detection", {"merge": "max"}, UnsupportedError, "is for classifiers; this is a detection model"),
        ("embedding", {"only_if_unsure": 0.5}, UnsupportedError, "gives no score"),
        ("classification", {"only_if_unsure": 3}, InputError, "a score from 0 to 1; received 3"),
        ("depth", {}, UnsupportedError, "answers of depth models cannot be merged"),
        ("detection", {"transforms": ["wave"]}, InputError, "there is no transform 'wave'"),
    ],
)
def test_refused(task: str, options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        AugmentedModel(Fake(task, left_half), **options)
