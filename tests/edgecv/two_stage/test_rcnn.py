"""R-CNN's warped regions, and the way back from their answers to the picture."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import edgecv
from edgecv.models.rcnn import context_of
from edgecv.two_stage.rcnn import detect_objects, warp
from edgecv_runtime.decoders import make_decoder
from edgecv_runtime.errors import InputError
from edgecv_runtime.manifest import DecoderSpec, InputSpec, Manifest, TensorSpec


def test_a_region_fills_the_warped_picture_but_for_its_context() -> None:
    assert context_of((227, 227, 3)) == (16, 16)
    rows, columns = np.indices((100, 100))
    image = np.stack([columns, rows, np.zeros_like(rows)], axis=-1).astype(np.uint8)
    found = warp(image, [[20, 30, 215, 225 - 0]], (227, 227))[0]  # 195 pixels: one to one
    np.testing.assert_array_equal(found[16:40, 16:40, 0], columns[:24, 20:44])
    np.testing.assert_array_equal(found[16:40, 16:40, 1], rows[30:54, :24])
    np.testing.assert_array_equal(found[10, 10, :2], [14, 24])  # six pixels of context to the left and above
    np.testing.assert_array_equal(found[200, 200], [124, 117, 104])  # outside the picture
    double = warp(image, [[20, 30, 20 + 390, 30 + 390]], (227, 227))[0]
    assert double[16, 16, 0] in (20, 21) and double[16, 36, 0] in (60, 61)
    with pytest.raises(InputError, match="must have a width and a height above 0"):
        warp(image, [[5, 5, 5, 9]], (32, 32))


class Fake:
    """Says of every region that the middle half of it is an object of class 1."""

    input_shape = (None, 64, 64, 3)

    def __call__(self, crops: Any, training: bool) -> list[np.ndarray]:
        down, across = context_of((64, 64))
        inside = 64 - 2 * across
        box = [across + inside / 4, down + inside / 4, across + 3 * inside / 4, down + 3 * inside / 4]
        boxes = np.tile(np.float32([0, 0, 64, 64, *box]), (len(crops), 1, 1))
        return [boxes, np.tile(np.float32([[0.1, 0.1, 0.8]]), (len(crops), 1, 1))]


def test_answers_come_back_in_pixels_of_the_picture() -> None:
    manifest = Manifest(
        name="m", task="detection", architecture={"name": "rcnn"}, format="onnx", precision="fp32",
        inputs=(InputSpec("image", (1, 64, 64, 3), "uint8"),),
        outputs=(TensorSpec("boxes", (1, 1, 8), "float32"), TensorSpec("scores", (1, 1, 3), "float32")),
        decoder=DecoderSpec("rcnn", {"outputs": {"boxes": "boxes", "scores": "scores"}}), labels=("a", "b"),
    )  # fmt: skip
    decoder, image = make_decoder(manifest), np.zeros((100, 200, 3), np.uint8)
    regions = [[40, 20, 120, 60], [150, 50, 190, 90], [7, 7, 7, 7]]
    found = detect_objects(Fake(), image, decoder, regions, batch=1)  # type: ignore[arg-type]
    np.testing.assert_allclose(found.boxes, [[60, 30, 100, 50], [160, 60, 180, 80]], atol=1e-3)
    assert found.labels == ("b", "b")
    assert len(detect_objects(Fake(), image, decoder, np.zeros((0, 4)))) == 0  # type: ignore[arg-type]


def test_the_network_answers_for_its_region() -> None:
    model = edgecv.create_model("rcnn", (32, 32, 3), 3, backbone="plain", alpha=0.25, dense_width=8)
    boxes, scores = model(np.random.default_rng(0).uniform(-1, 1, (4, 32, 32, 3)), training=False)
    assert boxes.shape == (4, 1, 12) and scores.shape == (4, 1, 4)
    np.testing.assert_allclose(np.asarray(scores).sum(axis=-1), 1, rtol=1e-5)
    # Offsets begin near zero: the boxes are the region, two pixels from the border.
    np.testing.assert_allclose(np.asarray(boxes).reshape(-1, 4), [[2, 2, 30, 30]] * 12, atol=0.5)
