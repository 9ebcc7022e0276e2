"""Regions in the formats: RoIAlign is one operator in ONNX and OpenVINO; pooling is the layer's own arithmetic."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from edgecv.layers.roi import RoIAlign, RoIPooling
from edgecv.layers.roi_heads import FixedRegions, RegionRows
from edgecv.models.registry import Preprocessing
from edgecv_export.plan import Plan
from edgecv_export.sources import source_of
from edgecv_runtime.artefact import Artefact
from edgecv_runtime.backends import open_backend

BOXES = [[0, 0, 64, 48], [3.5, 7.25, 20, 11], [40, 30, 41, 31], [60, 40, 64, 48], [0, 0, 0, 0]]
PLAIN = Preprocessing(mean=(0.0,) * 3, std=(255.0,) * 3)


@pytest.fixture(scope="module", params=[(True, 2), (False, 1)], ids=["aligned", "as published"])
def both(request: pytest.FixtureRequest) -> tuple[Artefact, np.ndarray, np.ndarray]:
    """The ONNX artefact, a picture, and what Keras answers to it."""
    aligned, samples = request.param
    keras.utils.set_random_seed(3)
    image = keras.Input((48, 64, 3), name="picture")
    features = keras.layers.Conv2D(6, 4, strides=4, name="features")(image)
    regions = FixedRegions(BOXES, name="regions")(features)
    pooled = RoIAlign(3, 1 / 4, samples, aligned, name="align")([features, regions])
    weighed = keras.layers.Conv2D(2, 1, name="weighed")(pooled)
    rows = RegionRows(len(BOXES), flat=True, name="rows")(weighed)
    model = keras.Model(image, keras.layers.Flatten(name="vector")(rows))
    pixels = np.random.default_rng(1).integers(0, 256, (1, 48, 64, 3), np.uint8)
    source = source_of(model, PLAIN, "embedding", None)
    artefact = source.convert(Plan("onnx", "fp32"), pixels)
    return artefact, pixels, np.asarray(model(pixels / np.float32(255), training=False))


def test_onnx_has_the_operator(both: tuple[Artefact, np.ndarray, np.ndarray]) -> None:
    import onnx

    artefact, pixels, expected = both
    kinds = [node.op_type for node in onnx.load_from_string(artefact.model).graph.node]
    assert kinds.count("RoiAlign") == 1 and "Gather" not in kinds and "CropAndResize" not in kinds
    with open_backend(artefact) as backend:
        np.testing.assert_allclose(backend.infer([pixels])[0], expected, atol=1e-5)


def test_openvino_has_it_too(both: tuple[Artefact, np.ndarray, np.ndarray]) -> None:
    from edgecv_export.formats.openvino import from_onnx

    artefact, pixels, expected = both
    converted = from_onnx(artefact.model)
    assert converted.model.count(b'type="ROIAlign"') == 1
    with open_backend(converted) as backend:
        np.testing.assert_allclose(backend.infer([pixels])[0], expected, atol=1e-5)


def test_tflite_pools_the_same_places() -> None:
    """Its converter multiplies by a seventh where the layer divides by seven: no cell may reach a place further."""
    image = keras.Input((96, 96, 3), name="picture")
    sides = np.arange(1, 13) * 8.0
    boxes = [[0, 0, across - 8, down - 8] for across in sides for down in sides[::4]]
    regions = FixedRegions(boxes, name="regions")(image)
    pooled = RoIPooling(7, 1 / 8, name="pool")([keras.layers.AveragePooling2D(8, name="map")(image), regions])
    rows = RegionRows(len(boxes), flat=True, name="rows")(pooled)
    model = keras.Model(image, keras.layers.Flatten(name="vector")(rows))
    pixels = np.random.default_rng(2).integers(0, 256, (1, 96, 96, 3), np.uint8)
    artefact = source_of(model, PLAIN, "embedding", None).convert(Plan("tflite", "fp32"), pixels)
    with open_backend(artefact) as backend:
        found = backend.infer([pixels])[0]
    np.testing.assert_allclose(found, np.asarray(model(pixels / np.float32(255), training=False)), atol=1e-5)
