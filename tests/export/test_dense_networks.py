"""Segmenters and the auto-encoder through the three converters: their artefacts compute what Keras computes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edgecv.models.factory import create_model
from edgecv_export.plan import Plan
from edgecv_export.sources import source_of
from edgecv_runtime.backends import open_backend

# Input and options: small, and each of its kind (cropping, unpooling, transposed and dilated convolutions).
NETWORKS: dict[str, tuple[tuple[int, int, int], dict[str, Any]]] = {
    "unet": ((188, 188, 1), {"filters": 2}),
    "unet_same": ((32, 32, 1), {"filters": 4}),
    "segnet": ((64, 64, 3), {"alpha": 0.1}),
    "deeplab_mobilenet_v2": ((64, 64, 3), {"alpha": 0.35}),
    "fcn8s": ((64, 64, 3), {"alpha": 0.05}),
    "autoencoder": ((32, 32, 1), {}),
}


# In int8 with random weights: DeepLab's fifty layers and SegNet's stored places are too sensitive to say anything.
INT8 = ("unet", "unet_same")


@pytest.fixture(scope="module", params=NETWORKS)
def model(request: pytest.FixtureRequest) -> Any:
    """The network with weights that keep a signal alive, and batch norms that have seen it."""
    shape, options = NETWORKS[request.param]
    model = create_model(request.param, shape, **options)
    generator = np.random.default_rng(0)
    for weight in model.weights:
        if weight.path.endswith("kernel"):
            fan_in = np.prod(weight.shape[:2] if "depthwise" in weight.path else weight.shape[:-1])
            weight.assign(generator.normal(0, np.sqrt(2 / fan_in), weight.shape))
    for layer in model.layers:
        if type(layer).__name__ == "BatchNormalization":
            layer.momentum = 0.0
    model(generator.uniform(-1, 1, (4, *shape)).astype(np.float32), training=True)
    return model


@pytest.mark.parametrize("precision", ["fp32", pytest.param("int8", marks=pytest.mark.slow)])
@pytest.mark.parametrize("format", ["tflite", "onnx", "openvino"])
def test_converted(model: Any, format: str, precision: str) -> None:
    if precision == "int8" and model.name not in INT8:
        pytest.skip("random weights say nothing of this network in int8")
    source: Any = source_of(model)
    pixels = np.random.default_rng(1).integers(0, 256, (12, *model.input_shape[1:]), np.uint8)
    artefact = source.convert(Plan(format, precision), pixels)
    expected = np.asarray(model(source.normalize(pixels[:4]), training=False))
    with open_backend(artefact) as backend:
        found = np.concatenate([np.asarray(backend.infer([image[None]])[0]) for image in pixels[:4]])
    assert found.shape == expected.shape
    if precision == "fp32":
        apart = np.abs(found - expected)
        # Where two values of a pool are nearly equal, the last bit decides which place SegNet stores.
        assert apart.max() < (1e-2 if model.name == "segnet" else 1e-4) and apart.mean() < 1e-5
    else:  # an integer artefact ends before the last activation, on a scale of its own: the order is what counts
        ends = np.asarray(source.logits[0](source.normalize(pixels[:4]), training=False))
        assert np.corrcoef(found.ravel(), ends.ravel())[0, 1] > 0.95
