"""The parts of the learning benchmarks that need no training: what they measure with, and what they draw from."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
    """A benchmark as a module."""
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "3")
    monkeypatch.setenv("KERAS_BACKEND", "tensorflow")
    monkeypatch.syspath_prepend(str(BENCHMARKS))

    def load(name: str) -> ModuleType:
        for known in ("_common", "train_cifar10", name):
            monkeypatch.delitem(sys.modules, known, raising=False)
        return importlib.import_module(name)

    return load


# -- membranes ---------------------------------------------------------------------------------------------------------


def test_the_best_threshold_by_hand(script: Callable[[str], ModuleType]) -> None:
    membranes = script("train_membranes")
    values = np.array([[10, 20, 30, 40, 50]], np.uint8)
    # From 41 to 50 on only the cell at 20 is wrong; the lowest such threshold is taken.
    assert membranes.best_threshold(values, np.array([[0, 1, 0, 0, 1]], np.uint8)) == (41, 0.2)
    assert membranes.best_threshold(values, np.ones((1, 5), np.uint8)) == (0, 0)
    shares = np.array([[0.1, 0.4, 0.6, 0.9]], np.float32)
    threshold, wrong = membranes.best_threshold(shares, np.array([[0, 0, 1, 1]], np.uint8))
    assert wrong == 0 and 0.4 < threshold <= 0.6


def test_pixel_error_and_overlap_by_hand(script: Callable[[str], ModuleType]) -> None:
    membranes = script("train_membranes")
    masks = np.array([[[0, 0, 1, 1]]], np.uint8)
    found = membranes.measure(np.array([[[False, True, True, True]]]), masks)
    assert found["pixel_error"] == pytest.approx(1 / 4)
    assert found["iou_membrane"] == pytest.approx(1 / 2) and found["iou_cell"] == pytest.approx(2 / 3)


def test_patches_are_balanced_and_fit(script: Callable[[str], ModuleType]) -> None:
    membranes = script("train_membranes")
    mask = np.ones((64, 64), np.uint8)
    mask[20] = 0  # one row of membrane
    generator = np.random.default_rng(0)
    corners = [membranes.balanced_corner(mask, 16, generator) for _ in range(200)]
    middles = [mask[top + 8, left + 8] for top, left in corners]
    assert 0.4 < np.mean(middles) < 0.6
    assert all(0 <= top <= 48 and 0 <= left <= 48 for top, left in corners)


def test_image_and_mask_move_together(script: Callable[[str], ModuleType]) -> None:
    membranes = script("train_membranes")
    y, x = np.mgrid[:96, :96]
    mask = ((x - 48) ** 2 + (y - 48) ** 2 < 600).astype(np.uint8)
    image = 255 * mask
    moved, moved_mask = membranes.deform((image, mask), np.random.default_rng(2))
    assert np.abs(moved.astype(int) - image).max() == 255  # it did move
    assert ((moved > 127) != (moved_mask == 1)).mean() < 0.01
    slices = membranes.Slices(np.stack([image] * 3), np.stack([mask] * 3))
    membranes.SIDE, membranes.PATCH = 96, 32
    weights = np.ones((3, 96, 96), np.float32)
    for variant, shape in ((membranes.VARIANTS[2], (1, 96, 96)), (membranes.VARIANTS[3], (9, 32, 32))):
        images, masks, amounts = next(membranes.batches(slices, weights, variant, 1, seed=0))
        assert images.shape == (*shape, 1) and masks.shape == amounts.shape == shape
        assert ((images[..., 0] > 0.5) == (masks == 1)).mean() > 0.98


# -- FCN ---------------------------------------------------------------------------------------------------------------


def test_the_band_around_a_border_by_hand(script: Callable[[str], ModuleType]) -> None:
    fcn = script("train_fcn")
    mask = np.zeros((3, 9), np.uint8)
    mask[:, 5:] = 2
    # The border lies between columns 4 and 5.
    assert fcn.border_band(mask, 1).tolist() == [[False] * 3 + [True] * 3 + [False] * 3] * 3
    answer = mask.copy()
    answer[0, 4], answer[0, 0] = 2, 1  # one wrong pixel of nine near the border, one far from it
    fcn.BAND = 1
    found = fcn.measure(answer[None], mask[None])
    assert found["pixel_accuracy"] == pytest.approx(25 / 27)
    assert fcn.border_band(np.zeros((4, 4), np.uint8)).sum() == 0


def test_shapes_have_masks(script: Callable[[str], ModuleType]) -> None:
    fcn = script("train_fcn")
    drawn = fcn.draw(4, 64, seed=1)
    assert drawn.images.shape == (4, 64, 64, 3) and drawn.masks.shape == (4, 64, 64)
    assert all((mask > 0).any() for mask in drawn.masks) and drawn.masks.max() <= 3


# -- residual networks, the auto-encoder, style ------------------------------------------------------------------------


def test_means_over_seeds(script: Callable[[str], ModuleType]) -> None:
    residual = script("train_residual")
    runs = [
        residual.Run(kind, 20, seed, [0.5, 1.0], [2.0, loss], [0.1, share], 10.0)
        for kind, seed, loss, share in (
            ("resnet", 0, 1.0, 0.5),
            ("plain", 0, 1.5, 0.4),
            ("resnet", 1, 1.2, 0.6),
            ("plain", 1, 1.5, 0.3),
        )
    ]
    first, second = residual.summary(runs)
    assert first["network"] == "resnet-20" and first["held_out"] == pytest.approx(0.55)
    assert first["loss"] == pytest.approx(1.1) and second["by_seed"] == [0.4, 0.3]


def test_fewer_pictures_of_every_class(script: Callable[[str], ModuleType]) -> None:
    residual = script("train_residual")
    labels = np.repeat(np.arange(10), 12)
    pictures = residual.Cifar10(np.zeros((120, 2, 2, 3), np.uint8), labels, np.zeros((1, 2, 2, 3)), labels[:1], ("a",))
    fewer = residual.shortened(pictures, 40)
    assert len(fewer.learned) == 40 and np.bincount(fewer.learned_labels).tolist() == pytest.approx([4] * 10, abs=1)
    assert residual.shortened(pictures, None) is pictures


def test_an_unseen_class_is_scored_by_its_error(script: Callable[[str], ModuleType]) -> None:
    import keras

    anomaly = script("train_anomaly")
    image = keras.Input((6, 6, 1))
    halving = keras.Model(image, keras.layers.Rescaling(0.5)(image))
    pictures = np.zeros((1, 6, 6, 1), np.float32)
    pictures[0, 2, 2] = 1
    found = anomaly.scores_of(halving, pictures)
    # An error of 0.25 at one of 36 pixels; smoothed over nine of them; and by the root of 1/36 of ink.
    assert found["mean"] == pytest.approx([0.25 / 36])
    assert found["largest"] == pytest.approx([0.25 / 9]) and found["relative"] == pytest.approx([0.25 / 9 * 6])


def test_the_window_is_drawn_alike_each_time(script: Callable[[str], ModuleType]) -> None:
    style = script("style_transfer")
    glass = style.stained_glass(64, 12)
    assert glass.shape == (64, 64, 3) and np.array_equal(glass, style.stained_glass(64, 12))
    assert (glass == 15).all(axis=2).mean() > 0.02  # the lead
    assert len(np.unique(glass.reshape(-1, 3), axis=0)) > 50
