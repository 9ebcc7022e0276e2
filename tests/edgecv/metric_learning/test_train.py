"""Training draws pictures of one person together; augmentation keeps a picture a picture."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import edgecv
from edgecv.metric_learning.augment import face_augmentation
from edgecv.metric_learning.losses import TripletLoss
from edgecv.metric_learning.train import embed, train_embedder
from edgecv.models.registry import Preprocessing
from edgecv_runtime.metrics.verification import verification_rates

PREPROCESSING = Preprocessing(mean=(127.5,) * 3, std=(127.5,) * 3)


def pictures(people: int, each: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Noisy pictures of people who differ in a pattern, under light that differs more."""
    generator = np.random.default_rng(seed)
    labels = np.repeat(np.arange(people), each)
    pattern = generator.normal(0, 25, (people, 8, 8, 3))[labels]
    light = generator.uniform(50, 200, (len(labels), 1, 1, 1))
    return np.clip(light + pattern + generator.normal(0, 6, pattern.shape), 0, 255).astype(np.uint8), labels


def small_embedder() -> keras.Model:
    image = keras.Input((8, 8, 3))
    return keras.Model(image, keras.layers.Dense(16)(keras.layers.Flatten()(image)))


def test_training_helps_with_people_never_seen() -> None:
    keras.utils.set_random_seed(1)
    images, labels = pictures(24, 6, seed=0)
    others, who = pictures(10, 6, seed=9)
    embedder = small_embedder()
    before = verification_rates(embed(embedder, others, PREPROCESSING), who, far=(0.01,))
    options = {"people": 8, "pictures": 4, "epochs": 4, "steps": 30, "learning_rate": 3e-3}
    told: list[tuple[int, float]] = []
    losses = train_embedder(
        embedder,
        images,
        labels,
        TripletLoss(),
        preprocessing=PREPROCESSING,
        after_epoch=lambda epoch, loss: told.append((epoch, loss)),
        **options,
    )
    assert told == list(enumerate(losses, start=1))
    after = verification_rates(embed(embedder, others, PREPROCESSING), who, far=(0.01,))
    assert len(losses) == 4 and losses[-1] < 0.5 * losses[0]
    assert after.tar[0] > before.tar[0] + 0.2


def test_the_same_seed_gives_the_same_network() -> None:
    images, labels = pictures(6, 4, seed=0)

    def train() -> list[float]:
        keras.utils.set_random_seed(3)
        return train_embedder(
            small_embedder(),
            images,
            labels,
            TripletLoss(mining="random"),
            preprocessing=PREPROCESSING,
            augmentation=face_augmentation(seed=5),
            people=4,
            pictures=2,
            epochs=2,
            steps=3,
        )

    assert train() == train()


def test_embed_normalises_as_the_record_says() -> None:
    images = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3)).astype(np.uint8)
    model = edgecv.create_model("mobilefacenet", (32, 32, 3), alpha=0.25, dimension=16)
    expected = np.asarray(model((images.astype(np.float32) - 127.5) / 128))
    found = embed(model, images, Preprocessing(mean=(127.5,) * 3, std=(128.0,) * 3), batch_size=2)
    assert found == pytest.approx(expected, abs=1e-5)


def test_augmentation() -> None:
    images = np.random.default_rng(0).integers(40, 200, (6, 16, 16, 3)).astype(np.float32)
    changed = np.asarray(face_augmentation(seed=1)(images, training=True))
    assert changed.shape == images.shape and changed.min() >= 0 and changed.max() <= 255
    assert all(np.abs(a - b).mean() > 1 for a, b in zip(changed, images, strict=True))
    assert np.array_equal(np.asarray(face_augmentation(seed=1)(images, training=False)), images)
    mirrored = np.asarray(face_augmentation(0.0, seed=1)(images, training=True))
    flips = [np.array_equal(a, b[:, ::-1]) for a, b in zip(mirrored, images, strict=True)]
    stays = [np.array_equal(a, b) for a, b in zip(mirrored, images, strict=True)]
    assert all(f != s for f, s in zip(flips, stays, strict=True)) and any(flips) and any(stays)
