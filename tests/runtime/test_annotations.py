"""Three layouts of labelled pictures, one form."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgecv_runtime.annotations import AnnotatedImages, read_annotated_images
from edgecv_runtime.errors import InputError, MissingFileError


def picture(path: Path, size: tuple[int, int] = (40, 80)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.zeros((*size, 3), np.uint8))


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def boxes(found: AnnotatedImages, index: int) -> list[list[float]]:
    return found.images[index].in_pixels(40, 80).boxes.tolist()


def test_yolo(tmp_path: Path) -> None:
    picture(tmp_path / "images" / "a.png")
    picture(tmp_path / "images" / "sub" / "b.png")
    write(tmp_path / "labels" / "a.txt", "1 0.5 0.5 0.25 0.5\n\n0 0.25 0.25 0.5 0.5\n")
    write(tmp_path / "data.yaml", "path: .\nnames:\n  0: cat\n  1: 'big dog'\nnc: 2\n")
    found = read_annotated_images(tmp_path)
    assert found.names == {0: "cat", 1: "big dog"}
    assert boxes(found, 0) == [[30, 10, 50, 30], [0, 0, 40, 20]]
    assert found.images[0].in_pixels(40, 80).areas.tolist() == [400, 800]
    assert found.images[0].truth.classes.tolist() == [1, 0]
    assert boxes(found, 1) == []  # no label file: no objects


@pytest.mark.parametrize(
    ("name", "text", "names"),
    [
        ("config.yaml", "names: [cat, \"dog\"]\n", {0: "cat", 1: "dog"}),
        ("config.yaml", "names:\n- cat\n- dog\n", {0: "cat", 1: "dog"}),
        ("config.yaml", "nc: 2\n", None),
        ("classes.txt", "cat\ndog\n", {0: "cat", 1: "dog"}),
    ],
)  # fmt: skip
def test_yolo_names(tmp_path: Path, name: str, text: str, names: dict[int, str] | None) -> None:
    picture(tmp_path / "images" / "a.png")
    write(tmp_path / "labels" / "a.txt", "")
    write(tmp_path / name, text)
    assert read_annotated_images(tmp_path).names == names


@pytest.mark.parametrize(
    "line", ["1 0.5 0.5 0.25", "x 0.5 0.5 0.2 0.2", "0.5 0.5 0.5 0.2 0.2", "-1 0 0 1 1", "1 0 0 nan 1"]
)
def test_yolo_lines_that_are_none(tmp_path: Path, line: str) -> None:
    picture(tmp_path / "images" / "a.png")
    write(tmp_path / "labels" / "a.txt", f"0 0.5 0.5 0.2 0.2\n{line}\n")
    with pytest.raises(InputError, match=r"a.txt, line 2: class, centre x and y"):
        read_annotated_images(tmp_path)


COCO = {
    "images": [{"id": 7, "file_name": "b.png"}, {"id": 3, "file_name": "a.png"}],
    "annotations": [
        {"image_id": 7, "category_id": 18, "bbox": [1, 2, 3, 4], "area": 5.5, "iscrowd": 1},
        {"image_id": 7, "category_id": 1, "bbox": [10, 20, 30, 10]},
    ],
    "categories": [{"id": 18, "name": "dog"}, {"id": 1, "name": "person"}],
}


def test_coco(tmp_path: Path) -> None:
    for name in "ab":
        picture(tmp_path / "images" / f"{name}.png")
    write(tmp_path / "annotations" / "instances.json", json.dumps(COCO))
    for source in (tmp_path, tmp_path / "annotations" / "instances.json"):
        found = read_annotated_images(source)
        assert found.names == {0: "person", 1: "dog"}
        assert [image.path for image in found.images] == [tmp_path / "images" / "a.png", tmp_path / "images" / "b.png"]
        truth = found.images[1].in_pixels(40, 80)
        assert truth.boxes.tolist() == [[1, 2, 4, 6], [10, 20, 40, 30]]
        assert (truth.classes.tolist(), truth.areas.tolist()) == ([1, 0], [5.5, 300])
        assert truth.crowd.tolist() == [True, False]
    assert len(found.images[0].truth.classes) == 0
    assert truth.masks is None and truth.keypoints is None  # not every object has them


def test_coco_outlines_and_keypoints(tmp_path: Path) -> None:
    picture(tmp_path / "images" / "b.png")
    runs = {"size": [40, 80], "counts": [41, 2, 40 * 80 - 43]}
    first, second = COCO["annotations"]
    known = [
        {**first, "segmentation": runs, "keypoints": [1, 2, 2, 3, 4, 1]},
        {**second, "segmentation": [[10, 20, 40, 20, 40, 30, 10, 30]], "keypoints": [0, 0, 0, 9, 9, 2]},
    ]
    document = {**COCO, "images": COCO["images"][:1], "annotations": known}
    write(tmp_path / "annotations" / "instances.json", json.dumps(document))
    image = read_annotated_images(tmp_path).images[0]
    truth = image.in_pixels(40, 80, masks=True)
    expected = np.zeros((2, 40, 80), bool)
    expected[0, 1:3, 1] = True  # runs go column by column
    expected[1, 20:30, 10:40] = True
    np.testing.assert_array_equal(truth.masks, expected)
    assert truth.keypoints.tolist() == [[[1, 2, 2], [3, 4, 1]], [[0, 0, 0], [9, 9, 2]]]
    assert image.in_pixels(40, 80).masks is None  # drawn only where they are wanted
    with pytest.raises(InputError, match=r"run lengths must be of the picture's size \[41, 80\]"):
        image.in_pixels(41, 80, masks=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": None}, "must be COCO JSON"),
        ({"annotations": [{"image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4]}]}, "1 is missing or unknown"),
        ({"annotations": [{"image_id": 7, "category_id": 1, "bbox": [1, 2]}]}, "must be COCO JSON"),
        ({"images": [], "annotations": []}, "names no picture"),
    ],
)
def test_coco_that_is_none(tmp_path: Path, change: dict[str, object], message: str) -> None:
    write(tmp_path / "annotations.json", json.dumps({**COCO, **change}))
    with pytest.raises(InputError, match=message):
        read_annotated_images(tmp_path)


VOC = """<annotation><object><name>dog</name>
<bndbox><xmin>1</xmin><ymin>11</ymin><xmax>20</xmax><ymax>30</ymax></bndbox>
</object><object><name>cat</name><difficult>1</difficult><bndbox><xmin>5</xmin><ymin>5</ymin><xmax>9</xmax><ymax>9</ymax>
</bndbox></object></annotation>"""


def test_voc(tmp_path: Path) -> None:
    picture(tmp_path / "JPEGImages" / "a.png")
    write(tmp_path / "Annotations" / "a.xml", VOC)
    found = read_annotated_images(tmp_path)
    assert found.names == {0: "cat", 1: "dog"}
    assert boxes(found, 0) == [[0, 10, 20, 30], [4, 4, 9, 9]]
    assert found.images[0].truth.crowd.tolist() == [False, True]
    assert found.images[0].path.name == "a.png"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<annotation>", "must be VOC XML"),
        ("<annotation><object><name>x</name></object></annotation>", "needs name and bndbox"),
        (VOC.replace("<xmin>1</xmin>", ""), "must be VOC XML"),
        ('<!DOCTYPE a [<!ENTITY b "c">]><annotation/>', "without a document type"),
    ],
)
def test_voc_that_is_none(tmp_path: Path, text: str, message: str) -> None:
    write(tmp_path / "Annotations" / "a.xml", text)
    with pytest.raises(InputError, match=message):
        read_annotated_images(tmp_path)


def test_no_layout(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="no folder at"):
        read_annotated_images(tmp_path / "absent")
    with pytest.raises(InputError, match="holds no labelled pictures of objects: DIR/images with DIR/labels"):
        read_annotated_images(tmp_path)
    (tmp_path / "annotations").mkdir()
    for name in "ab":
        write(tmp_path / "annotations" / f"{name}.json", json.dumps(COCO))
    with pytest.raises(InputError, match="holds 2 annotation files: name the one to be read"):
        read_annotated_images(tmp_path)
    (tmp_path / "Annotations").mkdir(exist_ok=True)
