"""EfficientNet-Lite against what its authors publish."""

from __future__ import annotations

import math

import keras
import pytest

import edgecv
from edgecv.models.efficientnet_lite import LITE
from edgecv.models.registry import get_record


@pytest.mark.parametrize(
    ("variant", "millions", "size"),
    [("lite0", 4.7, 224), ("lite1", 5.4, 240), ("lite2", 6.1, 260), ("lite3", 8.2, 280), ("lite4", 13.0, 300)],
)
def test_published_parameters_and_resolutions(variant: str, millions: float, size: int) -> None:
    model = edgecv.create_model(f"efficientnet_{variant}")
    trainable = sum(math.prod(weight.shape) for weight in model.trainable_weights)
    assert round(trainable / 1e6, 1) == millions
    assert model.input_shape == (None, size, size, 3)
    assert model.count_params() == get_record(f"efficientnet_{variant}").parameters


def test_lite0_is_b0_without_squeeze_excite_and_normalisation() -> None:
    b0, lite0 = edgecv.create_model("efficientnet_b0"), edgecv.create_model("efficientnet_lite0")
    gone = sum(layer.count_params() for layer in b0.layers if "_se_" in layer.name)
    assert b0.count_params() - gone - 7 == lite0.count_params()  # 7: mean, variance and count of the normalisation


@pytest.mark.parametrize("variant", list(LITE))
def test_stem_and_head_are_not_scaled(variant: str) -> None:
    model = edgecv.create_model(f"efficientnet_{variant}")
    assert model.get_layer("stem_conv").filters == 32
    assert model.get_layer("top_conv").filters == 1280
    project = [layer.name for layer in model.layers if layer.name.endswith("project_conv")]
    assert sum(name.startswith("block1") for name in project) == 1
    assert sum(name.startswith("block7") for name in project) == 1
    assert sum(name.startswith("block6") for name in project) == math.ceil(4 * LITE[variant].depth)


def test_only_operators_that_int8_devices_like() -> None:
    model = edgecv.create_model("efficientnet_lite0")
    kinds = {type(layer).__name__ for layer in model.layers}
    assert kinds == {
        "InputLayer",
        "Conv2D",
        "DepthwiseConv2D",
        "BatchNormalization",
        "ReLU",
        "Dropout",
        "Add",
        "GlobalAveragePooling2D",
        "Dense",
        "Activation",
    }
    assert {layer.max_value for layer in model.layers if isinstance(layer, keras.layers.ReLU)} == {6.0}
    assert [layer.name for layer in model.layers if isinstance(layer, keras.layers.Activation)] == ["probabilities"]


def test_preprocessing_is_that_of_the_reference() -> None:
    preprocessing = get_record("efficientnet_lite3").preprocessing
    assert preprocessing.mean == (127.0, 127.0, 127.0)
    assert preprocessing.std == (128.0, 128.0, 128.0)
    assert preprocessing.resize.crop_fraction == 280 / 312
    assert preprocessing.resize.interpolation == "cubic"
