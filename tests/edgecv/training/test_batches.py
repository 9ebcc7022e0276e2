"""Batches are the same ones in every run, normalised, weighed, and matched with their labels."""

from __future__ import annotations

import numpy as np
import pytest

from edgecv.augment import Sample, recipe
from edgecv.augment.sample import ArraySample
from edgecv.data.patches import PatchSamples
from edgecv.models.registry import Preprocessing
from edgecv.training.batches import Batches
from edgecv.training.pictures import Part, TileSamples
from edgecv_runtime.errors import InputError

COLOR = Preprocessing((100.0,) * 3, (50.0,) * 3)


def part(count: int = 10, size: int = 8) -> Part:
    """Picture n is filled with 10 n; odd pictures are of class 1."""
    samples = [Sample(np.full((size, size, 3), 10 * number, np.uint8)) for number in range(count)]
    return Part(samples, np.arange(count), np.arange(count) % 2)


def numbers(batches: Batches) -> list[int]:
    """Which pictures came, by their values: (10 n - 100) / 50."""
    values = np.concatenate([batches[index][0][:, 0, 0, 0] for index in range(len(batches))])
    return np.rint((values * 50 + 100) / 10).astype(int).tolist()


def test_an_epoch_holds_every_picture_once_with_its_label() -> None:
    batches = Batches(part(), COLOR, 2, 5, seed=1)
    assert len(batches) == 2
    order = numbers(batches)
    assert sorted(order) == list(range(10)) and order != list(range(10))
    labels = np.concatenate([batches[index][1] for index in range(2)])
    assert labels.argmax(axis=1).tolist() == [number % 2 for number in order]
    assert labels.dtype == np.float32 and (labels.sum(axis=1) == 1).all()
    batches.on_epoch_end()
    second = numbers(batches)
    assert second != order and sorted(second) == sorted(order)
    later = Batches(part(), COLOR, 2, 5, seed=1)
    later.begin_at(1)  # as after an interruption
    assert numbers(later) == second


def test_a_part_knows_which_of_the_samples_are_its_own() -> None:
    chosen = part().select(np.arange(10) >= 7)
    assert numbers(Batches(chosen, COLOR, 2, 2, epoch=None)) == [7, 8, 9]  # in order, the rest included
    assert len(Batches(chosen, COLOR, 2, 2)) == 1  # while training it is left to the next epoch
    assert len(Batches(chosen, COLOR, 2, 64)) == 1


def test_class_weights_and_mixed_labels() -> None:
    weights = np.array([0.5, 2.0], np.float32)
    images, targets, rows = Batches(part(), COLOR, 2, 10, seed=1, class_weights=weights)[0]
    assert rows.tolist() == [2.0 if label else 0.5 for label in targets.argmax(axis=1)]
    mixed = Batches(part(), COLOR, 2, 10, seed=1, augment=recipe("mixup"), class_weights=weights)
    images, targets, rows = mixed[0]
    assert targets.sum(axis=1) == pytest.approx(np.ones(10))
    assert ((targets > 0.01) & (targets < 0.99)).any()
    assert rows == pytest.approx(targets @ weights)
    assert np.array_equal(images, mixed[0][0])
    # What is judged is never mixed.
    assert set(np.unique(Batches(part(), COLOR, 2, 10, epoch=None, augment=recipe("mixup"))[0][1])) == {0, 1}


def maps(count: int = 2) -> Part:
    samples = []
    for number in range(count):
        mask = np.zeros((24, 24), np.uint8)
        mask[4:8, 4:8] = 1
        samples.append(Sample(np.repeat(60 + 100 * mask[..., None], 3, -1).astype(np.uint8) + number, masks=mask))
    return Part(samples, np.arange(count), None)


def test_maps_move_with_their_pictures() -> None:
    batches = Batches(maps(), COLOR, 2, 2, seed=3, augment=recipe("microscopy"))
    images, targets = batches[0]
    bright = images[..., 0] * 50 + 100 > 110
    assert (bright != (targets == 1)).mean() < 0.03
    _, middle = Batches(maps(), COLOR, 2, 2, epoch=None, output_size=(12, 12))[0]
    assert middle.shape == (2, 12, 12) and middle.dtype == np.int32
    assert np.array_equal(middle[0], maps().samples[0].masks[6:18, 6:18])
    with pytest.raises(InputError, match="mixup mixes the classes of whole pictures"):
        Batches(maps(), COLOR, 2, 2, augment=recipe("mixup"))


def test_patches_change_with_the_epoch() -> None:
    patches = Part(PatchSamples(maps().chosen(), (8, 8), 6, seed=2), np.arange(6), None)
    batches = Batches(patches, COLOR, 2, 3, seed=2)
    first = batches[0][1]
    assert batches[0][0].shape == (3, 8, 8, 3) and len(batches) == 2
    batches.on_epoch_end()
    assert not np.array_equal(first, batches[0][1])
    batches.begin_at(0)
    assert np.array_equal(first, batches[0][1])
    tiles = TileSamples(maps(), (16, 16))
    assert len(tiles) == 2 * 4 and tiles[4].image.max() == 161


def test_signals_are_normalised_and_not_augmented() -> None:
    samples = [ArraySample(np.array([[100 + 50 * number, 100]], np.float32)) for number in range(4)]
    signals = Part(samples, np.arange(4), np.arange(4) % 2)
    grey = Preprocessing((100.0,), (50.0,), "GRAY")
    batch, targets = Batches(signals, grey, 2, 4, epoch=None)[0]
    assert batch.tolist() == [[[0, 0]], [[1, 0]], [[2, 0]], [[3, 0]]]
    assert targets.argmax(axis=1).tolist() == [0, 1, 0, 1]
    with pytest.raises(InputError, match="augmentation 'light' is for pictures, not for signals or volumes"):
        Batches(signals, grey, 2, 4, augment=recipe("light"))
    with pytest.raises(InputError, match="a signal or volume must be float32; received float64"):
        ArraySample(np.zeros((3, 1)))


def test_colour_recipes_are_for_colour() -> None:
    grey = Part([Sample(np.zeros((8, 8, 1), np.uint8))] * 4, np.arange(4), np.array([0, 1, 0, 1]))
    with pytest.raises(InputError, match="augmentation 'photos' is for RGB pictures"):
        Batches(grey, Preprocessing((0.0,), (255.0,), "GRAY"), 2, 2, augment=recipe("photos"))
