"""Edge filters and unpooling by stored indices go through the export road like any layer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgecv.models.registry import Preprocessing
from edgecv_export import export
from edgecv_runtime import load

PIXELS = Preprocessing(mean=(0.0,) * 3, std=(255.0,) * 3)


@pytest.fixture(scope="module")
def edges() -> Any:
    """What share of each channel's edges is vertical, horizontal, and how strong they are, as three classes."""
    import keras

    from edgecv.layers.edges import edge_filter

    keras.utils.set_random_seed(0)
    image = keras.Input((32, 32, 3))
    found = [edge_filter(image, "sobel", which, normalize=True, name=which) for which in ("vertical", "horizontal")]
    strength = edge_filter(image, "scharr", "magnitude", normalize=True, name="strength")
    x = keras.layers.Concatenate()([*(keras.layers.ReLU()(each) for each in found), strength])
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(image, keras.layers.Softmax()(keras.layers.Dense(3)(x)), name="edges")


@pytest.fixture(scope="module")
def unpooled() -> Any:
    """A convolution on what comes back from two rounds of pooling with indices."""
    import keras

    from edgecv.layers.unpooling import MaxPoolingWithIndices, MaxUnpooling

    keras.utils.set_random_seed(1)
    layers = keras.layers
    image = keras.Input((32, 32, 3))
    x = layers.Conv2D(4, 3, padding="same", activation="relu")(image)
    x, first = MaxPoolingWithIndices(name="pool1")(x)
    x = layers.Conv2D(4, 3, padding="same", activation="relu")(x)
    x, second = MaxPoolingWithIndices(name="pool2")(x)
    x = layers.Conv2D(4, 3, padding="same", activation="relu")(MaxUnpooling(name="unpool2")([x, second]))
    x = layers.Conv2D(4, 3, padding="same", activation="relu")(MaxUnpooling(name="unpool1")([x, first]))
    x = layers.GlobalMaxPooling2D()(x)
    return keras.Model(image, layers.Softmax()(layers.Dense(3)(x)), name="unpooled")


@pytest.fixture(scope="module")
def pictures() -> list[np.ndarray]:
    import cv2

    from edgecv_export.calibration import contract_pictures

    return [cv2.resize(picture, (32, 32)) for picture in contract_pictures((32, 32), 24)]


@pytest.mark.parametrize("precision", ["fp32", "int8"])
@pytest.mark.parametrize("format", ["tflite", "onnx", "openvino"])
@pytest.mark.parametrize("model", ["edges", "unpooled"])
def test_exported(
    model: str, format: str, precision: str, request: pytest.FixtureRequest, pictures: list, tmp_path: Path
) -> None:
    source: Any = request.getfixturevalue(model)
    calibration = pictures if precision == "int8" else None
    export(
        source,
        tmp_path / "it.edgecv",
        format=format,
        precision=precision,
        calibration=calibration,
        preprocessing=PIXELS,
    )
    expected = np.asarray(source(np.stack(pictures).astype(np.float32) / 255))
    with load(tmp_path / "it.edgecv") as loaded:
        results = [loaded(picture) for picture in pictures]
    found = np.stack([result.scores[np.argsort(result.indices)] for result in results])
    assert found == pytest.approx(expected, abs=1e-4 if precision == "fp32" else 0.05)
