"""Pooling with indices and back, by hand."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from edgecv.layers.unpooling import MaxPoolingWithIndices, MaxUnpooling
from edgecv.receptive_field import receptive_fields
from edgecv_runtime.errors import InputError

PICTURE = np.array(
    [
        [5, 1, 0, 2],
        [0, 3, 1, 0],
        [1, 1, -4, -3],
        [9, 1, -2, -1],
    ],
    np.float32,
)


def test_by_hand() -> None:
    values, places = MaxPoolingWithIndices()(PICTURE[None, ..., None])
    assert np.asarray(values)[0, ..., 0].tolist() == [[5, 2], [9, -1]]
    assert np.asarray(places)[0, ..., 0].tolist() == [[0, 1], [2, 3]]
    back = np.asarray(MaxUnpooling()([values, places]))[0, ..., 0]
    assert back.tolist() == [[5, 0, 0, 2], [0, 0, 0, 0], [0, 0, 0, 0], [9, 0, 0, -1]]


def test_of_equal_values_the_first_counts() -> None:
    _, places = MaxPoolingWithIndices()(np.zeros((1, 2, 2, 1), np.float32))
    assert np.asarray(places).tolist() == [[[[0]]]]


def test_maxima_are_those_of_max_pooling_and_go_back_to_where_they_were() -> None:
    pixels = np.random.default_rng(0).normal(size=(2, 6, 8, 3)).astype(np.float32)
    values, places = MaxPoolingWithIndices()(pixels)
    assert (np.asarray(values) == np.asarray(keras.layers.MaxPooling2D(2)(pixels))).all()
    back = np.asarray(MaxUnpooling()([values, places]))
    assert back.shape == pixels.shape
    assert (back[back != 0] == pixels[back != 0]).all()
    assert (back != 0).reshape(2, 3, 2, 4, 2, 3).sum(axis=(2, 4)).tolist() == np.ones((2, 3, 4, 3), int).tolist()


def test_in_a_model() -> None:
    image = keras.Input((4, 8, 2))
    values, places = MaxPoolingWithIndices(name="pool")(image)
    model = keras.Model(image, MaxUnpooling(name="unpool")([values, places]))
    assert model.output_shape == (None, 4, 8, 2)
    fields = receptive_fields(model)
    assert fields["pool"] is not None and fields["pool"].size == (2, 2) and fields["pool"].stride == (2, 2)
    assert fields["unpool"] is not None and fields["unpool"].stride == (1, 1)
    restored = keras.Model.from_config(model.get_config())
    pixels = np.random.default_rng(1).normal(size=(1, 4, 8, 2)).astype(np.float32)
    assert (np.asarray(restored(pixels)) == np.asarray(model(pixels))).all()


def test_odd_sizes_are_refused() -> None:
    with pytest.raises(InputError, match="pooling with indices needs an even height and width; received 5x4"):
        MaxPoolingWithIndices()(keras.Input((5, 4, 1)))
