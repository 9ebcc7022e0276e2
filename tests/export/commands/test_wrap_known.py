"""Each well-known detector and segmenter becomes a working bundle with the one command that the documentation gives."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import edgecv_runtime as ert
from edgecv_runtime.suppression.overlap import iou

pytestmark = pytest.mark.data

COMMANDS = {
    "yolox": ("detection/yolox_nano.onnx", "--decoder", "yolox", "--labels", "{models}/detection/coco80.names"),
    "yolox in graph": (
        "detection/yolox_nano.onnx", "--decoder", "yolox", "--nms-in-graph",
        "--labels", "{models}/detection/coco80.names",
    ),
    "ssd": (
        "detection/ssd_mobilenet_v1_coco_quant.tflite", "--decoder", "ssd-postprocessed", "--set", "class_offset=1",
        "--labels", "{models}/detection/ssd_labelmap.txt",
    ),
    "ultraface slim": ("face/ultraface_slim_320.onnx", "--decoder", "ultraface"),
    "ultraface slim in graph": ("face/ultraface_slim_320.onnx", "--decoder", "ultraface", "--nms-in-graph"),
    "ultraface rfb": ("face/ultraface_rfb_320.onnx", "--decoder", "ultraface"),
    "blazeface short": ("face/blazeface_short_range.tflite", "--decoder", "blazeface"),
    "blazeface back": ("face/blazeface_back.tflite", "--decoder", "blazeface"),
    "deeplab float": (
        "segmentation/deeplabv3_257_float.tflite", "--task", "segmentation", "--mean", "127.5", "--std", "127.5",
    ),
    "deeplab int8": ("segmentation/deeplabv3_mnv2_dm05_pascal_quant.tflite", "--task", "segmentation"),
}  # fmt: skip


@pytest.fixture
def wrapped(edgecv_command: Callable[..., Any], data_dir: Path, tmp_path: Path) -> Callable[[str], Path]:
    """The bundle that a command writes; whatever it says, ``edgecv verify`` agrees."""

    def wrap(name: str) -> Path:
        file, *words = COMMANDS[name]
        out = tmp_path / f"{name.replace(' ', '_')}.edgecv"
        models = data_dir / "models"
        ran = edgecv_command("wrap", models / file, *(word.format(models=models) for word in words), "-o", out)
        assert (ran.status, ran.err) == (0, "")
        assert ert.verify(out).passed
        return out

    return wrap


def test_yolox_with_and_without_suppression_in_the_graph(wrapped: Callable[[str], Path], data_dir: Path) -> None:
    with ert.load(wrapped("yolox")) as plain, ert.load(wrapped("yolox in graph")) as listing:
        for name in ("000000000009", "000000000034", "000000000049"):
            picture = ert.read_image(data_dir / "coco128" / "images" / f"{name}.jpg")
            expected, found = plain(picture), listing(picture)
            assert len(expected) > 0
            assert found.labels == expected.labels
            np.testing.assert_allclose(found.scores, expected.scores, atol=1e-5)
            np.testing.assert_allclose(found.boxes, expected.boxes, atol=0.05)


def test_ssd_names_what_is_on_the_table(wrapped: Callable[[str], Path], data_dir: Path) -> None:
    with ert.load(wrapped("ssd")) as model:
        found = model(data_dir / "coco128" / "images" / "000000000009.jpg").above(0.5)
    assert set(found.labels) >= {"bowl", "broccoli"}  # as COCO has it


def test_ultraface_with_and_without_suppression_in_the_graph(wrapped: Callable[[str], Path], data_dir: Path) -> None:
    picture = ert.read_image(data_dir / "faces" / "group-photos" / "bbt1.jpg")
    with ert.load(wrapped("ultraface slim")) as plain, ert.load(wrapped("ultraface slim in graph")) as listing:
        expected, found = plain(picture), listing(picture)
    assert len(expected.above(0.9)) == 4  # people in the picture
    np.testing.assert_allclose(found.boxes, expected.boxes, atol=0.05)
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-5)


@pytest.mark.slow
def test_face_detectors_agree_on_the_four_people(wrapped: Callable[[str], Path], data_dir: Path) -> None:
    picture = ert.read_image(data_dir / "faces" / "group-photos" / "bbt1.jpg")
    with ert.load(wrapped("ultraface rfb")) as one, ert.load(wrapped("blazeface back")) as other:
        boxes = [model(picture).above(0.8).boxes.astype(float) for model in (one, other)]
    assert [len(found) for found in boxes] == [4, 4]
    assert (iou(boxes[0][:, None], boxes[1][None]).max(axis=1) > 0.4).all()


@pytest.mark.slow
def test_blazeface_for_short_range_sees_a_portrait(wrapped: Callable[[str], Path], data_dir: Path) -> None:
    picture = ert.read_image(sorted((data_dir / "faces" / "lfw-aligned-112").rglob("*.jpg"))[0])
    with ert.load(wrapped("blazeface short")) as model:
        found = model(np.pad(picture, ((40, 40), (40, 40), (0, 0)), mode="edge"))
    assert len(found) == 1 and found.keypoints is not None
    x, y = found.keypoints[0, 2, :2]  # the nose: in the middle of an aligned face
    assert abs(x - 96) < 12 and abs(y - 106) < 16


@pytest.mark.slow
@pytest.mark.parametrize("name", ["deeplab float", "deeplab int8"])
def test_deeplab_finds_the_bird(name: str, wrapped: Callable[[str], Path], data_dir: Path) -> None:
    folder = data_dir / "segmentation-pairs"
    with ert.load(wrapped(name)) as model:
        found = model(folder / "bird_segmentation.bmp").mask == 3  # Pascal VOC's bird
    truth = ert.read_image(folder / "bird_segmentation_mask.bmp").max(axis=2) == 3
    assert truth.mean() > 0.05
    assert (found & truth).sum() / (found | truth).sum() > 0.6
