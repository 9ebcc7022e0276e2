"""Augmented Grad-CAM: movements, views and the minimisation on cases with a known answer."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from edgecv.explain.activation_maps import grad_cam
from edgecv.explain.augmented import (
    Movement,
    augmented_grad_cam,
    cell_offset,
    coarse_view,
    move,
    movements,
    super_resolve,
)
from edgecv_runtime.errors import InputError


def test_a_quarter_turn_is_rot90() -> None:
    pixels = np.arange(48, dtype=np.float32).reshape(4, 4, 3)
    assert move(pixels, Movement(90)) == pytest.approx(np.rot90(pixels), abs=1e-3)
    assert move(pixels, Movement()) == pytest.approx(pixels)


def test_a_shift_is_down_and_to_the_right() -> None:
    pixels = np.arange(16, dtype=np.float32).reshape(4, 4, 1)
    expected = np.full((4, 4, 1), 7.0)
    expected[1:, 2:] = pixels[:3, :2]
    assert move(pixels, Movement(0, (0.25, 0.5)), border=7) == pytest.approx(expected)


def test_movements_begin_with_none_and_follow_the_seed() -> None:
    found = movements(5, angle=10, shift=0.1, seed=4)
    assert found[0] == Movement() and found == movements(5, angle=10, shift=0.1, seed=4)
    assert max(abs(each.angle) for each in found) <= 10 and max(abs(s) for each in found for s in each.shift) <= 0.1


def test_the_view_without_movement_is_the_mean_of_each_cell() -> None:
    fine = np.random.default_rng(0).normal(size=(4, 6)).astype(np.float32)
    view = coarse_view(Movement(), (2, 3), 2)
    assert (view @ fine.ravel()).reshape(2, 3) == pytest.approx(fine.reshape(2, 2, 3, 2).mean(axis=(1, 3)), abs=1e-6)


@pytest.mark.parametrize("movement", [Movement(20, (0.1, -0.05)), Movement(-35), Movement(0, (0.3, 0.2))])
def test_a_view_is_opencvs_movement_and_then_the_mean(movement: Movement) -> None:
    fine = np.random.default_rng(1).uniform(size=(24, 24)).astype(np.float32)
    moved = move(fine[..., None], movement)[..., 0]
    expected = moved.reshape(6, 4, 6, 4).mean(axis=(1, 3))
    found = (coarse_view(movement, (6, 6), 4) @ fine.ravel()).reshape(6, 6)
    assert found == pytest.approx(expected, abs=0.02)  # OpenCV interpolates at steps of 1/32 pixel


def test_total_variation_by_hand() -> None:
    """Of a step, D A = identity: each side moves towards the other by λ over its length; μ divides by 1 + μ."""
    step = np.array([[0, 0, 4, 4]], np.float32)
    identity = np.eye(4, dtype=np.float32)
    assert super_resolve(identity, step, (1, 4), tv=0.5, ridge=0, steps=800) == pytest.approx(
        np.array([[0.25, 0.25, 3.75, 3.75]]), abs=1e-3
    )
    assert super_resolve(identity, step, (1, 4), tv=0, ridge=1, steps=800) == pytest.approx(step / 2, abs=1e-3)
    flat = super_resolve(identity, step, (1, 4), tv=10, ridge=0, steps=800)
    assert flat == pytest.approx(np.full((1, 4), 2), abs=1e-2)


def test_more_is_seen_than_in_one_map() -> None:
    """A disc and a bar of a fine map come back from 7×7 views, closer than by interpolating one of them."""
    import cv2

    rows, columns = np.mgrid[:28, :28]
    truth = (((rows - 9) ** 2 + (columns - 10) ** 2 < 30) | ((rows > 18) & (rows < 22) & (columns > 8))).astype(
        np.float32
    )
    moves = movements(40, 30, 0.15)
    views = np.concatenate([coarse_view(each, (7, 7), 4) for each in moves])
    maps = views @ truth.ravel()
    found = super_resolve(views, maps, (28, 28), tv=0.02, ridge=1e-4, steps=300)
    plain = cv2.resize(maps[:49].reshape(7, 7), (28, 28), interpolation=cv2.INTER_LINEAR)
    error, before = (float(np.sqrt(np.mean((each - truth) ** 2))) for each in (found, plain))
    assert error < 0.5 * before


def network() -> Any:
    image = keras.Input((32, 32, 1))
    x = keras.layers.AveragePooling2D(8, name="map")(image)
    return keras.Model(image, keras.layers.Dense(1)(keras.layers.GlobalAveragePooling2D()(x)))


def test_a_blob_is_drawn_finer_than_the_feature_map() -> None:
    model = network()
    model.layers[-1].set_weights([np.ones((1, 1), np.float32), np.zeros(1, np.float32)])
    pixels = np.zeros((32, 32, 1), np.float32)
    pixels[9:15, 17:27] = 1
    coarse, fine = grad_cam(model, pixels), augmented_grad_cam(model, pixels, count=40, factor=4, tv=0.002, ridge=0.001)
    assert coarse.values.shape == (4, 4) and fine.values.shape == (16, 16)
    truth = pixels[..., 0] > 0
    overlap = []
    for heatmap in (coarse, fine):
        found = heatmap.resized((32, 32)) > 0.5
        overlap.append((found & truth).sum() / (found | truth).sum())
    assert overlap[1] > overlap[0] + 0.1
    assert fine.method == "augmented-grad-cam" and fine.class_index == 0


def test_cells_lie_where_their_receptive_fields_are() -> None:
    """A map whose cells are half a cell too far up: Grad-CAM draws the blob there, the fine map where it is."""
    image = keras.Input((32, 32, 1))
    x = keras.layers.ZeroPadding2D(((0, 4), (0, 4)))(keras.layers.Cropping2D(((4, 0), (4, 0)))(image))
    x = keras.layers.AveragePooling2D(8, name="map")(x)
    model = keras.Model(image, keras.layers.Dense(1)(keras.layers.GlobalAveragePooling2D()(x)))
    model.layers[-1].set_weights([np.ones((1, 1), np.float32), np.zeros(1, np.float32)])
    assert cell_offset(model, "map", (4, 4)) == (0.5, 0.5)
    pixels = np.zeros((32, 32, 1), np.float32)
    pixels[12:20, 12:20] = 1  # its middle: 15.5
    middles = []
    for heatmap in (
        grad_cam(model, pixels),
        augmented_grad_cam(model, pixels, count=40, factor=4, tv=0.002, ridge=0.001),
    ):
        weights = heatmap.resized((32, 32))
        middles.append(float((weights.sum(axis=1) * np.arange(32)).sum() / weights.sum()))
    assert middles[0] == pytest.approx(11.5, abs=0.5)
    assert middles[1] == pytest.approx(15.5, abs=0.75)


def test_refused() -> None:
    with pytest.raises(InputError, match="factor must be at least 2; received 1"):
        augmented_grad_cam(network(), np.zeros((32, 32, 1)), factor=1)
    with pytest.raises(InputError, match="the number of movements must be at least 1; received 0"):
        movements(0)
    with pytest.raises(InputError, match="λ and μ must not be negative; received -1 and 0"):
        super_resolve(np.eye(4), np.ones(4), (2, 2), tv=-1, ridge=0)
    with pytest.raises(InputError, match=r"views must be \(4, 6\); received \(4, 4\)"):
        super_resolve(np.eye(4), np.ones(4), (2, 3), tv=0, ridge=0)
