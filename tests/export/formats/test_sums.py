"""The sum of two maps of one place each is a sum, not the addition of a bias."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from edgecv.models.registry import Preprocessing
from edgecv_export.formats.tracing import freeze, trace_integer
from edgecv_export.plan import Plan
from edgecv_export.sources import source_of
from edgecv_export.sources.keras import make_job
from edgecv_runtime.backends import open_backend

UNIT = Preprocessing(mean=(0.0,) * 3, std=(255.0,) * 3)


@pytest.fixture(scope="module")
def source() -> Any:
    """Two convolutions over the whole picture, added by a layer and once more by an operation."""
    keras.utils.set_random_seed(0)
    image = keras.Input((4, 4, 3))
    one = layers.Conv2D(6, 4, bias_initializer="ones", name="one")(image)
    two = layers.Conv2D(6, 4, bias_initializer="ones", name="two")(image)
    total = layers.Add(name="sum")([one, two])
    total = keras.ops.add(total, layers.Conv2D(6, 4, name="three")(image))
    return source_of(keras.Model(image, layers.Flatten()(total)), UNIT)


def test_no_bias_is_computed(source: Any) -> None:
    job = make_job(source, Plan("onnx", "int8"), np.zeros((1, 4, 4, 3), np.uint8))
    nodes = freeze(trace_integer(job)).graph.as_graph_def().node
    kinds = {node.name: node.op for node in nodes}
    biases = [node.input[1] for node in nodes if node.op == "BiasAdd"]
    assert len(biases) == 3  # those of the convolutions
    assert [node.op for node in nodes if node.name.startswith("sum/")] == ["AddV2"]
    assert not any(kinds[name] == "Reshape" for name in biases)


@pytest.mark.parametrize("format", ["onnx", "tflite", "openvino"])
def test_they_convert(source: Any, format: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (4, 4, 4, 3), np.uint8)
    artefact = source.convert(Plan(format, "fp32"), pixels)
    with open_backend(artefact) as backend:
        found = np.concatenate([backend.infer([image[None]])[0] for image in pixels])
    np.testing.assert_allclose(found, source.answers(pixels)[0], atol=1e-4)
