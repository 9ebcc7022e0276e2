"""Losses of dense prediction by hand."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
import pytest

from edgecv.losses import (
    DiceLoss,
    IoULoss,
    PixelCrossEntropy,
    RandomSubsetCrossEntropy,
    border_weights,
    class_balance,
)
from edgecv_runtime.errors import InputError

# Two pixels of two classes: 0.8 and 0.25 for the right one.
TRUE = np.array([[[0, 1]]])
FOUND = np.array([[[[0.8, 0.2], [0.75, 0.25]]]], np.float32)


def value(loss: Any, *arguments: Any, **options: Any) -> float:
    return float(loss(*arguments, **options))


def test_class_balance_by_hand() -> None:
    masks = np.array([[0, 0, 0, 0, 0, 0, 1, 1], [2, 2, 2, 2, 255, 255, 255, 255]])
    # 12 labelled, 3 classes: 12 / (3·6), 12 / (3·2), 12 / (3·4).
    assert class_balance(masks, 3) == pytest.approx([2 / 3, 2, 1])
    assert class_balance(masks, 4) == pytest.approx([2 / 3, 2, 1, 0])
    with pytest.raises(InputError, match="masks must hold classes 0 to 1; no pixel does"):
        class_balance([255], 2)


def test_border_weights_by_hand() -> None:
    mask = np.zeros((5, 12), int)
    mask[:, :2], mask[:, 6:8] = 1, 1  # two columns of two, four background columns between them, four behind
    weights = border_weights(mask, border=10, sigma=5, class_weights=(1, 3))
    assert weights[:, 0] == pytest.approx([3] * 5)  # of an object: its class weight alone
    # Column 3 is 2 from the left object (column 1) and 3 from the right one (column 6): d1 + d2 = 5.
    assert weights[2, 3] == pytest.approx(1 + 10 * math.exp(-(5**2) / 50), rel=1e-5)
    # Everywhere between them the sum is 5; at column 10 it is 3 + 9.
    assert weights[0, 2:6] == pytest.approx([weights[2, 3]] * 4, rel=1e-5)
    assert weights[2, 10] == pytest.approx(1 + 10 * math.exp(-(12**2) / 50), rel=1e-4)


def test_touching_objects_with_numbers_of_their_own() -> None:
    mask = np.array([[1, 2, 0, 0]])
    weights = border_weights(mask, border=10, sigma=2, class_weights=(1, 1))
    assert weights[0] == pytest.approx([1, 1, 1 + 10 * math.exp(-9 / 8), 1 + 10 * math.exp(-25 / 8)], rel=1e-4)


def test_border_weights_of_one_object_are_its_class_weights() -> None:
    mask = np.array([[0, 0, 0, 1]])
    assert border_weights(mask)[0] == pytest.approx([2 / 3, 2 / 3, 2 / 3, 2])
    with pytest.raises(InputError, match="sigma must be above 0; received 0"):
        border_weights(mask, sigma=0)
    with pytest.raises(InputError, match=r"a mask must be \(H, W\); received shape \(4,\)"):
        border_weights(mask[0])


def test_pixel_cross_entropy_by_hand() -> None:
    first, second = -math.log(0.8), -math.log(0.25)
    assert value(PixelCrossEntropy(), TRUE, FOUND) == pytest.approx((first + second) / 2, rel=1e-5)
    weighted = PixelCrossEntropy(class_weights=(0.5, 3))
    assert value(weighted, TRUE, FOUND) == pytest.approx((0.5 * first + 3 * second) / 2, rel=1e-5)
    assert value(weighted, TRUE[..., None], FOUND) == pytest.approx((0.5 * first + 3 * second) / 2, rel=1e-5)
    weights = np.array([[[2.0, 0.0]]], np.float32)
    assert value(PixelCrossEntropy(), TRUE, FOUND, sample_weight=weights) == pytest.approx(first, rel=1e-5)
    logits = PixelCrossEntropy(from_logits=True)
    assert value(logits, TRUE, np.log(FOUND)) == pytest.approx((first + second) / 2, rel=1e-5)


def test_unlabelled_pixels_count_nothing() -> None:
    unlabelled = np.array([[[0, 255]]])
    assert value(PixelCrossEntropy(), unlabelled, FOUND) == pytest.approx(-math.log(0.8) / 2, rel=1e-5)
    # Dice: class 0 alone, p = 0.8: 2·0.8 / (0.8 + 1).
    assert value(DiceLoss(), unlabelled, FOUND) == pytest.approx(1 - 1.6 / 1.8, rel=1e-4)


def test_overlaps_by_hand() -> None:
    # Class 0: p·t = 0.8, Σp = 1.55, Σt = 1. Class 1: 0.25, 0.45, 1.
    dice = [2 * 0.8 / 2.55, 2 * 0.25 / 1.45]
    iou = [0.8 / 1.75, 0.25 / 1.2]
    assert value(DiceLoss(), TRUE, FOUND) == pytest.approx(1 - sum(dice) / 2, rel=1e-4)
    assert value(IoULoss(), TRUE, FOUND) == pytest.approx(1 - sum(iou) / 2, rel=1e-4)
    assert value(IoULoss(from_logits=True), TRUE, np.log(FOUND)) == pytest.approx(1 - sum(iou) / 2, rel=1e-4)
    perfect = keras.ops.one_hot(TRUE, 2)
    assert value(DiceLoss(), TRUE, perfect) == pytest.approx(0, abs=1e-6)
    assert value(IoULoss(), TRUE, 1 - perfect) == pytest.approx(1, abs=1e-5)


def test_a_class_that_does_not_occur_is_left_out() -> None:
    zeros = np.zeros((1, 1, 2), int)
    # Class 0 alone: p = 0.8 and 0.75, Dice 2·1.55 / (1.55 + 2).
    assert value(DiceLoss(), zeros, FOUND) == pytest.approx(1 - 3.1 / 3.55, rel=1e-4)


def test_random_subset() -> None:
    true = np.zeros((1, 100, 100), int)
    found = np.full((1, 100, 100, 2), 0.5, np.float32)
    loss = RandomSubsetCrossEntropy(keep=0.2, seed=3)
    terms = np.asarray(loss.call(true, found))
    kept = terms > 0
    assert terms[kept] == pytest.approx(math.log(2) / 0.2, rel=1e-5)
    assert kept.mean() == pytest.approx(0.2, abs=5 * math.sqrt(0.2 * 0.8 / 10_000))  # five standard deviations
    assert not (np.asarray(loss.call(true, found)) == terms).all()  # another subset at the next step
    again = RandomSubsetCrossEntropy(keep=0.2, seed=3)
    assert (np.asarray(again.call(true, found)) == terms).all()
    assert value(RandomSubsetCrossEntropy(keep=1), TRUE, FOUND) == pytest.approx(
        value(PixelCrossEntropy(), TRUE, FOUND)
    )
    masked = np.asarray(RandomSubsetCrossEntropy(keep=1).call(true + 255, found))
    assert not masked.any()


@pytest.mark.parametrize(
    "loss",
    [PixelCrossEntropy((1, 2), True), RandomSubsetCrossEntropy(0.3, True, 5), IoULoss(True, 0.1), DiceLoss(True, 0.1)],
)
def test_saved_and_restored(loss: Any) -> None:
    restored = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss))
    assert type(restored) is type(loss)
    assert restored.get_config() == loss.get_config()


def test_refused() -> None:
    with pytest.raises(InputError, match="class weights must not be negative"):
        PixelCrossEntropy((1, -1))
    with pytest.raises(InputError, match="keep must be above 0 and at most 1; received 0"):
        RandomSubsetCrossEntropy(0)
