"""Batch norms are judged with statistics of the weights that they have."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from edgecv.augment.sample import Sample
from edgecv.models.registry import Preprocessing
from edgecv.training.batches import Batches
from edgecv.training.pictures import Part
from edgecv.training.statistics import SettledStatistics, settle

layers = keras.layers


@pytest.fixture
def batches() -> Batches:
    images = np.random.default_rng(0).integers(0, 256, (12, 4, 4, 1), np.uint8)
    part = Part([Sample(image) for image in images], np.arange(12), np.arange(12) % 2)
    return Batches(part, Preprocessing((100.0,), (50.0,), "GRAY"), classes=2, batch=4, epoch=0)


def network() -> Any:
    image = keras.Input((4, 4, 1))
    x = layers.Conv2D(3, 3, use_bias=False, kernel_initializer=keras.initializers.Constant(0.5))(image)
    x = layers.BatchNormalization(name="norm")(x)
    inner = keras.Sequential([keras.Input((2, 2, 3)), layers.BatchNormalization(name="within")], name="inner")
    x = layers.GlobalAveragePooling2D()(inner(x))
    return keras.Model(image, layers.Dense(2, activation="softmax")(x))


def by_hand(batches: Batches, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance of half the sum of every 3×3 window: of each batch, then their mean."""
    means, variances = [], []
    for number in range(count):
        images = batches[number][0][..., 0]
        sums = [0.5 * images[:, y : y + 3, x : x + 3].sum(axis=(1, 2)) for y in (0, 1) for x in (0, 1)]
        means.append(np.mean(sums))
        variances.append(np.var(sums))
    return np.full(3, np.mean(means)), np.full(3, np.mean(variances))


def test_statistics_by_hand(batches: Batches) -> None:
    model = network()
    for count in (2, 3, 99):  # there are three batches
        assert settle(model, batches, count) == 2
        mean, variance = by_hand(batches, min(count, 3))
        norm = model.get_layer("norm")
        assert np.asarray(norm.moving_mean) == pytest.approx(mean, rel=1e-4)
        assert np.asarray(norm.moving_variance) == pytest.approx(variance, rel=1e-4)
        assert norm.momentum == 0.99
    within = model.get_layer("inner").get_layer("within")
    assert np.asarray(within.moving_mean) == pytest.approx([0] * 3, abs=1e-4)  # what the norm before it makes


def test_frozen_norms_keep_theirs(batches: Batches) -> None:
    model = network()
    model.get_layer("norm").trainable = False
    assert settle(model, batches, 3) == 1
    assert np.asarray(model.get_layer("norm").moving_mean).tolist() == [0, 0, 0]


def test_before_held_out_pictures_are_judged(batches: Batches) -> None:
    """One epoch at a rate of nothing: the network is judged, and left, with the statistics of that epoch's batches."""
    model = network()
    model.compile(keras.optimizers.SGD(0.0), "categorical_crossentropy")
    wanted, held_out = by_hand(batches, 3), batches[0][:2]
    history = model.fit(
        batches, validation_data=held_out, shuffle=False, verbose=0, callbacks=[SettledStatistics(batches)]
    )
    assert np.asarray(model.get_layer("norm").moving_mean) == pytest.approx(wanted[0], rel=1e-4)
    assert history.history["val_loss"][0] == pytest.approx(model.evaluate(*held_out, verbose=0), rel=1e-4)
