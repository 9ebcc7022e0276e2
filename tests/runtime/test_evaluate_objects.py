"""Detectors and segmenters evaluated on labelled pictures, with answers that are known."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

import edgecv_runtime as ert
from edgecv_runtime.errors import InputError, UnsupportedError
from edgecv_runtime.evaluate_objects import class_map, evaluate_detection, evaluate_segmentation, read_mask
from edgecv_runtime.results import Detections

Bundle = Callable[..., Path]

# Two classes; input pixels of an 8×6 input: a cat left, a dog right, and an unsure cat where there is none.
ROWS = np.float32([[[2, 3, 4, 6, 1, 0.9, 0.1], [6, 3, 4, 6, 1, 0.1, 0.8], [1, 1, 2, 2, 1, 0.05, 0]]])


def labelled(folder: Path, *, names: str = "names: [dog, cat]\n", pictures: int = 2) -> Path:
    """Pictures of 60×80 with a cat (class 1 here) in the left half and a dog (class 0) in the right."""
    for index in range(pictures):
        for part, suffix, content in (
            ("images", "png", None),
            ("labels", "txt", "1 0.25 0.5 0.5 1\n0 0.75 0.5 0.5 1\n"),
        ):
            path = folder / part / f"{index}.{suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            if content is None:
                assert cv2.imwrite(str(path), np.zeros((60, 80, 3), np.uint8))
            else:
                path.write_text(content)
    (folder / "data.yaml").write_text(names)
    return folder


def test_classes_are_led_by_name(object_bundle: Bundle, tmp_path: Path) -> None:
    path = object_bundle("yolov5", ROWS, labels=("cat", "dog"))
    with ert.load(path) as model:
        found = evaluate_detection(model, labelled(tmp_path))
        assert found.map == pytest.approx(1) and found.map50 == pytest.approx(1)
        assert (found.n, found.objects, found.skipped) == (2, 4, 0)
        # The threshold for use is as it was: the unsure cat is seen by the evaluation only.
        assert len(model(np.zeros((60, 80, 3), np.uint8))) == 2
        with model.configured(score_threshold=0.01):
            assert len(model(np.zeros((60, 80, 3), np.uint8))) == 3
    nameless = object_bundle("yolov5", ROWS)
    with ert.load(nameless) as model:
        assert evaluate_detection(model, tmp_path).map50 == 0  # by number, cats are dogs


def test_unreadable_pictures_are_skipped_and_counted(object_bundle: Bundle, tmp_path: Path) -> None:
    folder = labelled(tmp_path)
    (folder / "images" / "2.png").write_bytes(b"no picture")
    with ert.load(object_bundle("yolov5", ROWS, labels=("cat", "dog"))) as model:
        with pytest.warns(RuntimeWarning, match="2.png is not an image"):
            found = evaluate_detection(model, folder)
        assert (found.n, found.skipped) == (2, 1)
        for path in (folder / "images").iterdir():
            path.write_bytes(b"")
        with pytest.warns(RuntimeWarning), pytest.raises(InputError, match="none of the 3 labelled images"):
            evaluate_detection(model, folder)


class Fixed:
    """Stands for a detector: always the same answer."""

    task = "detection"
    manifest = SimpleNamespace(labels=("person",))

    def __init__(self, answer: Detections) -> None:
        self._answer = answer

    def __call__(self, image: np.ndarray) -> Detections:
        return self._answer

    def configured(self, **parameters: Any) -> Any:
        return contextlib.nullcontext()


def test_masks_and_keypoints_are_measured_where_both_have_them(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "annotations").mkdir()
    assert cv2.imwrite(str(tmp_path / "images" / "a.png"), np.zeros((60, 80, 3), np.uint8))
    points = [[x, y, 2] for x in (12, 20, 30) for y in (12, 20, 30)] + [[25, 25, 1]] * 8
    entry = {
        "image_id": 1, "category_id": 1, "bbox": [10, 10, 40, 40], "area": 1600, "iscrowd": 0,
        "segmentation": [[10, 10, 50, 10, 50, 50, 10, 50]], "keypoints": np.array(points).ravel().tolist(),
    }  # fmt: skip
    document = {
        "images": [{"id": 1, "file_name": "a.png"}],
        "annotations": [entry],
        "categories": [{"id": 1, "name": "person"}],
    }
    (tmp_path / "annotations" / "a.json").write_text(json.dumps(document))
    half = np.zeros((1, 60, 80), bool)
    half[:, 10:50, 10:34] = True  # 24 of 40 columns: an overlap of 0.6
    answer = Detections(
        np.float32([[10, 10, 50, 50]]), np.float32([0.9]), np.array([0]), ("person",), half, np.float32([points])
    )
    found = evaluate_detection(Fixed(answer), tmp_path)  # type: ignore[arg-type]
    assert (
        found.map == pytest.approx(1)
        and found.masks.map == pytest.approx(0.3)
        and found.masks.map50 == pytest.approx(1)
    )
    assert found.keypoints.map == pytest.approx(1) and found.keypoints.objects == 1
    document = found.to_dict()
    assert document["masks"]["map50"] == found.masks.map50 and document["map"] == found.map
    assert document["keypoints"]["map50"] == pytest.approx(1)
    boxes_only = evaluate_detection(Fixed(replace(answer, masks=None, keypoints=None)), tmp_path)  # type: ignore[arg-type]
    assert boxes_only.masks is None and boxes_only.keypoints is None and "masks" not in boxes_only.to_dict()


def test_names_that_have_nothing_in_common() -> None:
    assert class_map(("a", "B "), {0: "b", 1: "c"}) == {1: 0}
    assert class_map(None, {0: "b"}) is None and class_map(("a",), None) is None
    with pytest.raises(InputError, match=r"not one of the model's labels \(a, …\) is a class of the data \(b, …\)"):
        class_map(("a",), {0: "b"})


def test_configure(object_bundle: Bundle, one_line: Any) -> None:
    with ert.load(object_bundle("yolov5", ROWS)) as model:
        picture = np.zeros((6, 8, 3), np.uint8)
        assert model.task == "detection"
        np.testing.assert_allclose(model(picture).boxes, [[0, 0, 4, 6], [4, 0, 8, 6]])
        model.configure(score_threshold=0.85)
        assert len(model(picture)) == 1 and len(model([picture, picture])[1]) == 1
        with pytest.raises(InputError, match=r"must be a number in \[0, 1\] .*; received 7") as caught:
            model.configure(score_threshold=7)
        one_line(caught)
        assert len(model(picture)) == 1


def test_parity_is_replayed(object_bundle: Bundle) -> None:
    assert ert.verify(object_bundle("yolov5", ROWS)).passed
    mask = np.zeros((1, 6, 8))
    mask[:, :, 4:] = 3
    assert ert.verify(object_bundle("segmentation", mask, kind="int64", layout="indices")).passed


def test_segmentation(object_bundle: Bundle, tmp_path: Path) -> None:
    mask = np.zeros((1, 6, 8))
    mask[:, :, 4:] = 3
    truth = np.zeros((60, 80), np.uint8)
    truth[:, 60:] = 3
    truth[:, :10] = 255
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    assert cv2.imwrite(str(tmp_path / "images" / "a.png"), np.zeros((60, 80, 3), np.uint8))
    assert cv2.imwrite(str(tmp_path / "images" / "b.png"), np.zeros((60, 80, 3), np.uint8))  # has no mask
    assert cv2.imwrite(str(tmp_path / "masks" / "a.png"), truth)
    with ert.load(object_bundle("segmentation", mask, kind="int64", layout="indices")) as model:
        found = evaluate_segmentation(model, tmp_path)
        # 70 columns count: 30 right and 20 wrong in class 0; 20 of 40 in class 3.
        assert dict(found.by_class) == {0: pytest.approx(30 / 50), 3: pytest.approx(20 / 40)}
        assert found.miou == pytest.approx(0.55) and found.n == 1
        with pytest.raises(UnsupportedError, match="average precision is of detectors; this is a segmentation model"):
            evaluate_detection(model, tmp_path)
    with ert.load(object_bundle("yolov5", ROWS)) as model, pytest.raises(UnsupportedError, match="mean IoU is of"):
        evaluate_segmentation(model, tmp_path)


def test_masks_that_are_none(tmp_path: Path) -> None:
    path = tmp_path / "m.png"
    assert cv2.imwrite(str(path), np.zeros((4, 4, 3), np.uint8))
    with pytest.raises(InputError, match=r"8-bit class indices, one channel; received uint8 \[4, 4, 3\]"):
        read_mask(path)
    path.write_bytes(b"")
    with pytest.raises(InputError, match="nothing that can be decoded"):
        read_mask(path)
