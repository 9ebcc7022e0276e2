"""Light, colour, superposition, background: by hand. The same seed gives the same pictures."""

from __future__ import annotations

from dataclasses import replace

import keras
import numpy as np
import pytest

from edgecv.augment import (
    RECIPES,
    Blur,
    Brightness,
    ColorShift,
    Contrast,
    Exposure,
    Mirror,
    Noise,
    PcaColor,
    Pipeline,
    PrincipalColors,
    ReplaceBackground,
    Sample,
    cutmix,
    mixup,
    principal_colors,
    recipe,
    replace_background,
    superpose,
)
from edgecv_runtime.errors import InputError


class Draws:
    """A generator whose every number is known."""

    def __init__(self, value: float) -> None:
        self.value = value

    def uniform(self, low: float, high: float, size: int | None = None) -> object:
        return self.value if size is None else np.full(size, self.value)

    def normal(self, mean: float, sigma: float, size: object) -> np.ndarray:
        return np.full(size, mean + sigma * self.value)


GREY = Sample(np.full((2, 2, 3), 100, np.uint8))


@pytest.mark.parametrize(
    ("step", "drawn", "value"),
    [
        (Brightness(0.2), 1.0, 151),  # 100 + 0.2 * 255
        (Brightness(0.2), -1.0, 49),
        (Contrast(0.5), -1.0, 114),  # 127.5 - 27.5 / 2 = 113.75
        (Exposure(2.2), 1.0, 200),  # 2.2 stops on pixels of gamma 2.2: twice the value
        (Exposure(4.4), 1.0, 255),  # four times, saturated
        (ColorShift(0.1), 1.0, 126),  # 100 + 25.5 = 125.5, which rounds to even
        (Noise(8.0), 1.0, 101),  # Draws gives the standard deviation itself: 1, and one of it
    ],
)
def test_values_by_hand(step: object, drawn: float, value: int) -> None:
    assert np.unique(step(GREY, Draws(drawn)).image).tolist() == [value]


def test_pca_colour_by_hand() -> None:
    # One axis: red against blue. α λ p · 255 = 0.1 · 0.5 · (1, 0, -1) · 255 = 12.75 of each.
    colors = PrincipalColors((0.5, 0.0, 0.0), ((1.0, 0.0, -1.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)))
    assert PcaColor(0.1, colors)(GREY, Draws(1.0)).image[0, 0].tolist() == [113, 100, 87]
    with pytest.raises(InputError, match="for RGB pictures; received 1"):
        PcaColor()(Sample(np.zeros((2, 2, 1), np.uint8)), Draws(1.0))


def test_principal_colors() -> None:
    # Covariance by numpy, eigenvectors by definition: C v = λ v.
    pixels = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)
    pixels[..., 1] = pixels[..., 0] // 2 + 30
    found = principal_colors([pixels[:10], pixels[10:]])
    covariance = np.cov(pixels.reshape(-1, 3).T / 255, bias=True)
    for value, vector in zip(found.values, found.vectors, strict=True):
        assert covariance @ vector == pytest.approx(value * np.array(vector), abs=1e-9)
        assert np.linalg.norm(vector) == pytest.approx(1)
    assert list(found.values) == sorted(found.values, reverse=True)
    # The defaults are a proper set of axes, too.
    axes = np.array(PrincipalColors().vectors)
    assert axes @ axes.T == pytest.approx(np.eye(3), abs=1e-3)


def test_noise_and_blur() -> None:
    flat = Sample(np.full((64, 64, 3), 128, np.uint8))
    deviation = Noise(8.0)(flat, np.random.default_rng(1)).image.astype(float).std()
    assert deviation == pytest.approx(np.random.default_rng(1).uniform(0, 8), rel=0.05)
    dot = np.zeros((21, 21, 1), np.uint8)
    dot[10, 10] = 255
    blurred = Blur(2.0)(Sample(dot), Draws(1.5)).image
    assert blurred.shape == dot.shape
    assert blurred[10, 10, 0] == pytest.approx(255 / (2 * np.pi * 1.5**2), abs=1)  # the Gaussian's peak
    assert Blur(2.0)(Sample(dot), Draws(0.05)).image is dot


def test_mixup_by_hand() -> None:
    rng, twin = np.random.default_rng(4), np.random.default_rng(4)
    images = np.random.default_rng(0).integers(0, 256, (5, 4, 6, 3), np.uint8)
    targets = np.eye(5, dtype=np.float32)
    mixed, labels = mixup(images, targets, rng, alpha=1.0)
    partner, share = twin.permutation(5), twin.beta(1.0, 1.0, 5)
    for index in range(5):
        expected = share[index] * images[index] + (1 - share[index]) * images[partner[index]].astype(float)
        assert mixed[index] == pytest.approx(expected, abs=0.51)
        assert labels[index] == pytest.approx(
            share[index] * targets[index] + (1 - share[index]) * targets[partner[index]]
        )
    assert labels.sum(axis=1) == pytest.approx(np.ones(5))
    assert mixed.dtype == np.uint8 and labels.dtype == np.float32


def test_cutmix_labels_are_shares_of_pixels() -> None:
    # Every picture is filled with its own number, so that the shares can be counted.
    images = np.repeat(np.arange(8, dtype=np.uint8), 20 * 30).reshape(8, 20, 30, 1)
    targets = np.eye(8, dtype=np.float32)
    mixed, labels, masks = cutmix(images, targets, np.random.default_rng(1), masks=images[..., 0])
    for picture, row in zip(mixed, labels, strict=True):
        assert row == pytest.approx(np.bincount(picture.ravel(), minlength=8) / 600, abs=1e-6)
    assert np.array_equal(masks, mixed[..., 0])
    assert labels.sum(axis=1) == pytest.approx(np.ones(8))
    assert (labels.max(axis=1) < 1).sum() >= 4  # most were really cut
    assert len(cutmix(images, targets, np.random.default_rng(1))) == 2


def test_superpose() -> None:
    first = Sample(np.full((4, 4, 3), 200, np.uint8), [[0, 0, 2, 2]], [1])
    second = Sample(np.full((4, 4, 3), 100, np.uint8), [[1, 1, 4, 4]], [0])
    both = superpose(first, second, 0.25)
    assert np.unique(both.image).tolist() == [125]
    assert both.boxes.tolist() == [[0, 0, 2, 2], [1, 1, 4, 4]] and both.classes.tolist() == [1, 0]
    with pytest.raises(InputError, match="both samples must have boxes, or neither"):
        superpose(first, Sample(second.image), 0.5)
    with pytest.raises(InputError, match="maps of classes cannot be superposed"):
        superpose(*[Sample(second.image, masks=np.zeros((4, 4)))] * 2)


def test_background() -> None:
    image, behind = np.full((10, 10, 3), 200, np.uint8), np.full((5, 5, 3), 40, np.uint8)
    foreground = np.zeros((10, 10), np.bool_)
    foreground[:, :5] = True
    hard = replace_background(image, foreground, behind, feather=0)
    assert (hard[:, :5] == 200).all() and (hard[:, 5:] == 40).all()
    soft = replace_background(image, foreground, behind, feather=1.0)
    assert (soft[:, 0] == 200).all() and (soft[:, 9] == 40).all()
    assert soft[0, 4, 0] > 120 > soft[0, 5, 0] and soft[0, 4, 0] + soft[0, 5, 0] == pytest.approx(240, abs=2)
    sample = Sample(image, masks=foreground.astype(np.uint8))
    changed = ReplaceBackground([behind], probability=1.0, feather=0)(sample, np.random.default_rng(0))
    assert np.array_equal(changed.image, hard) and changed.masks is sample.masks
    objects = replace(sample, masks=np.stack([foreground, np.roll(foreground, 2, axis=1)]))
    assert (ReplaceBackground([behind], 1.0, 0)(objects, np.random.default_rng(0)).image[0, :, 0] == 200).sum() == 7
    with pytest.raises(InputError, match="needs masks"):
        ReplaceBackground([behind])(GREY, np.random.default_rng(0))


@pytest.mark.parametrize("name", RECIPES)
def test_recipes(name: str) -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), np.uint8)
    masks = np.random.default_rng(1).integers(0, 3, (32, 32), np.uint8)
    pipeline = recipe(name).pipeline

    def drawn(epoch: int, seed: int = 7) -> list[Sample]:
        return [pipeline.draw(Sample(image, masks=masks), seed, epoch, number) for number, image in enumerate(images)]

    first, again, other = drawn(1), drawn(1), drawn(2)
    assert all(part.image.shape == (32, 32, 3) and part.image.dtype == np.uint8 for part in first)
    assert all(np.array_equal(a.image, b.image) for a, b in zip(first, again, strict=True))
    assert all(np.array_equal(a.masks, b.masks) for a, b in zip(first, again, strict=True))
    same = all(np.array_equal(a.image, b.image) for a, b in zip(first, other, strict=True))
    assert same == (name == "none")
    # A picture's changes do not depend on which others were asked for before.
    alone = pipeline.draw(Sample(images[2], masks=masks), 7, 1, 2)
    assert np.array_equal(alone.image, first[2].image)


def test_an_unknown_recipe() -> None:
    with pytest.raises(InputError, match="there is no augmentation 'digit': did you mean digits"):
        recipe("digit")


def test_a_pipeline_is_a_step() -> None:
    nested = Pipeline([Pipeline([Mirror(1.0)]), Mirror(1.0)])
    image = np.random.default_rng(0).integers(0, 256, (4, 6, 3), np.uint8)
    assert np.array_equal(nested.draw(Sample(image), 0, 0, 0).image, image)


def test_why_not_keras_mixup_of_masks() -> None:
    """The day Keras takes masks by picture, this fails and its layer may be looked at again."""
    masks = np.stack([np.zeros((2, 2, 1)), np.ones((2, 2, 1))]).astype(np.float32)
    layer = keras.layers.MixUp(alpha=0.2, seed=0)
    changed = layer.transform_segmentation_masks(
        masks, {"mix_weight": np.zeros(2, np.float32), "permutation_order": np.array([1, 0])}, training=True
    )
    assert not np.array_equal(np.asarray(changed), masks[::-1])
