"""``run`` and ``eval`` for what is not classification."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

ROWS = np.float32([[[2, 3, 4, 6, 1, 0.9, 0.1], [6, 3, 4, 6, 1, 0.1, 0.8], [1, 1, 2, 2, 1, 0.2, 0]]])


@pytest.fixture
def detector(object_bundle: Callable[..., Path]) -> Path:
    return object_bundle("yolov5", ROWS, labels=("cat", "dog"))


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.png"
    assert cv2.imwrite(str(path), np.full((60, 80, 3), 90, np.uint8))
    return path


def test_detections_as_text_and_json(edgecv: Any, detector: Path, photo: Path) -> None:
    outcome = edgecv("run", detector, "--source", photo)
    assert outcome.status == 0
    assert outcome.out == f"{photo}: cat 0.90 [0 0 40 60], dog 0.80 [40 0 80 60]\n"
    line = json.loads(edgecv("run", detector, "--source", photo, "--json", "--top", 1).out)
    assert line["boxes"] == [[0, 0, 40, 60]] and line["labels"] == ["cat"] and line["classes"] == [0]
    assert len(json.loads(edgecv("run", detector, "--source", photo, "--json", "--score", 0.1).out)["boxes"]) == 3


def test_pictures_with_results(edgecv: Any, detector: Path, photo: Path, tmp_path: Path) -> None:
    folder = tmp_path / "drawn"
    assert edgecv("run", detector, "--source", photo, "--save", folder).status == 0
    drawn = cv2.imread(str(folder / "photo.png"))
    assert drawn.shape == (60, 80, 3) and (drawn[30:50, 5:35] == 90).all() and (drawn[30, 0] != 90).any()
    assert edgecv("run", detector, "--source", photo, "--save", folder).status == 0
    assert sorted(path.name for path in folder.iterdir()) == ["photo.png", "photo_000000.png"]


def test_requests_that_do_not_fit(
    edgecv: Any, bundle: Path, photo: Path, object_bundle: Callable[..., Path], tmp_path: Path
) -> None:
    outcome = edgecv("run", bundle, "--source", photo, "--score", 0.5)
    assert outcome.status == 2 and "--score is for detections" in outcome.error
    outcome = edgecv("run", object_bundle("yolov5", ROWS), "--source", photo, "--score", 2, "--json")
    assert outcome.status == 2 and "received 2.0" in outcome.error
    vector = object_bundle("embedding", np.float32([[3, 4]]))
    outcome = edgecv("run", vector, "--source", photo, "--json")
    assert json.loads(outcome.out)["vector"] == pytest.approx([0.6, 0.8])
    outcome = edgecv("run", vector, "--source", photo, "--save", tmp_path / "out", "--json")
    assert outcome.status == 2 and "cannot be drawn" in outcome.error
    outcome = edgecv("eval", vector, "--data", tmp_path)
    assert outcome.status == 2 and "at least two people" in outcome.error
    outcome = edgecv("eval", bundle, "--data", tmp_path, "--far", 0.1)
    assert outcome.status == 2 and "--far is for embedding bundles" in outcome.error


def test_eval_in_tiles_and_augmented(edgecv: Any, detector: Path, bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "labels").mkdir()
    assert cv2.imwrite(str(tmp_path / "images" / "a.png"), np.zeros((60, 80, 3), np.uint8))
    (tmp_path / "labels" / "a.txt").write_text("0 0.25 0.5 0.5 1\n1 0.75 0.5 0.5 1\n")
    assert json.loads(edgecv("eval", detector, "--data", tmp_path, "--json", "--tiles", 100).out)[
        "map50"
    ] == pytest.approx(1)
    # In tiles of 20 pixels it finds parts of what it finds at one look, and parts give way.
    tiled = json.loads(edgecv("eval", detector, "--data", tmp_path, "--json", "--tiles", 20).out)
    assert tiled["map50"] == pytest.approx(1)
    answer = json.loads(edgecv("eval", detector, "--data", tmp_path, "--json", "--tta", "contrast:1.1").out)
    assert answer["plain"]["map50"] == pytest.approx(1) and answer["tta"]["gain"] == pytest.approx(0)
    outcome = edgecv("eval", detector, "--data", tmp_path, "--tta", "hflip", "--tiles", 100)
    assert outcome.status == 2 and "choose one of --tta and --tiles" in outcome.error
    outcome = edgecv("eval", bundle, "--data", tmp_path, "--tiles", 100)
    assert outcome.status == 2 and "tiles are for detectors; this is a classification model" in outcome.error


def test_eval_by_task(edgecv: Any, detector: Path, object_bundle: Callable[..., Path], tmp_path: Path) -> None:
    for folder in ("images", "labels", "masks"):
        (tmp_path / folder).mkdir()
    assert cv2.imwrite(str(tmp_path / "images" / "a.png"), np.zeros((60, 80, 3), np.uint8))
    (tmp_path / "labels" / "a.txt").write_text("0 0.25 0.5 0.5 1\n1 0.25 0.5 0.5 1\n")
    outcome = edgecv("eval", detector, "--data", tmp_path, "--json")
    found = json.loads(outcome.out)
    assert found["map50"] == pytest.approx(0.5) and found["map"] == pytest.approx(0.5) and found["n"] == 1
    assert found["map_small"] is None
    text = edgecv("eval", detector, "--data", tmp_path).out
    assert text.startswith("mAP50 50.00 %   mAP 50.00 %   (1 images)\n") and "medium   50.00" in text
    assert cv2.imwrite(str(tmp_path / "masks" / "a.png"), np.zeros((60, 80), np.uint8))
    segmenter = object_bundle("segmentation", np.zeros((1, 6, 8)), kind="int64", layout="indices")
    assert json.loads(edgecv("eval", segmenter, "--data", tmp_path, "--json").out)["miou"] == 1
    assert edgecv("eval", segmenter, "--data", tmp_path).out == "mIoU 100.00 %   pixels 100.00 %   (1 images)\n"


@pytest.mark.filterwarnings("always")
def test_eval_of_an_embedder_that_knows_nobody(edgecv: Any, object_bundle: Callable[..., Path], tmp_path: Path) -> None:
    for person in ("ann", "bob"):
        (tmp_path / person).mkdir()
        for index in range(2):
            assert cv2.imwrite(str(tmp_path / person / f"{index}.png"), np.zeros((6, 8, 3), np.uint8))
    vector = object_bundle("embedding", np.float32([[3, 4]]))  # the same answer to everything
    outcome = edgecv("eval", vector, "--data", tmp_path, "--far", 0.5, "--json")
    found = json.loads(outcome.out)
    assert (found["tar_at_far"], found["far"], found["eer"], found["n"]) == (0.0, 0.5, 0.5, 4)
    outcome = edgecv("eval", vector, "--data", tmp_path)
    assert "warning: a false-accept rate of 0.001 needs 1,000 pairs" in outcome.err
    assert outcome.out.startswith("TAR 0.00 % at FAR 0.001   (4 images)\nEER 50.00 %   accuracy 50.00 %   (2 people")
    outcome = edgecv("eval", vector, "--data", tmp_path, "--far", 2)
    assert outcome.status == 2 and "must be in (0, 1]" in outcome.error
