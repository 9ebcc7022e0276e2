"""MobileNet v2 against the paper and keras.applications."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import edgecv
from edgecv.models.mobilenet_v2 import mobilenet_v2


@pytest.mark.parametrize(
    ("alpha", "parameters"),
    # Keras's published counts; table 4 of the paper has 3.4 million for 1.0, without batch statistics.
    [(1.0, 3_538_984), (1.4, 6_156_712)],
)
def test_parameter_counts(alpha: float, parameters: int) -> None:
    assert mobilenet_v2((32, 32, 3), alpha=alpha).count_params() == parameters


def test_body_is_table_2() -> None:
    model = mobilenet_v2()
    shapes = {layer.name: tuple(layer.output.shape[1:]) for layer in model.layers}
    assert shapes["Conv1"] == (112, 112, 32)
    assert shapes["expanded_conv_project"] == (112, 112, 16)
    assert shapes["block_2_project"] == (56, 56, 24)
    assert shapes["block_5_project"] == (28, 28, 32)
    assert shapes["block_9_project"] == (14, 14, 64)
    assert shapes["block_12_project"] == (14, 14, 96)
    assert shapes["block_15_project"] == (7, 7, 160)
    assert shapes["block_16_project"] == (7, 7, 320)
    assert shapes["Conv_1"] == (7, 7, 1280)
    assert sum(isinstance(layer, keras.layers.Add) for layer in model.layers) == 10


@pytest.mark.parametrize(("alpha", "size"), [(1.0, (224, 224)), (0.35, (96, 96)), (0.75, (97, 131)), (1.3, (64, 33))])
def test_same_answers_as_keras_applications(
    alpha: float, size: tuple[int, int], randomise: Callable[..., None], picture: Callable[..., np.ndarray]
) -> None:
    reference = keras.applications.MobileNetV2((*size, 3), alpha=alpha, weights=None)
    randomise(reference)
    ours = mobilenet_v2((*size, 3), alpha=alpha)
    ours.set_weights(reference.get_weights())
    batch = picture(*size, count=2) / 127.5 - 1
    expected = np.asarray(reference(batch, training=False))
    assert expected.max() > 0.003  # not the uniform 0.001: the comparison means something
    assert np.abs(np.asarray(ours(batch, training=False)) - expected).max() <= 1e-5


def test_layers_with_weights_have_the_official_names_and_shapes() -> None:
    def inventory(model: Any) -> list[tuple[str, list[tuple[int, ...]]]]:
        return [
            (layer.name, [tuple(weight.shape) for weight in layer.weights]) for layer in model.layers if layer.weights
        ]

    assert inventory(mobilenet_v2()) == inventory(keras.applications.MobileNetV2(weights=None))


def test_batch_normalisation_has_the_official_settings() -> None:
    ours, reference = mobilenet_v2((32, 32, 3)), keras.applications.MobileNetV2((32, 32, 3), weights=None)
    for layer in ours.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            other = reference.get_layer(layer.name)
            assert (layer.momentum, layer.epsilon) == (other.momentum, other.epsilon) == (0.999, 1e-3)


@pytest.mark.data
def test_keras_3_file_gives_what_keras_applications_gives(data_dir: Path, picture: Callable[..., np.ndarray]) -> None:
    path = data_dir / "models/classification/mobilenet_v2_1.0_224_dequant.weights.h5"
    model = edgecv.create_model("mobilenet_v2", weights=path)
    reference = keras.applications.MobileNetV2(weights=None)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Skipping nested container")
        reference.load_weights(path)
    batch = picture(224, 224) / 127.5 - 1
    expected = np.asarray(reference(batch, training=False))
    assert np.abs(np.asarray(model(batch, training=False)) - expected).max() <= 1e-5
