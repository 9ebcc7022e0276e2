"""Class activation maps on the device: numbers worked by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edgecv_runtime.class_maps import ClassMaps, pack_weights, unpack_weights
from edgecv_runtime.decoders import make_decoder
from edgecv_runtime.errors import BundleError, InputError, UnsupportedError
from edgecv_runtime.manifest import DecoderSpec, InputSpec, Manifest, TensorSpec
from edgecv_runtime.preprocess import Geometry
from edgecv_runtime.results import Classification

WEIGHTS = np.array([[1.0, -1.0, 0.5], [0.0, 2.0, 0.25]])
ROLES = {"scores": "s", "features": "f"}
FEATURES = np.arange(8, dtype=np.float32).reshape(2, 2, 2)


def manifest(features: tuple[int, ...] = (1, 2, 2, 2), **parameters: Any) -> Manifest:
    return Manifest(
        name="m",
        task="classification",
        architecture={"name": "foreign"},
        format="onnx",
        precision="fp32",
        inputs=(InputSpec("image", (1, 8, 8, 3), "uint8"),),
        outputs=(TensorSpec("f", features, "float32"), TensorSpec("s", (1, 3), "float32")),
        decoder=DecoderSpec("classification", parameters),
        labels=("a", "b", "c"),
    )


def test_maps_by_hand() -> None:
    decoder = make_decoder(manifest(outputs=ROLES, weights=pack_weights(WEIGHTS), activation="softmax"))
    logits = FEATURES.mean(axis=(0, 1)) @ WEIGHTS.astype(np.float32)
    outputs = decoder.activate([FEATURES[None], logits[None].copy()])
    assert outputs[1].sum() == pytest.approx(1)
    result = decoder.decode([output[0] for output in outputs], Geometry((8, 8), (1.0, 1.0), (0.0, 0.0)))
    assert result.labels == ("b", "a", "c")
    # Class b: twice the second channel less the first, 2 · (1, 3, 5, 7) - (0, 2, 4, 6).
    assert result.maps.map_of(1).tolist() == [[2, 4], [6, 8]]
    found = result.cam("b")
    assert found.shape == (8, 8)
    # Places cover 4×4 pixels, their middles lie at 2 and 6: beyond them the map is level, between them linear.
    assert found[0, 0] == 2 and found[7, 7] == 8 and found[0, 7] == 4
    assert found[0, 3] == pytest.approx(2 + 2 * 1.5 / 4) and found[3, 0] == pytest.approx(2 + 4 * 1.5 / 4)
    np.testing.assert_array_equal(result.cam(), found)  # the best class
    np.testing.assert_array_equal(
        result.top(1).cam(0), FEATURES[:, :, 0].repeat(4, 0).repeat(4, 1) * 0 + result.cam("a")
    )
    for label in ("d", 3, -1):
        with pytest.raises(InputError, match="there is no class 'd'|class must be 0 to 2"):
            result.cam(label)


def test_what_was_not_seen() -> None:
    maps = ClassMaps(FEATURES, WEIGHTS.astype(np.float16), Geometry((8, 12), (1.0, 1.0), (2.0, 0.0)), (8, 8))
    found = maps.in_source(1)
    assert found.shape == (8, 12) and not found[:, :2].any() and not found[:, 10:].any() and (found[:, 2:10] >= 2).all()


def test_weights_as_text() -> None:
    packed = pack_weights(WEIGHTS)
    np.testing.assert_array_equal(unpack_weights(packed), WEIGHTS.astype(np.float16))
    for damaged in (None, {}, {**packed, "shape": [3, 3]}, {**packed, "float16": "%"}, {**packed, "shape": [0, 3]}):
        with pytest.raises(BundleError, match="class weights of decoder 'classification' are damaged"):
            unpack_weights(damaged)


def test_refused() -> None:
    with pytest.raises(BundleError, match="must have one output; the manifest names 2"):
        make_decoder(manifest())
    with pytest.raises(BundleError, match="class weights must be .channels, classes."):
        make_decoder(manifest((1, 2, 2, 5), outputs=ROLES, weights=pack_weights(WEIGHTS)))
    with pytest.raises(UnsupportedError, match="does not give its last feature map: export it with cam=True"):
        Classification.from_scores(np.float32([0.5, 0.5])).cam()
