"""Augmentation by hand, and training: the same seed gives the same weights, and the loss falls."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

import edgecv
from edgecv.data.shapes import generate_shapes
from edgecv.detection.augment import light, mirror
from edgecv.detection.families import coding_of, loss_of
from edgecv.detection.train import train_detector
from edgecv.models.registry import get_record
from edgecv_runtime.errors import InputError


def test_mirror_by_hand() -> None:
    image = np.arange(24).reshape(2, 4, 3)
    turned, boxes = mirror(image, np.float32([[0, 0, 1, 2], [1, 1, 4, 2]]))
    assert turned[0, 0].tolist() == [9, 10, 11]
    assert boxes.tolist() == [[3, 0, 4, 2], [0, 1, 3, 2]]


def test_a_mirrored_shape_lies_in_its_mirrored_box() -> None:
    sample = generate_shapes(1, seed=2, max_shapes=1)[0]
    turned, boxes = mirror(sample.masks[0][:, :, None], sample.boxes)
    x1, y1, x2, y2 = boxes[0].astype(int)
    assert turned[y1:y2, x1:x2].sum() == sample.masks[0].sum()


def test_light() -> None:
    image = generate_shapes(1, seed=2)[0].image
    changed = light(image, np.random.default_rng(0))
    np.testing.assert_array_equal(changed, light(image, np.random.default_rng(0)))
    assert changed.dtype == np.float32
    assert 0 <= changed.min() < changed.max() <= 255
    assert np.abs(changed - image).mean() > 3
    np.testing.assert_array_equal(light(image, np.random.default_rng(0), 0.0), image)


def trained(epochs: int, seed: int = 0, **options: Any) -> tuple[list[float], list[np.ndarray]]:
    keras.utils.set_random_seed(4)
    model = edgecv.create_model("yolo_v1_tiny", (32, 32, 3), 3, grid=4, alpha=0.25)
    coding = coding_of(model)
    losses = train_detector(
        model,
        generate_shapes(16, size=32, seed=1, max_shapes=1),
        coding,
        loss_of(coding),
        preprocessing=get_record("yolo_v1_tiny").preprocessing,
        epochs=epochs,
        batch=8,
        learning_rate=1e-2,
        seed=seed,
        **options,
    )
    return losses, model.get_weights()


def test_the_loss_falls_and_is_told() -> None:
    told: list[tuple[int, float]] = []
    losses, _ = trained(8, after_epoch=lambda epoch, loss: told.append((epoch, loss)))
    assert losses[-1] < 0.5 * losses[0]
    assert told == list(enumerate(losses, start=1))


@pytest.mark.slow
def test_same_seed_same_weights() -> None:
    first, second, other = trained(1), trained(1), trained(1, seed=5)
    assert first[0] == second[0]
    assert all(np.array_equal(a, b) for a, b in zip(first[1], second[1], strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(first[1], other[1], strict=True))


def test_refused() -> None:
    model = edgecv.create_model("yolo_v1_tiny", (32, 32, 3), 3, grid=4, alpha=0.25)
    coding = coding_of(model)
    preprocessing = get_record("yolo_v1_tiny").preprocessing
    with pytest.raises(InputError, match="a batch of 16 samples at least; received 2"):
        train_detector(model, generate_shapes(2, size=32), coding, loss_of(coding), preprocessing=preprocessing)
    with pytest.raises(InputError, match=r"input size \(32, 32, 3\); received \(48, 48, 3\)"):
        train_detector(
            model, generate_shapes(1, size=48), coding, loss_of(coding), preprocessing=preprocessing, batch=1
        )
