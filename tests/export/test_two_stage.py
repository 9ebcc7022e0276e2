"""Two-stage detectors in all formats: the regions are proposed, suppressed and pooled in the artefact itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import edgecv
import edgecv_runtime as ert
from edgecv.data.shapes import SHAPE_CLASSES, generate_shapes
from edgecv_export.exporter import export
from edgecv_runtime.decoders import make_decoder
from edgecv_runtime.errors import EdgecvError
from edgecv_runtime.preprocess import Geometry

FORMATS = ("onnx", "openvino", "tflite")
SIDE = 64
SMALL: dict[str, Any] = {"backbone": "plain", "alpha": 0.25, "dense_width": 16}
PROPOSED: dict[str, Any] = {"roi_size": 3, "anchor_scale": 0.25, "proposals": 12, "candidates": 60}
FAMILIES: dict[str, tuple[int, dict[str, Any]]] = {
    "rcnn": (32, SMALL),
    "fast_rcnn": (SIDE, {**SMALL, "roi_size": 3, "anchor_scale": 0.4}),
    "faster_rcnn": (SIDE, {**SMALL, **PROPOSED}),
    "mask_rcnn": (
        SIDE, {**SMALL, **PROPOSED, "detections": 5, "mask_width": 4, "mask_depth": 1, "keypoints": 4}
    ),
    "overfeat": (103, {"alpha": 0.03, "window": 71}),
}  # fmt: skip


def build(name: str) -> Any:
    """With weights so large that scores lie well apart: which region is the better one is then no matter of digits."""
    side, options = FAMILIES[name]
    keras.utils.set_random_seed(0)
    model = edgecv.create_model(name, (side, side, 3), len(SHAPE_CLASSES), **options)
    generator = np.random.default_rng(0)
    for layer in model.layers:
        for weight in layer.weights:
            kind, shape = weight.path.rsplit("/", 1)[-1], tuple(weight.shape)
            if kind == "kernel":
                last = layer.name in ("roi_class", "rpn_logits_map", "class_map")
                weight.assign(generator.normal(0, (4 if last else 1.4) / np.sqrt(np.prod(shape[:-1])), shape))
            elif kind == "bias" and layer.name not in ("roi_class", "class_map"):
                weight.assign(generator.normal(0, 0.1, shape))
    return model


def pictures(side: int) -> list[np.ndarray]:
    return [sample.image for sample in generate_shapes(4, max(side, 32), seed=5)]


@pytest.mark.slow
@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("name", FAMILIES)
def test_the_bundle_finds_what_keras_finds(name: str, format: str, tmp_path: Path) -> None:
    model, images = build(name), pictures(FAMILIES[name][0])
    made = export(
        model, tmp_path / "m.edgecv", format=format, precision="fp32", labels=SHAPE_CLASSES, calibration=images
    )
    assert ert.verify(made.path).passed
    found_any = 0
    with ert.load(made.path) as bundle:
        assert [spec.name for spec in bundle.manifest.outputs] == model.output_names
        decoder = make_decoder(bundle.manifest)
        for image in images:
            pixels = (image.astype(np.float32) - 127.5) / 127.5
            outputs = [np.asarray(output)[0] for output in model(pixels[None], training=False)]
            expected = decoder.decode(outputs, Geometry(image.shape[:2], (1.0, 1.0), (0.0, 0.0)))
            found = bundle(image)
            assert len(found) == len(expected)
            np.testing.assert_allclose(found.boxes, expected.boxes, atol=0.02)
            np.testing.assert_allclose(found.scores, expected.scores, atol=1e-3)
            np.testing.assert_array_equal(found.classes, expected.classes)
            if name == "mask_rcnn":
                assert (found.masks != expected.masks).mean() < 1e-3
                np.testing.assert_allclose(found.keypoints[..., :2], expected.keypoints[..., :2], atol=0.1)
            found_any += len(found)
    assert found_any > 0


# Of objects: the share that both the bundle and Keras find. With weights as wild as these an eight-bit step is now and
# then another region; networks that have learned agree better (benchmarks/shapes_exports.py).
AGREEMENT = {"fp16": 0.9, "int8": 0.7}


@pytest.mark.slow
@pytest.mark.parametrize("precision", AGREEMENT)
@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("name", FAMILIES)
def test_rounded_bundles_keep_places_in_float(name: str, format: str, precision: str, tmp_path: Path) -> None:
    model, images = build(name), pictures(FAMILIES[name][0])
    made = export(
        model, tmp_path / "m.edgecv", format=format, precision=precision, labels=SHAPE_CLASSES, calibration=images
    )
    assert ert.verify(made.path).passed
    assert made.report["parity"]["agreement"] >= AGREEMENT[precision]
    kept = [layer.name for layer in model.layers if getattr(layer, "exact", False)]
    assert kept
    assert set(made.manifest.float_layers) >= set(kept if precision == "int8" else ())


def test_int8_keeps_places_in_float(tmp_path: Path) -> None:
    """The short form: boxes of whole pixels and more would be the sign of coordinates in eight bits."""
    model, images = build("rcnn"), pictures(FAMILIES["rcnn"][0])
    made = export(
        model, tmp_path / "m.edgecv", format="onnx", precision="int8", labels=SHAPE_CLASSES, calibration=images
    )
    assert made.manifest.float_layers == ("scores", "boxes")
    assert made.manifest.described_precision() == "int8, 2 layers in float: scores, boxes"
    kinds = {spec.name: spec.dtype for spec in made.manifest.outputs}
    assert kinds == {"boxes": "float32", "scores": "float32"}
    with ert.load(made.path) as bundle:
        places = np.concatenate([bundle.outputs(image)[0].ravel() for image in images])
    inside = places[(places > 0) & (places < 32)]  # the others are clipped to the picture
    assert len(inside) > 20
    steps = inside * 255 / 32
    assert np.abs(steps - np.rint(steps)).mean() > 0.15  # on no grid of 256 places; 0.25 on average of any


def test_a_second_input_is_refused(tmp_path: Path) -> None:
    model = edgecv.create_model("fast_rcnn", (SIDE, SIDE, 3), 3, regions=5, **SMALL)
    with pytest.raises(EdgecvError, match="input"):
        export(model, tmp_path / "m.edgecv", format="onnx", precision="fp32")
    assert not (tmp_path / "m.edgecv").exists()
