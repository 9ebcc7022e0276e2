"""Edge filters on pictures worked by hand."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from edgecv.layers.edges import EdgeKernel, edge_filter, edge_kernel
from edgecv.receptive_field import receptive_fields
from edgecv_runtime.errors import InputError

# The course's picture: 6×6, ten on the left half, nothing on the right.
HALF = np.repeat([[10, 10, 10, 0, 0, 0]], 6, axis=0).astype(np.float32)


def run(picture: np.ndarray, *arguments: Any, **options: Any) -> np.ndarray:
    image = keras.Input((*picture.shape, 1))
    model = keras.Model(image, edge_filter(image, *arguments, **options))
    return np.asarray(model(picture[None, ..., None]))[0, ..., 0]


@pytest.mark.parametrize(("operator", "step"), [("prewitt", 30), ("sobel", 40), ("scharr", 160)])
def test_a_vertical_edge(operator: str, step: float) -> None:
    expected = np.repeat([[0, step, step, 0]], 4, axis=0)
    assert (run(HALF, operator, "vertical", padding="valid") == expected).all()
    assert (run(HALF.T, operator, "horizontal", padding="valid") == expected.T).all()
    assert not run(HALF, operator, "horizontal", padding="valid").any()
    assert (run(HALF[:, ::-1], operator, "vertical", padding="valid") == -expected).all()
    assert (run(HALF, operator, "magnitude", padding="valid") == expected).all()
    assert run(HALF, operator, "vertical", padding="valid", normalize=True)[0] == pytest.approx(
        [0, 10, 10, 0], abs=1e-5
    )


def test_kernels_are_the_published_ones() -> None:
    assert edge_kernel("prewitt", "vertical").tolist() == [[1, 0, -1], [1, 0, -1], [1, 0, -1]]
    assert edge_kernel("sobel", "horizontal").tolist() == [[1, 2, 1], [0, 0, 0], [-1, -2, -1]]
    assert edge_kernel("scharr", "vertical").tolist() == [[3, 0, -3], [10, 0, -10], [3, 0, -3]]


def test_sobel_is_opencvs() -> None:
    import cv2

    picture = np.random.default_rng(0).uniform(0, 255, (9, 11)).astype(np.float32)
    dx, dy = (cv2.Sobel(picture, cv2.CV_32F, *order)[1:-1, 1:-1] for order in ((1, 0), (0, 1)))
    assert run(picture, "sobel", "vertical", padding="valid") == pytest.approx(-dx, abs=1e-3)
    assert run(picture, "sobel", padding="valid") == pytest.approx(np.hypot(dx, dy), rel=1e-4, abs=1e-2)


def test_every_channel_alone_and_never_trained() -> None:
    image = keras.Input((6, 6, 3))
    model = keras.Model(image, edge_filter(image, "prewitt", name="front"))
    assert model.output_shape == (None, 6, 6, 3)
    assert not model.trainable_weights
    pixels = np.stack([HALF, HALF.T, np.zeros((6, 6), np.float32)], axis=2)
    found = np.asarray(model(pixels[None]))[0, 1:-1, 1:-1]
    assert (found[..., 0] == found[..., 1].T).all() and found[0, 1, 0] == 30 and not found[..., 2].any()
    fields = receptive_fields(model)
    last = list(fields.values())[-1]
    assert last is not None and last.size == (3, 3)


def test_a_saved_model_keeps_the_filter(tmp_path: Any) -> None:
    image = keras.Input((6, 6, 1))
    model = keras.Model(image, edge_filter(image, "scharr", "vertical", normalize=True))
    model.save(tmp_path / "edges.keras")
    restored = keras.saving.load_model(tmp_path / "edges.keras")
    assert restored.layers[-1].depthwise_initializer.get_config() == {
        "operator": "scharr",
        "direction": "vertical",
        "scale": 16.0,
    }
    assert (np.asarray(restored(HALF[None, ..., None])) == np.asarray(model(HALF[None, ..., None]))).all()


def test_refused() -> None:
    with pytest.raises(InputError, match="operator must be one of prewitt, sobel, scharr; received 'canny'"):
        EdgeKernel("canny")
    with pytest.raises(InputError, match="direction must be vertical or horizontal; received 'magnitude'"):
        edge_kernel("sobel", "magnitude")
    with pytest.raises(InputError, match="direction must be one of vertical, horizontal, magnitude; received 'up'"):
        edge_filter(keras.Input((6, 6, 1)), direction="up")
