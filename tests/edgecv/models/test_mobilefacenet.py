"""MobileFaceNet against the figures and table 1 of its paper."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
import pytest

import edgecv
from edgecv.complexity import complexity
from edgecv.models.registry import get_record
from edgecv_runtime.errors import InputError


@pytest.fixture(scope="module")
def model() -> Any:
    return edgecv.create_model("mobilefacenet")


def test_published_parameters_and_multiply_adds(model: Any) -> None:
    # Table 2 of the paper: 0.99 million parameters; section 4: 221 million multiply-adds.
    def bottleneck(channels: int, expansion: int, filters: int) -> int:
        return expansion * channels * (channels + 9 + filters)

    convolutions = (
        3 * 9 * 64
        + 9 * 64
        + 5 * bottleneck(64, 2, 64)
        + bottleneck(64, 4, 128)
        + 6 * bottleneck(128, 2, 128)
        + bottleneck(128, 4, 128)
        + 2 * bottleneck(128, 2, 128)
        + 128 * 512
        + 49 * 512
        + 512 * 128
    )
    kernels = [w for layer in model.layers if "Conv" in type(layer).__name__ for w in layer.weights]
    assert sum(math.prod(w.shape) for w in kernels) == convolutions == 976_000
    # As it is deployed: batch norms folded into a bias for each channel, a slope for each channel of a PReLU.
    slopes = sum(layer.count_params() for layer in model.layers if isinstance(layer, keras.layers.PReLU))
    biases = sum(layer.beta.shape[0] for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization))
    assert round((convolutions + biases + slopes) / 1e6, 2) == 0.99
    assert round(complexity(model).macs / 1e6) == 221


def test_rows_are_table_1(model: Any) -> None:
    shapes = {layer.name: tuple(layer.output.shape[1:]) for layer in model.layers}
    assert shapes["conv1"] == shapes["conv2_depthwise"] == (56, 56, 64)
    assert [shapes[f"block{stage}_0_project"] for stage in range(1, 6)] == [
        (28, 28, 64),
        (14, 14, 128),
        (14, 14, 128),
        (7, 7, 128),
        (7, 7, 128),
    ]
    assert [shapes[f"block{stage}_0_expand"][-1] for stage in range(1, 6)] == [128, 256, 256, 512, 256]
    repeats = [sum(n.startswith(f"block{stage}_") and n.endswith("project") for n in shapes) for stage in range(1, 6)]
    assert repeats == [5, 1, 6, 1, 2]
    # Shortcuts wherever a block keeps its shape: 4 + 0 + 6 + 0 + 2.
    assert sum(name.endswith("_add") for name in shapes) == 12
    assert shapes["conv3"] == (7, 7, 512) and shapes["global_depthwise"] == (1, 1, 512)
    assert shapes["embedding"] == (1, 1, 128) and model.output_shape == (None, 128)


def test_linear_layers_have_no_activation(model: Any) -> None:
    kinds = [type(layer).__name__ for layer in model.layers]
    assert kinds.count("PReLU") == 33  # as the published network has
    assert kinds[-5:] == ["DepthwiseConv2D", "BatchNormalization", "Conv2D", "BatchNormalization", "Flatten"]


def test_the_global_convolution_weighs_positions(model: Any) -> None:
    """Equation 1 of the paper: each channel's map times a kernel of its own, summed."""
    layer = model.get_layer("global_depthwise")
    features = np.random.default_rng(0).normal(size=(2, 7, 7, 512)).astype(np.float32)
    expected = np.einsum("nijm,ijm->nm", features, np.asarray(layer.kernel)[..., 0])
    assert np.asarray(layer(features)).reshape(2, 512) == pytest.approx(expected, abs=1e-4)


def test_options() -> None:
    small = edgecv.create_model("mobilefacenet", (64, 48, 3), alpha=0.25, dimension=32, activation="relu6")
    assert small.output_shape == (None, 32)
    assert small.get_layer("conv1").filters == 16
    assert small.get_layer("global_depthwise").kernel_size == (4, 3)
    assert not any(isinstance(layer, keras.layers.PReLU) for layer in small.layers)
    features = edgecv.create_model("mobilefacenet", include_top=False)
    assert features.output_shape == (None, 7, 7, 512)


def test_preprocessing_is_the_papers() -> None:
    preprocessing = get_record("mobilefacenet").preprocessing
    assert (preprocessing.mean, preprocessing.std) == ((127.5,) * 3, (128.0,) * 3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"activation": "tanh"}, "activation must be one of prelu, relu6; received 'tanh'"),
        ({"dimension": 1}, r"dimension must be a whole number in \[2, 4096\]; received 1"),
        ({"classes": 10}, r"mobilefacenet ends in no classes \(task embedding\); received classes=10"),
        ({"input_shape": (16, 16, 3)}, "at least 32x32 pixels; received 16x16"),
        ({"classifier_activation": None}, "has no argument 'classifier_activation'"),
        ({"weights": "imagenet"}, "not classes of ImageNet"),
    ],
)
def test_refused(options: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        edgecv.create_model("mobilefacenet", **options)
