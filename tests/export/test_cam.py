"""Class activation maps of a bundle are those of the Keras model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

import edgecv_runtime as ert
from edgecv.explain.activation_maps import cam
from edgecv.models.registry import Preprocessing
from edgecv_export.calibration import generated_images
from edgecv_export.exporter import export
from edgecv_export.sources import source_of
from edgecv_runtime.errors import InputError

HALF = Preprocessing(mean=(127.5,) * 3, std=(127.5,) * 3)


@pytest.fixture(scope="module")
def pictures() -> tuple[np.ndarray, ...]:
    """Of the input's own size: the map's places lie on whole pixels."""
    return generated_images(6, (32, 32))


@pytest.fixture(scope="module")
def classifier() -> Any:
    keras.utils.set_random_seed(4)
    image = keras.Input((32, 32, 3))
    x = layers.ReLU(6.0)(layers.Conv2D(8, 3, strides=4, padding="same", name="first")(image))
    x = layers.ReLU(6.0, name="maps")(layers.Conv2D(12, 3, strides=2, padding="same", name="second")(x))
    x = layers.Dense(5, name="classes")(layers.GlobalAveragePooling2D(name="pool")(x))
    return keras.Model(image, layers.Softmax(name="probabilities")(x))


@pytest.mark.parametrize("format", ["tflite", "onnx", "openvino"])
@pytest.mark.parametrize("precision", ["fp32", pytest.param("int8", marks=pytest.mark.slow)])
def test_the_maps_of_a_bundle(
    classifier: Any, pictures: tuple[np.ndarray, ...], format: str, precision: str, tmp_path: Path
) -> None:
    path = tmp_path / "c.edgecv"
    done = export(
        classifier, path, format=format, precision=precision, calibration=pictures, preprocessing=HALF, cam=True
    )
    assert [spec.name for spec in done.manifest.outputs] == ["probabilities", "maps"]
    values = source_of(classifier, HALF).normalize(np.stack(pictures))
    with ert.load(path) as model:
        for image, value in zip(pictures, values, strict=True):
            result = model(image)
            for index in (0, 3):
                wanted = cam(classifier, value, index).values
                found = result.maps.map_of(index)
                limit = 5e-3 if precision == "fp32" else 0.1  # weights travel as float16
                np.testing.assert_allclose(found, wanted, atol=limit * max(1, np.abs(wanted).max()))
                assert result.cam(index)[3, 3] == pytest.approx(found[0, 0], abs=1.0)
    assert ert.verify(path).passed


def test_other_heads_are_refused(tmp_path: Path) -> None:
    image = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 3)(image)
    flat = keras.Model(image, layers.Dense(3)(layers.Flatten()(x)))
    with pytest.raises(InputError, match="CAM needs global average pooling and one linear layer"):
        export(flat, tmp_path / "c.edgecv", preprocessing=HALF, cam=True)
    maps = keras.Model(image, x)
    with pytest.raises(InputError, match="class activation maps are of classifiers; this is a segmentation model"):
        export(maps, tmp_path / "c.edgecv", preprocessing=HALF, cam=True, task="segmentation")
