"""Tiles of a large frame."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

import edgecv_runtime as ert
from edgecv_runtime.augmented.tiles import TiledModel, cut_by_tile, join, tiles
from edgecv_runtime.errors import InputError, UnsupportedError
from edgecv_runtime.manifest import InputSpec
from edgecv_runtime.results import Detections


class Blobs:
    """A detector that boxes every connected white blob of at most `largest` pixels a side, and sees no smaller ones
    than `smallest` after the picture is scaled to 100 pixels."""

    task = "detection"
    manifest = SimpleNamespace(inputs=[InputSpec("image", (1, 100, 100, 3), "uint8")])

    def __init__(self, smallest: float = 0.0) -> None:
        self.smallest, self.asked = smallest, 0

    def __call__(self, images: list[np.ndarray]) -> list[Detections]:
        self.asked += len(images)
        return [self.one(image) for image in images]

    def one(self, image: np.ndarray) -> Detections:
        count, _, stats, _ = cv2.connectedComponentsWithStats((image[..., 0] > 0).astype(np.uint8))
        rows = [
            (x, y, x + w, y + h, area / 1e6)
            for x, y, w, h, area in stats[1:count].tolist()
            if max(w, h) * 100 / max(image.shape) >= self.smallest
        ]
        found = np.float32(rows).reshape(-1, 5)
        return Detections(found[:, :4], found[:, 4], np.zeros(len(rows), np.int64))


def frame(*boxes: tuple[int, int, int, int]) -> np.ndarray:
    image = np.zeros((200, 300, 3), np.uint8)
    for x1, y1, x2, y2 in boxes:
        image[y1:y2, x1:x2] = 255
    return image


def test_tiles_cover_the_picture_and_overlap() -> None:
    made = list(tiles(frame(), (100, 100), 0.2))
    corners = [(int(-view.matrix[1, 2]), int(-view.matrix[0, 2])) for view in made]
    # 200 rows: tiles of 100 every 80 at most need three; 300 columns four: (300 - 100) / 3 = 66.7 apart.
    assert corners == [(top, left) for top in (0, 50, 100) for left in (0, 67, 133, 200)]
    assert all(view.image.shape == (100, 100, 3) for view in made)
    (only,) = tiles(frame(), (400, 400), 0.2)
    assert only.image.shape == (200, 300, 3)


def test_which_boxes_are_cut() -> None:
    view = list(tiles(frame(), (100, 100), 0.2))[1]  # columns 67 to 167, rows from the top
    boxes = np.float32([[10, 10, 20, 20], [0, 10, 20, 20], [80, 10, 100, 20], [10, 0, 20, 9], [10, 90, 20, 100]])
    found = Detections(boxes, np.ones(5, np.float32), np.zeros(5, np.int64))
    assert cut_by_tile(found, view, (200, 300)).tolist() == [False, True, True, False, True]  # the top is the frame's


SMALL = (60, 30, 70, 42)  # in the overlap of two tiles
SEAM = (95, 90, 140, 110)  # cut by several tiles, whole in none of 100×100 that end at 100
LARGE = (150, 20, 290, 180)  # larger than a tile


def test_every_object_once() -> None:
    found = TiledModel(Blobs(), 100)(frame(SMALL, SEAM, LARGE))
    assert sorted(map(tuple, found.boxes.astype(int).tolist())) == sorted([SMALL, SEAM, LARGE])


def test_cut_objects_are_put_together_without_the_whole_frame() -> None:
    found = TiledModel(Blobs(), 100, whole=False, overlap=0.3)(frame(SMALL, SEAM, LARGE))
    assert sorted(map(tuple, found.boxes.astype(int).tolist())) == sorted([SMALL, SEAM, LARGE])


def test_small_objects_are_seen_in_tiles_alone() -> None:
    image = frame(SMALL, LARGE)
    model = Blobs(smallest=10)  # 12 of 300 pixels are 4 of 100, 12 of 100 are 12
    assert len(model([image])[0]) == 1
    assert len(ert.TiledModel(model)(image)) == 2


def test_neighbours_of_other_classes_stay() -> None:
    boxes = np.float32([[0, 0, 10, 10], [0, 0, 10, 10], [2, 2, 8, 8], [2, 2, 8, 8]])
    found = Detections(boxes, np.float32([0.9, 0.8, 0.7, 0.95]), np.array([0, 1, 0, 2]))
    joined = join(found, np.array([False, False, True, True]), np.arange(4), 0.5)
    assert list(zip(joined.classes.tolist(), joined.scores.tolist(), strict=True)) == [
        (2, pytest.approx(0.95)),
        (0, pytest.approx(0.9)),
        (1, pytest.approx(0.8)),
    ]


def test_nothing_and_a_picture_smaller_than_a_tile() -> None:
    model = Blobs()
    tiled = TiledModel(model, (400, 400))
    assert len(tiled(frame())) == 0 and model.asked == 1
    assert tiled([frame(SMALL)])[0].boxes.tolist() == [list(SMALL)]


@pytest.mark.parametrize(
    ("options", "message"),
    [({"tile": 8}, "at least 16×16 pixels; received 8×8"), ({"overlap": 1.0}, "from 0 to 0.9; received 1.0")],
)
def test_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        TiledModel(Blobs(), **options)


def test_only_detectors() -> None:
    model = Blobs()
    model.task = "segmentation"
    with pytest.raises(UnsupportedError, match="tiles are for detectors; this is a segmentation model"):
        TiledModel(model)
