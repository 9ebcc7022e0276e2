"""What OverFeat's windows learn, and that the network learns it."""

from __future__ import annotations

import numpy as np
import pytest

import edgecv
from edgecv.data.shapes import SHAPE_CLASSES, generate_shapes
from edgecv.detection.overfeat import OverFeatCoding, training_parts
from edgecv.models.overfeat import windows_of
from edgecv_runtime.errors import InputError

SIDE = 135
WINDOWS = windows_of((SIDE, SIDE, 3), 71)  # 3 × 3, 32 pixels apart, middles at 35.5, 67.5 and 99.5


def test_the_nearest_window_learns_an_object_and_near_ones_too() -> None:
    coding = OverFeatCoding(WINDOWS, (SIDE, SIDE), classes=3)
    # The first, middle (16, 16), is nearest to the corner; the second, middle (83.5, 67.5), half way between two.
    targets = coding.encode([[6, 6, 26, 26], [73.5, 57.5, 93.5, 77.5]], [0, 2])
    assert targets["classes"].reshape(3, 3).tolist() == [[1, 0, 0], [0, 3, 3], [0, 0, 0]]
    # (16 - 35.5) / 71 / 0.1 and ln(20 / 71) / 0.2, as SSD scales offsets.
    expected = [-2.746479, -2.746479, np.log(20 / 71) / 0.2, np.log(20 / 71) / 0.2]
    np.testing.assert_allclose(targets["offsets"][0], expected, rtol=1e-5)
    assert not targets["offsets"][targets["classes"] == 0].any()


def test_of_two_objects_the_nearer_one_is_learned() -> None:
    coding = OverFeatCoding(WINDOWS, (SIDE, SIDE), classes=2)
    for order in ([0, 1], [1, 0]):
        boxes, classes = np.float32([[60, 60, 70, 70], [66, 66, 70, 70]])[order], np.array([0, 1])[order]
        assert coding.encode(boxes, classes)["classes"].reshape(3, 3)[1, 1] == 2  # (68, 68) before (65, 65)


def test_what_is_encoded_comes_back() -> None:
    side = 288
    coding = OverFeatCoding(windows_of((side, side, 3), 71), (side, side), len(SHAPE_CLASSES))
    for sample in generate_shapes(12, side, seed=8):
        found = coding.decode(coding.answer(coding.encode(sample.boxes, sample.classes)))
        for box, kind in zip(sample.boxes, sample.classes, strict=True):
            apart = np.abs(found.boxes - box).max(axis=1)
            assert apart[found.scores[:, kind] == 1].min() < 1e-3


@pytest.mark.slow
def test_it_learns_a_picture_by_heart() -> None:
    import keras

    from edgecv.detection.train import train_detector
    from edgecv.models.registry import get_record

    keras.utils.set_random_seed(0)
    model = edgecv.create_model("overfeat", (SIDE, SIDE, 3), 3, alpha=0.04, window=71)
    network, coding, loss = training_parts(model)
    assert network.output_names == ["logits", "offsets"]
    before = model.get_weights()
    history = train_detector(
        network,
        generate_shapes(4, SIDE, seed=3, max_shapes=1),
        coding,
        loss,
        preprocessing=get_record("overfeat").preprocessing,
        epochs=30,
        batch=4,
        photometric=0,
    )
    assert history[-1] < 0.6 * history[0]
    assert any((a != b).any() for a, b in zip(before, model.get_weights(), strict=True))  # the model's own weights


def test_another_model_is_refused() -> None:
    model = edgecv.create_model("lenet5")
    with pytest.raises(InputError, match="an OverFeat built by edgecv.create_model is required"):
        training_parts(model)
