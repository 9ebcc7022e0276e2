"""Losses by hand arithmetic, and their slopes."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
import pytest

from edgecv.metric_learning.losses import (
    AngularMargin,
    ContrastiveLoss,
    TripletLoss,
    contrastive_terms,
    triplet_terms,
    with_angular_margin,
)
from edgecv_runtime.errors import InputError


def at(*degrees: float) -> np.ndarray:
    angles = np.radians(degrees)
    return (3 * np.stack([np.cos(angles), np.sin(angles)], axis=1)).astype(np.float32)


def squared(degrees: float) -> float:
    """Squared distance of two unit vectors at that angle: 2 − 2·cos."""
    return 2 - 2 * math.cos(math.radians(degrees))


def test_terms() -> None:
    positive, negative = np.float32([0.5, 0.2, 0.3]), np.float32([0.4, 0.9, 0.4])
    assert np.asarray(triplet_terms(positive, negative, 0.2)) == pytest.approx([0.3, 0, 0.1], abs=1e-6)
    distance, same = np.float32([0.6, 0.6, 1.4]), np.array([True, False, False])
    assert np.asarray(contrastive_terms(distance, same, 1.0)) == pytest.approx([0.18, 0.08, 0], abs=1e-6)


@pytest.mark.parametrize(
    ("mining", "expected"),
    [
        # Ann at 0 and 40 degrees, bob at 60 and 100. Anchors 0, 40, 60, 100; positives are 40 degrees apart.
        # Hard: the nearest negatives are 60, 20, 20 and 60 degrees away.
        ("hard", [(40, 60), (40, 20), (40, 20), (40, 60)]),
        # Semi-hard: beyond 40 degrees there are 60; from 40: 60 (to 100); from 60: 60 (to 0); from 100: 60.
        ("semi-hard", [(40, 60)] * 4),
    ],
)
def test_triplet_loss(mining: str, expected: list[tuple[float, float]]) -> None:
    loss = TripletLoss(margin=0.5, mining=mining)
    terms = [max(0, squared(p) - squared(n) + 0.5) for p, n in expected]
    labels = np.array([0, 0, 1, 1])
    assert float(loss(labels, at(0, 40, 60, 100))) == pytest.approx(np.mean(terms), abs=1e-5)
    assert float(loss(labels[:, None], at(0, 40, 60, 100))) == pytest.approx(np.mean(terms), abs=1e-5)


def test_random_triplets_lie_between() -> None:
    # Any negative of these is at least as far as the nearest and at most as far as the farthest.
    labels, vectors = np.array([0, 0, 1, 1]), at(0, 40, 60, 100)
    loss = TripletLoss(margin=3.0, mining="random", seed=1)
    nearest = np.mean([squared(40) - squared(n) + 3 for n in (60, 20, 20, 60)])
    farthest = np.mean([squared(40) - squared(n) + 3 for n in (100, 60, 60, 100)])
    values = [float(loss(labels, vectors)) for _ in range(20)]
    assert farthest - 1e-5 <= min(values) < max(values) <= nearest + 1e-5
    again = TripletLoss(margin=3.0, mining="random", seed=1)
    assert [float(again(labels, vectors)) for _ in range(20)] == values


def test_contrastive_loss() -> None:
    # Same: 40 degrees twice. Different: 60, 100, 20 and 60 degrees; the margin 1 is that of 60 degrees.
    same = 0.5 * squared(40)
    different = np.mean([0.5 * max(0, 1 - math.sqrt(squared(angle))) ** 2 for angle in (60, 100, 20, 60)])
    found = float(ContrastiveLoss(margin=1.0)(np.array([0, 0, 1, 1]), at(0, 40, 60, 100)))
    assert found == pytest.approx(0.5 * (same + different), abs=1e-5)


def test_a_batch_without_triplets_costs_nothing() -> None:
    for mining in ("hard", "semi-hard", "random"):
        assert float(TripletLoss(mining=mining)(np.array([0, 0, 0]), at(0, 40, 60))) == 0
        assert float(TripletLoss(mining=mining)(np.array([0, 1, 2]), at(0, 40, 60))) == 0


@pytest.mark.parametrize("loss", [TripletLoss(mining="hard"), TripletLoss(), ContrastiveLoss()])
def test_slopes_are_finite_where_pictures_are_equal(loss: Any) -> None:
    import tensorflow as tf

    vectors = tf.Variable(np.float32([[1, 0], [1, 0], [1, 0], [0, 1]]))
    with tf.GradientTape() as tape:
        value = loss(np.array([0, 0, 1, 1]), vectors)
    slope = tape.gradient(value, vectors).numpy()
    assert np.isfinite(slope).all() and np.abs(slope).max() > 0


def test_angular_margin_by_hand() -> None:
    layer = AngularMargin(3, margin=0.5, scale=10.0)
    vectors = at(0, 30, 170)
    layer.build([(None, 2), (None,)])
    layer.centres.assign(np.float32([[2, 0, -1], [0, 5, 0]]))  # at 0, 90 and 180 degrees
    found = np.asarray(layer([vectors, np.array([0, 1, 0])]))
    rad = math.radians
    expected = [
        [math.cos(0.5), 0, -1],
        [math.cos(rad(30)), math.cos(rad(60) + 0.5), math.cos(rad(150))],
        # 170 degrees and 0.5 more would be beyond 180: cos θ − m·sin m instead.
        [math.cos(rad(170)) - 0.5 * math.sin(0.5), math.cos(rad(80)), math.cos(rad(10))],
    ]
    assert found == pytest.approx(10 * np.array(expected), abs=2e-5)


def test_the_own_class_gets_harder_all_the_way() -> None:
    layer = AngularMargin(2, margin=0.5, scale=1.0)
    layer.build([(None, 2), (None,)])
    layer.centres.assign(np.float32([[1, 0], [0, 1]]))
    own = np.asarray(layer([at(*range(0, 181, 5)), np.zeros(37, np.int32)]))[:, 0]
    assert (np.diff(own) < 0).all()


def test_training_with_an_angular_margin_separates(tmp_path: Any) -> None:
    keras.utils.set_random_seed(0)
    image = keras.Input((4, 4, 1))
    embedder = keras.Model(image, keras.layers.Dense(2)(keras.layers.Flatten()(image)))
    model = with_angular_margin(embedder, classes=3, scale=8.0)
    model.compile(
        optimizer=keras.optimizers.Adam(0.05), loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    )
    labels = np.arange(30) % 3
    generator = np.random.default_rng(0)
    pictures = (generator.normal(size=(3, 4, 4, 1))[labels] + 0.1 * generator.normal(size=(30, 4, 4, 1))).astype(
        np.float32
    )
    history = model.fit([pictures, labels], labels, epochs=30, verbose=0).history["loss"]
    assert history[-1] < 0.2 * history[0]
    model.save(tmp_path / "margin.keras")
    again = keras.saving.load_model(tmp_path / "margin.keras")
    assert np.asarray(again([pictures, labels])) == pytest.approx(np.asarray(model([pictures, labels])), abs=1e-5)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: TripletLoss(margin=0), "margin must be above 0; received 0"),
        (lambda: TripletLoss(mining="easy"), "mining must be one of random, semi-hard, hard"),
        (lambda: ContrastiveLoss(margin=-1), "margin must be above 0; received -1"),
        (lambda: AngularMargin(1), "at least 2 classes"),
        (lambda: AngularMargin(2, margin=2.0), r"a margin in \[0, π/2\]"),
        (lambda: AngularMargin(2, scale=0), "a scale above 0"),
    ],
)
def test_refused(make: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()


def test_losses_are_kept_with_their_settings() -> None:
    loss = TripletLoss(margin=0.3, mining="hard", seed=7)
    again = keras.losses.deserialize(keras.losses.serialize(loss))
    assert (again.margin, again.mining, again.seed) == (0.3, "hard", 7)
    assert keras.losses.deserialize(keras.losses.serialize(ContrastiveLoss(margin=0.7))).margin == 0.7
