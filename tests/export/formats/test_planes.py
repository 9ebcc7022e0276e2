"""Layers of volumes computed plane by plane: the values are Keras's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgecv_runtime.errors import UnsupportedError


def same_values(layer: Any, atol: float) -> None:
    import keras

    from edgecv_export.formats.planes import in_planes
    from edgecv_export.formats.tracing import run_in_scopes

    volume = keras.Input((5, 7, 6, 3))
    network = keras.Model(volume, layer(volume))
    values = np.random.default_rng(0).normal(0, 1, (1, 5, 7, 6, 3)).astype(np.float32)
    wanted = np.asarray(network(values))
    kinds = ("MaxPooling3D", "Conv3D")
    assert in_planes(layer, kinds) is not None
    found = np.asarray(run_in_scopes(network, values, planes=kinds))
    assert found.shape == wanted.shape
    np.testing.assert_allclose(found, wanted, atol=atol)


@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize(
    ("pool", "strides"), [((2, 2, 2), None), ((3, 2, 2), (2, 2, 1)), ((1, 3, 2), None), ((2, 3, 3), (1, 1, 1))]
)
def test_poolings(pool: tuple[int, ...], strides: tuple[int, ...] | None, padding: str) -> None:
    import keras

    same_values(keras.layers.MaxPooling3D(pool, strides, padding), atol=0)


@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize(
    ("size", "strides", "dilation"),
    [
        ((3, 3, 3), (1, 1, 1), (1, 1, 1)),
        ((2, 3, 1), (2, 1, 1), (1, 1, 1)),
        ((3, 2, 2), (2, 2, 2), (1, 1, 1)),
        ((1, 3, 3), (1, 2, 2), (1, 1, 1)),
        ((2, 2, 2), (1, 1, 1), (3, 2, 1)),
    ],
)
def test_convolutions(size: Any, strides: Any, dilation: Any, padding: str) -> None:
    import keras

    keras.utils.set_random_seed(0)
    layer = keras.layers.Conv3D(
        4, size, strides, padding, dilation_rate=dilation, activation="relu", bias_initializer="random_normal"
    )
    same_values(layer, atol=1e-5)


def test_other_layers_are_left_alone() -> None:
    import keras

    from edgecv_export.formats.planes import in_planes

    assert in_planes(keras.layers.MaxPooling3D(2), ()) is None
    assert in_planes(keras.layers.MaxPooling2D(2), ("MaxPooling3D", "Conv3D")) is None
    assert in_planes(keras.layers.Conv3D(4, 3, groups=2), ("Conv3D",)) is None


def test_what_tflite_would_leave_in_float_is_refused(tmp_path: Path) -> None:
    import keras

    from edgecv.models.registry import Preprocessing
    from edgecv_export.exporter import export

    volume = keras.Input((4, 4, 4, 2))
    x = keras.layers.Conv3DTranspose(2, 2, name="up")(volume)
    network = keras.Model(volume, keras.layers.Dense(3, name="last")(keras.layers.Flatten()(x)))
    calibration = np.random.default_rng(0).normal(0, 1, (4, 4, 4, 4, 2))
    with pytest.raises(UnsupportedError, match="TFLite computes transposed 3-D convolutions in float alone"):
        export(
            network,
            tmp_path / "x.edgecv",
            precision="int8",
            calibration=calibration,
            task="volume-classification",
            preprocessing=Preprocessing((0.0,), (1.0,)),
        )
