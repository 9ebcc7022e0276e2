"""Targets by hand, round trips, and the device's decoders against each family's own inverse."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import edgecv
from edgecv.data.shapes import generate_shapes
from edgecv.detection.anchor_free import AnchorFreeCoding
from edgecv.detection.boxes import iou_matrix
from edgecv.detection.coding import Coding
from edgecv.detection.families import coding_for, coding_of, loss_of
from edgecv.detection.ssd import SSDCoding, SSDLoss
from edgecv.detection.yolo_anchor import AnchorMap, YOLOAnchorCoding
from edgecv.detection.yolo_v1 import YOLOv1Coding
from edgecv.layers.graph import without_weights
from edgecv.models.factory import architecture_of
from edgecv.models.registry import get_record
from edgecv_runtime.decoders import make_decoder
from edgecv_runtime.errors import InputError
from edgecv_runtime.manifest import DecoderSpec, InputSpec, Manifest, TensorSpec
from edgecv_runtime.preprocess import Geometry

DETECTORS: dict[str, dict[str, Any]] = {
    "ssd300": {"alpha": 0.05, "smallest": 0.12},
    "ssdlite_mobilenet_v1": {"alpha": 0.25, "first_stride": 8},
    "ssdlite_mobilenet_v2": {"alpha": 0.35, "smallest": 0.25, "largest": 0.6},
    "yolo_v1": {"alpha": 0.05},
    "yolo_v1_tiny": {"alpha": 0.25, "grid": 6, "boxes": 3},
    "yolo_v2_tiny": {"alpha": 0.25, "anchors": "16x16 28x28 44x44", "stride": 8},
    "yolo_v3_tiny": {"alpha": 0.1, "anchors": "30x30 48x48; 12x12 16x20 24x24"},
    "anchor_free_mobilenet_v2": {"alpha": 0.35, "channels": 16},
}
SIZE = (96, 96)


# -- by hand -----------------------------------------------------------------------------------------------------------


def test_ssd_targets_by_hand() -> None:
    anchors = [[0.25, 0.25, 0.5, 0.5], [0.75, 0.25, 0.5, 0.5], [0.5, 0.5, 0.25, 0.25]]
    coding = SSDCoding(anchors, (100, 200), classes=4)
    targets = coding.encode([[0, 0, 100, 40]], [2])  # the first anchor is (0, 0, 100, 50): IoU 0.8
    assert targets["classes"].tolist() == [3, 0, 0]
    # Centre (50, 20) against (50, 25), of 50: -0.1 / 0.1; height 40 of 50.
    np.testing.assert_allclose(targets["boxes"][0], [0, -1, 0, math.log(0.8) / 0.2], atol=1e-5)
    assert not targets["boxes"][1:].any()


def test_the_first_yolo_s_targets_by_hand() -> None:
    # The course's 7×7×30 at 448: cells of 64.
    coding = YOLOv1Coding(7, (448, 448), classes=20)
    cells = coding.encode([[100, 50, 200, 250]], [14])["grid"]  # centre (150, 150), 100 by 200
    assert cells.shape == (7, 7, 25)
    assert np.argwhere(cells[..., 0]).tolist() == [[2, 2]]
    root = [math.sqrt(100 / 448), math.sqrt(200 / 448)]
    np.testing.assert_allclose(cells[2, 2, :5], [1, 150 / 64 - 2, 150 / 64 - 2, *root], rtol=1e-6)
    assert cells[2, 2, 5:].tolist() == [float(index == 14) for index in range(20)]
    assert coding.answer({"grid": cells})["grid"].shape == (7, 7, 30)


def test_of_two_objects_in_a_cell_the_larger_stays() -> None:
    coding = YOLOv1Coding(1, (10, 10), classes=2)
    for order in ([0, 1], [1, 0]):
        boxes, classes = np.float32([[0, 0, 8, 8], [4, 4, 8, 8]])[order], np.array([0, 1])[order]
        assert coding.encode(boxes, classes)["grid"][0, 0, 5:].tolist() == [1, 0]


def test_the_course_s_two_anchors_by_hand() -> None:
    """3×3 cells of two anchors and three classes, 3×3×2×8: a tall and a wide object in one cell."""
    maps = {"grid": AnchorMap((3, 3), np.float32([[20, 60], [60, 20]]))}
    coding = YOLOAnchorCoding(maps, (96, 96), classes=3)
    targets = coding.encode([[40, 20, 60, 80], [20, 42, 80, 60]], [1, 2])  # centres (50, 50) and (50, 51)
    cells = targets["grid"]
    assert coding.answer(targets)["grid"].reshape(3, 3, 2, 8).shape == (3, 3, 2, 8)
    assert np.argwhere(cells[..., 4] == 1).tolist() == [[1, 1, 0], [1, 1, 1]]
    np.testing.assert_allclose(cells[1, 1, 0], [18 / 32, 18 / 32, 0, 0, 1, 1], atol=1e-6)
    np.testing.assert_allclose(cells[1, 1, 1], [18 / 32, 19 / 32, 0, math.log(18 / 20), 1, 2], atol=1e-6)


def test_an_anchor_that_is_taken_leaves_the_next_best() -> None:
    maps = {"grid": AnchorMap((1, 1), np.float32([[10, 10], [20, 20]]))}
    coding = YOLOAnchorCoding(maps, (32, 32), classes=1)
    cells = coding.encode([[0, 0, 10, 10], [8, 8, 18, 18]], [0, 0])["grid"]
    assert cells[0, 0, :, 4].tolist() == [1, 1]
    np.testing.assert_allclose(cells[0, 0, 1, 2:4], math.log(0.5), rtol=1e-6)


def test_anchors_that_overlap_well_are_left_out() -> None:
    maps = {"grid": AnchorMap((1, 1), np.float32([[20, 20], [18, 18], [4, 4]]))}
    coding = YOLOAnchorCoding(maps, (32, 32), classes=1)
    # 20 by 20 in the middle: its own anchor, one of 324 / 400 that is left out, one of 16 / 400.
    assert coding.encode([[6, 6, 26, 26]], [0])["grid"][0, 0, :, 4].tolist() == [1, -1, 0]


def test_which_cells_learn_without_anchors() -> None:
    coding = AnchorFreeCoding((8, 16), (64, 64), classes=2, radius=1.5, reach=4)
    classes = coding.encode([[16, 16, 40, 40], [0, 0, 48, 48]], [1, 0])["classes"]
    fine, coarse = classes[:64].reshape(8, 8), classes[64:].reshape(4, 4)
    # The smaller object, 24 = 3 strides, centre (28, 28): cells whose middles 20, 28 and 36 lie within 12 pixels.
    assert np.argwhere(fine == 1).tolist() == [[row, column] for row in (2, 3, 4) for column in (2, 3, 4)]
    # The larger, 48 = 3 strides of 16, centre (24, 24): middles 8, 24 and 40 lie within 24 pixels.
    assert np.argwhere(coarse == 0).tolist() == [[row, column] for row in (0, 1, 2) for column in (0, 1, 2)]
    assert (fine >= 0).sum() == 9


def test_an_object_between_the_middles_of_cells_is_still_learned() -> None:
    coding = AnchorFreeCoding((8,), (32, 32), classes=1)
    classes = coding.encode([[5, 5, 8, 8]], [0])["classes"].reshape(4, 4)  # no cell's middle lies in it
    assert np.argwhere(classes == 0).tolist() == [[0, 0]]


# -- round trips -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def built() -> Callable[[str], tuple[Any, Coding]]:
    found: dict[str, tuple[Any, Coding]] = {}

    def make(name: str) -> tuple[Any, Coding]:
        if name not in found:
            with without_weights():
                model = edgecv.create_model(name, (*SIZE, 3), 3, **DETECTORS[name])
            found[name] = model, coding_of(model)
        return found[name]

    return make


@pytest.mark.parametrize("name", DETECTORS)
def test_what_is_encoded_comes_back(name: str, built: Any) -> None:
    _, coding = built(name)
    lost = 0
    for sample in generate_shapes(12, seed=8):
        found = coding.decode(coding.answer(coding.encode(sample.boxes, sample.classes)))
        sure = np.flatnonzero(found.scores.max(axis=1) > 0.9)
        overlaps = iou_matrix(found.boxes[sure], sample.boxes)
        # All that is said is true, and nothing is left unsaid but what shares a cell.
        assert (overlaps.max(axis=1) > 0.999).all()
        assert (found.scores[sure].argmax(axis=1) == sample.classes[overlaps.argmax(axis=1)]).all()
        lost += int((overlaps.max(axis=0) < 0.999).sum())
    assert lost <= (2 if name.startswith("yolo_v1") else 0)


@pytest.mark.parametrize("name", DETECTORS)
def test_the_device_decodes_what_the_coding_does(name: str, built: Any) -> None:
    """Random answers: every box that the device keeps is the coding's own, within a thousandth of a pixel."""
    model, coding = built(name)
    rng = np.random.default_rng(1)
    outputs = {
        title: rng.normal(0, 0.5, output.shape[1:]).astype(np.float32)
        for title, output in zip(model.output_names, model.outputs, strict=True)
    }
    for title in ("scores", "objectness"):  # these end in probabilities
        if title in outputs:
            outputs[title] = np.abs(outputs[title]) % 1
    decoder = make_decoder(manifest_of(model))
    found = decoder.decode(list(outputs.values()), Geometry((1000, 1000), (1.0, 1.0), (300.0, 300.0)))
    expected = coding.decode(outputs)
    # The decoder reports the best class of each candidate; nothing is suppressed below, and nothing is clipped here.
    best = expected.scores.max(axis=1)
    order = np.argsort(-best, kind="stable")[: len(found)]
    assert len(found) > 20
    np.testing.assert_allclose(found.scores, best[order], rtol=1e-5)
    np.testing.assert_allclose(found.boxes - 300, expected.boxes[order], atol=1e-3)
    assert (found.classes == expected.scores[order].argmax(axis=1)).all()


def manifest_of(model: Any) -> Manifest:
    architecture = architecture_of(model)
    assert architecture is not None and architecture.record.decoder is not None
    name, parameters = architecture.record.decoder((*SIZE, 3), 3, architecture.options)
    loose = {"score_threshold": 0.05, "iou_threshold": 1.0, "max_detections": 10_000, "top_k": 10_000}
    outputs = zip(model.output_names, model.outputs, strict=True)
    return Manifest(
        name="m",
        task="detection",
        architecture={"name": name},
        format="onnx",
        precision="fp32",
        inputs=(InputSpec("image", (1, *SIZE, 3), "uint8"),),
        outputs=tuple(TensorSpec(title, (1, *output.shape[1:]), "float32") for title, output in outputs),
        decoder=DecoderSpec(name, {**parameters, **loose}),
        labels=("circle", "square", "triangle"),
    )


# -- families ----------------------------------------------------------------------------------------------------------


def test_every_detector_with_a_coding_has_a_loss(built: Any) -> None:
    for name in DETECTORS:
        _, coding = built(name)
        assert callable(loss_of(coding))
    assert isinstance(loss_of(built("ssd300")[1]), SSDLoss)


def test_options_reach_the_coding(built: Any) -> None:
    v2, v3 = built("yolo_v2_tiny")[1], built("yolo_v3_tiny")[1]
    assert v2.exclusive and not v3.exclusive
    assert {name: part.grid for name, part in v3.maps.items()} == {"coarse": (3, 3), "fine": (6, 6)}
    assert v3.maps["fine"].anchors.tolist() == [[12, 12], [16, 20], [24, 24]]
    assert (built("yolo_v1_tiny")[1].grid, built("yolo_v1_tiny")[1].boxes) == (6, 3)


def test_refused() -> None:
    coding = YOLOv1Coding(2, (10, 10), classes=2)
    with pytest.raises(InputError, match="one class a box; received 1 boxes and 2 classes"):
        coding.encode([[0, 0, 1, 1]], [0, 1])
    with pytest.raises(InputError, match=r"classes must be in 0..1; received \[2\]"):
        coding.encode([[0, 0, 1, 1]], [2])
    with pytest.raises(InputError, match="x1 < x2 and y1 < y2"):
        coding.encode([[1, 0, 1, 1]], [0])
    with pytest.raises(InputError, match=r"strides must grow and divide the input's 60x64; received \[8, 16\]"):
        AnchorFreeCoding((8, 16), (60, 64), 2)
    with pytest.raises(InputError, match="there is a coding for ssd, yolo-v1, yolo-anchor, yolox; received decoder"):
        coding_for("segmentation", {}, (10, 10), 2, {})
    with without_weights(), pytest.raises(InputError, match="must be a detector built by edgecv.create_model"):
        coding_of(edgecv.create_model("lenet5"))
    assert get_record("ssd300").task == "detection"
