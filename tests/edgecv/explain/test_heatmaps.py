"""CAM, Grad-CAM, occlusion and boxes on networks small enough to work by hand."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from edgecv.explain.activation_maps import cam, grad_cam
from edgecv.explain.gradients import gradient
from edgecv.explain.heatmap import Heatmap
from edgecv.explain.localization import localize
from edgecv.explain.network import Network
from edgecv.explain.occlusion import occlusion
from edgecv_runtime.errors import InputError, UnsupportedError

layers = keras.layers
HEAD = np.array([[1.0, -2.0, 0.5], [3.0, 1.0, 0.0]], np.float32)  # w_k^c of two maps and three classes


def network(activation: str | None = "softmax", separate: bool = True) -> Any:
    """2×2 sums of a one-channel picture and their negatives, averaged, and HEAD."""
    image = keras.Input((8, 8, 1))
    x = layers.Conv2D(2, 2, strides=2, use_bias=False, name="maps")(image)
    x = layers.ReLU(name="features")(x)
    x = layers.GlobalAveragePooling2D()(x)
    x = layers.Dense(3, activation=None if separate else activation, name="scores")(x)
    if separate and activation:
        x = layers.Activation(activation)(x)
    model = keras.Model(image, x)
    kernel = np.ones((2, 2, 1, 2), np.float32)
    kernel[..., 1] = -1
    model.get_layer("maps").set_weights([kernel])
    model.get_layer("scores").set_weights([HEAD, np.array([0.0, 0.5, 0.0], np.float32)])
    return model


@pytest.fixture
def picture() -> np.ndarray:
    pixels = np.zeros((8, 8, 1), np.float32)
    pixels[0:2, 0:2], pixels[4:6, 2:4] = 1, -2  # first map: 4 at (0, 0); second map: 8 at (2, 1)
    return pixels


def test_cam_by_hand(picture: np.ndarray) -> None:
    found = cam(network(), picture, 0)
    expected = np.zeros((4, 4))
    expected[0, 0], expected[2, 1] = 1 * 4, 3 * 8
    assert found.values == pytest.approx(expected)
    assert found.score == pytest.approx(expected.mean())  # the class's score, without a bias
    second = cam(network(), picture, 1)
    assert second.values[0, 0] == -8 and second.values[2, 1] == 8
    assert second.score == pytest.approx(0.5)


def test_the_best_class_is_the_default(picture: np.ndarray) -> None:
    # Scores 28/16, 0 + 0.5, 2/16.
    assert cam(network(), picture).class_index == grad_cam(network(), picture).class_index == 0


@pytest.mark.parametrize(("activation", "separate"), [("softmax", True), ("softmax", False), (None, True)])
def test_grad_cam_of_a_pooled_head_is_cam_over_the_places(
    activation: str | None, separate: bool, picture: np.ndarray
) -> None:
    """Selvaraju et al. 2017, section 3.1: they agree up to the number of places, and the ReLU."""
    model = network(activation, separate)
    for class_index in range(3):
        expected = np.maximum(cam(model, picture, class_index).values, 0) / 16
        found = grad_cam(model, picture, class_index)
        assert found.values == pytest.approx(expected, abs=1e-6)
        assert found.score == pytest.approx(cam(model, picture, class_index).score)


def test_the_gradient_reaches_through_branches() -> None:
    """y = 3 · mean(a) + mean(a²), a used twice: ∂y/∂a = (3 + 2 a) / 4."""
    image = keras.Input((2, 2, 1))
    a = layers.Rescaling(2.0, name="a")(image)
    total = layers.Add()([layers.Rescaling(3.0)(a), layers.Multiply()([a, a])])
    model = keras.Model(image, layers.GlobalAveragePooling2D()(total))
    pixels = np.array([[1, 2], [3, 4]], np.float32)[None, ..., None]
    features, slopes, scores = Network(model, "a").sensitivity(pixels, 0)
    assert features == pytest.approx(2 * pixels)
    assert slopes == pytest.approx((3 + 4 * pixels) / 4)
    assert scores.ravel().tolist() == [(3 * 20 + 4 * 30) / 4]


def test_a_function_that_does_not_depend_has_no_gradient() -> None:
    value, slope = gradient(lambda x: keras.ops.ones((2, 3)), np.ones((2, 4)))
    assert value.shape == (2, 3) and slope.tolist() == np.zeros((2, 4)).tolist()


def test_a_back_end_without_gradients_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keras.backend, "backend", lambda: "numpy")
    with pytest.raises(UnsupportedError, match="gradients need Keras on tensorflow, jax, torch; it runs on numpy"):
        gradient(lambda x: x, np.ones(3))


def test_occlusion_by_hand(picture: np.ndarray) -> None:
    """Covering a corner of the picture takes away what it adds: 4 · 1 / 16 of class 0 at the left above."""
    found = occlusion(network(None), picture, 0, patch=2, stride=2)
    expected = np.zeros((4, 4))
    expected[0, 0], expected[2, 1] = 4 / 16, 24 / 16
    assert found.values == pytest.approx(expected)
    assert occlusion(network(None), picture, 0, patch=3, stride=3).values.shape == (3, 3)  # at 0, 3 and 5


def test_box_by_hand() -> None:
    values = np.zeros((4, 4), np.float32)
    values[1, 1:3] = 1.0
    values[3, 3] = 0.19
    values[0, 3] = 0.5  # touches (1, 2) by its corner
    assert localize(Heatmap(values, 0, 0, ""), (4, 4)).tolist() == [1, 0, 4, 2]
    values[0, 3] = 0
    assert localize(Heatmap(values, 0, 0, ""), (4, 4)).tolist() == [1, 1, 3, 2]
    values[3, :] = (0.9, 0.9, 0.9, 0.9)  # larger, though not as high
    assert localize(Heatmap(values, 0, 0, ""), (4, 4)).tolist() == [0, 3, 4, 4]
    assert localize(Heatmap(values * 0 - 1, 0, 0, ""), (5, 7)).tolist() == [0, 0, 7, 5]


def test_plot_is_red_where_it_counts() -> None:
    values = np.array([[1, 0], [0, -5]], np.float32)
    drawn = Heatmap(values, 0, 0, "").plot(np.full((20, 30, 3), 128, np.uint8))
    assert drawn.shape == (20, 30, 3) and drawn.dtype == np.uint8
    assert drawn[0, 0].tolist() == [174, 64, 64]  # half of (220, 0, 0), half of the picture
    assert drawn[-1, -1].tolist() == [64, 64, 144]


def test_refused(picture: np.ndarray) -> None:
    model = network()
    with pytest.raises(InputError, match="class must be 0 to 2; received 3"):
        grad_cam(model, picture, 3)
    with pytest.raises(InputError, match=r"inputs must be \(N, 8, 8, 1\); received \(1, 8, 9, 1\)"):
        cam(model, np.zeros((8, 9, 1)))
    with pytest.raises(InputError, match="the model has no layer 'conv9'"):
        grad_cam(model, picture, layer="conv9")
    with pytest.raises(InputError, match="layer 'scores' must give a feature map"):
        grad_cam(model, picture, layer="scores")
    with pytest.raises(InputError, match="CAM needs global average pooling and one linear layer"):
        cam(model, picture, layer="maps")
    with pytest.raises(InputError, match="patch must be 1 to 8 pixels and stride at least 1; received 9 and 1"):
        occlusion(model, picture, patch=9, stride=1)
    with pytest.raises(InputError, match="threshold must be between 0 and 1; received 1"):
        localize(Heatmap(np.ones((2, 2), np.float32), 0, 0, ""), (4, 4), 1)
