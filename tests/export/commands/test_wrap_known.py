"""Each well-known detector and segmenter becomes a working bundle with the one command that the documentation gives."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import edgecv_runtime as ert
from edgecv_export.commands.wrap_examples import EXAMPLES
from edgecv_runtime.suppression.overlap import iou

pytestmark = pytest.mark.data

# What the tests call each -> its title in the help.
TITLES = {
    "yolox": "YOLOX-nano, COCO's 80 classes",
    "yolox in graph": "the same with suppression in the graph",
    "ssd": "SSD MobileNet, whose labels begin with a background",
    "ultraface slim": "UltraFace, slim",
    "ultraface slim in graph": "UltraFace, slim, with suppression in the graph",
    "ultraface rfb": "UltraFace, RFB",
    "blazeface short": "BlazeFace for portraits",
    "blazeface back": "BlazeFace for groups",
    "deeplab float": "DeepLab v3, float",
    "deeplab int8": "DeepLab v3, int8",
}


def test_the_help_shows_every_command(edgecv_command: Callable[..., Any]) -> None:
    shown = edgecv_command("wrap", "--help").out.splitlines()
    page = (Path(__file__).parents[3] / "export" / "README.md").read_text(encoding="utf-8")
    for title, command in EXAMPLES.items():
        assert shown[shown.index(f"  # {title}") + 1] == f"  {command}"
        assert f"# {title}\n{command}\n" in page
    assert set(TITLES.values()) == set(EXAMPLES)


@pytest.fixture
def wrapped(edgecv_command: Callable[..., Any], data_dir: Path, tmp_path: Path) -> Callable[[str], Path]:
    """The bundle that a command writes; whatever it says, ``edgecv verify`` agrees."""

    def wrap(name: str) -> Path:
        program, *words = shlex.split(EXAMPLES[TITLES[name]])
        assert program == "edgecv"
        there = {path.name: path for path in (data_dir / "models").glob("*/*")}
        out = tmp_path / words[-1]
        ran = edgecv_command(*(there.get(word, word) for word in words[:-1]), out)
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
