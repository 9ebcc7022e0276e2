"""From a Keras model to a bundle: every combination, every kind of model, every argument."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import keras
import numpy as np
import pytest
from keras import layers

import edgecv
import edgecv_runtime as ert
from edgecv.models.registry import Preprocessing
from edgecv_export import exporter
from edgecv_export.exporter import export
from edgecv_export.source import Source
from edgecv_runtime import bundle as bundle_module
from edgecv_runtime.errors import CheckFailedError, InputError, MissingFileError, OutputError, UnsupportedError
from edgecv_runtime.manifest import Resize

FORMATS = ("tflite", "onnx", "openvino")
HALF = Preprocessing(mean=(127.5,) * 3, std=(127.5,) * 3)
RAW = Preprocessing(mean=(0.0,) * 3, std=(1.0,) * 3)
TORCH = Preprocessing(mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375))


@pytest.fixture(scope="module")
def noise() -> list[np.ndarray]:
    """Eight coloured pictures of 20×18."""
    from edgecv_export.calibration import generated_images

    return list(generated_images(8, (20, 18), seed=3))


@pytest.fixture(scope="module")
def trained(settle: Callable[..., None], noise: list[np.ndarray]) -> Callable[..., Any]:
    """Give a model batch statistics of the noise, under a preprocessing; returns the model."""

    def settled(model: Any, preprocessing: Preprocessing = HALF) -> Any:
        source = Source.of(model, preprocessing)
        settle(source.model, source.normalize(source.pixels(noise)))
        return model

    return settled


def features(x: Any) -> Any:
    x = layers.Conv2D(8, 3, strides=2, padding="same", use_bias=False)(x)
    x = layers.ReLU(6.0)(layers.BatchNormalization()(x))
    x = layers.DepthwiseConv2D(3, padding="same", use_bias=False)(x)
    return layers.ReLU(6.0)(layers.BatchNormalization()(x))


def small() -> Any:
    keras.utils.set_random_seed(1)
    image = keras.Input((16, 16, 3))
    x = layers.GlobalAveragePooling2D()(features(image))
    return keras.Model(image, layers.Softmax()(layers.Dense(5)(x)), name="small")


def difference(path: Path, source: Source, images: list[np.ndarray]) -> float:
    with ert.load(path) as model:
        answers = np.concatenate([model.outputs(image)[0] for image in images])
    return float(np.abs(answers - source.predict(images)).max())


# -- every format × precision ------------------------------------------------------------------------------------

LIMITS = {"fp32": 1e-4, "fp16": 1e-2, "dynamic": 0.02, "int8": 0.02, "int16x8": 0.02}


def test_lenet(
    combination: tuple[str, str], made: Callable[..., Any], digits: tuple[list[np.ndarray], np.ndarray]
) -> None:
    format, precision = combination
    one = made("lenet", format, precision)
    images, truth = digits
    with ert.load(one.path) as model:
        answers = np.concatenate([model.outputs(image)[0] for image in images])
    expected = one.source.predict(images)
    assert np.abs(answers - expected).max() <= LIMITS[precision]
    assert (answers.argmax(1) == expected.argmax(1)).mean() >= 0.98
    assert (answers.argmax(1) == truth).mean() >= 0.95


@pytest.mark.parametrize("name", ["lenet", "mobilenet"])
def test_manifest_and_report(name: str, combination: tuple[str, str], made: Callable[..., Any]) -> None:
    format, precision = combination
    one = made(name, format, precision)
    manifest, report = one.bundle.manifest, one.report
    (there,), (back,) = manifest.inputs, manifest.outputs
    size, channels, color = {"lenet": (32, 1, "GRAY"), "mobilenet": (96, 3, "RGB")}[name]
    assert (manifest.format, manifest.precision, manifest.task) == (format, precision, "classification")
    assert manifest.architecture["name"] == {"lenet": "lenet5", "mobilenet": "mobilenet_v2"}[name]
    assert (there.name, there.shape, there.dtype) == ("image", (1, size, size, channels), "uint8")
    assert (there.layout, there.color, there.normalization) == ("NHWC", color, None)
    integer = precision in ("int8", "int16x8")
    assert (back.name, back.shape) == ("logits" if integer else "scores", (1, 10))
    assert manifest.decoder.parameters == {"activation": "softmax" if integer else "none"}
    assert {"edgecv", "keras", "tensorflow-cpu", "cpu"} <= set(manifest.made_with)
    assert report == one.bundle.report()
    assert report["size"] == one.bundle.artefact().size
    assert report["parameters"] == one.source.model.count_params()
    assert report["parity"]["images"] == 4
    assert report["parity"]["origin"] == "calibration"
    assert report["accuracy"] is None
    assert report["latency"]["p50_ms"] > 0


@pytest.mark.parametrize("name", ["lenet", "mobilenet"])
def test_it_verifies(name: str, combination: tuple[str, str], made: Callable[..., Any]) -> None:
    verification = ert.verify(made(name, *combination).path)
    assert verification.passed, verification
    assert [check.name for check in verification.checks] == ["integrity", "manifest", "load", "parity"]


@pytest.mark.parametrize("name", ["lenet", "mobilenet"])
def test_the_bare_artefact_answers_as_the_bundle(
    name: str, combination: tuple[str, str], made: Callable[..., Any]
) -> None:
    one = made(name, *combination)
    image = np.random.default_rng(0).integers(0, 256, (70, 50, 3), np.uint8)
    with ert.load(one.path) as whole, ert.load(one.bare) as bare:
        np.testing.assert_array_equal(whole.outputs(image)[0], bare.outputs(image)[0])
        assert bare.manifest == whole.manifest.embedded()


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_the_same_model_gives_the_same_bytes(
    format: str, precision: str, tmp_path: Path, noise: list[np.ndarray], trained: Callable[..., Any]
) -> None:
    model = trained(small())
    artefacts = []
    for name in ("a", "b"):
        path = tmp_path / f"{name}.edgecv"
        export(model, path, format=format, precision=precision, calibration=noise, preprocessing=HALF, name="same")
        artefacts.append(ert.Bundle(path).artefact())
    assert artefacts[0] == artefacts[1]


# -- what a pixel means ------------------------------------------------------------------------------------------

SCALES = {
    "127.5 and 127.5": HALF,
    "0 and 255": Preprocessing(mean=(0.0,) * 3, std=(255.0,) * 3),
    "127 and 128": Preprocessing(mean=(127.0,) * 3, std=(128.0,) * 3),
    "pixels": RAW,
    "per channel": TORCH,
    "one mean, three stds": Preprocessing(mean=(128.0,) * 3, std=(50.0, 60.0, 70.0)),
    "a mean below zero": Preprocessing(mean=(-10.0,) * 3, std=(255.0,) * 3),
}


@pytest.mark.parametrize("preprocessing", SCALES.values(), ids=SCALES)
@pytest.mark.parametrize("precision", ["fp32", "int8"])
@pytest.mark.parametrize("format", FORMATS)
def test_normalisation(
    format: str,
    precision: str,
    preprocessing: Preprocessing,
    tmp_path: Path,
    noise: list[np.ndarray],
    trained: Callable[..., Any],
) -> None:
    model = trained(small(), preprocessing)
    path = tmp_path / "small.edgecv"
    exported = export(
        model, path, format=format, precision=precision, calibration=noise, preprocessing=preprocessing
    )
    (spec,) = exported.manifest.inputs
    assert (spec.dtype, spec.shape, spec.normalization) == ("uint8", (1, 16, 16, 3), None)
    black_and_white = [np.full((16, 16, 3), level, np.uint8) for level in (0, 255)]
    source = Source.of(model, preprocessing)
    assert difference(path, source, [*noise, *black_and_white]) <= {"fp32": 1e-4, "int8": 0.06}[precision]


def test_int8_scales_of_one_mean_are_the_input_grid(
    tmp_path: Path, noise: list[np.ndarray], trained: Callable[..., Any]
) -> None:
    for name, zero_point in (("0 and 255", 0), ("127.5 and 127.5", 128), ("127 and 128", 127), ("pixels", 0)):
        preprocessing = SCALES[name]
        path = tmp_path / "small.edgecv"
        model = trained(small(), preprocessing)
        manifest = export(model, path, precision="int8", calibration=noise, preprocessing=preprocessing).manifest
        quantization = manifest.inputs[0].quantization
        assert quantization is not None
        assert quantization.scale == pytest.approx(1 / preprocessing.std[0], rel=1e-6), name
        assert quantization.zero_point == zero_point, name


def test_resize_and_colour_reach_the_device(tmp_path: Path, trained: Callable[..., Any]) -> None:
    rule = Resize(mode="letterbox", pad_value=0, interpolation="area")
    preprocessing = Preprocessing(mean=(0.0,), std=(255.0,), color="GRAY", resize=rule)
    image = keras.Input((16, 24, 1))
    model = keras.Model(image, layers.Softmax()(layers.Dense(3)(layers.Flatten()(image))))
    path = tmp_path / "grey.edgecv"
    (spec,) = export(model, path, format="onnx", preprocessing=preprocessing).manifest.inputs
    assert (spec.resize, spec.color, spec.shape) == (rule, "GRAY", (1, 16, 24, 1))
    source = Source.of(model, preprocessing)
    assert difference(path, source, [np.random.default_rng(0).integers(0, 256, (40, 30, 3), np.uint8)]) < 1e-4


# -- every kind of model -----------------------------------------------------------------------------------------


def nested_backbone() -> Any:
    inner = keras.Input((16, 16, 3))
    body = keras.Model(inner, features(inner), name="backbone")
    image = keras.Input((16, 16, 3))
    x = layers.GlobalAveragePooling2D()(body(image))
    return keras.Model(image, layers.Dense(5, activation="softmax")(x))


def sequential() -> Any:
    body = [layers.Conv2D(8, 3), layers.BatchNormalization(), layers.ReLU(), layers.GlobalAveragePooling2D()]
    return keras.Sequential([keras.Input((16, 16, 3)), *body, layers.Dense(5, activation="softmax")])


def dense_softmax() -> Any:
    image = keras.Input((16, 16, 3))
    return keras.Model(image, layers.Dense(5, activation="softmax")(layers.Flatten()(features(image))))


def dense_sigmoid() -> Any:
    image = keras.Input((16, 16, 3))
    return keras.Model(image, layers.Dense(5, activation="sigmoid")(layers.Flatten()(features(image))))


def logits_alone() -> Any:
    image = keras.Input((16, 16, 3))
    x = layers.GlobalAveragePooling2D()(features(image))
    return keras.Model(image, layers.Dense(5, kernel_initializer=keras.initializers.RandomNormal(0, 20))(x))


def residual_with_operators() -> Any:
    image = keras.Input((16, 16, 3))
    x = features(image)
    x = x + keras.ops.relu(layers.Conv2D(8, 3, padding="same")(x)) * 0.5
    return keras.Model(image, layers.Softmax()(layers.Dense(5)(keras.ops.mean(x, axis=(1, 2)))))


def lists_of_one() -> Any:
    image = keras.Input((16, 16, 3))
    return keras.Model([image], [layers.Softmax()(layers.Dense(5)(layers.Flatten()(features(image))))])


def layer_as_activation() -> Any:
    image = keras.Input((16, 16, 3))
    x = layers.Conv2D(6, 3, activation=layers.LeakyReLU(0.2))(image)
    return keras.Model(image, layers.Softmax()(layers.Dense(5)(layers.Flatten()(x))))


def pooling_first() -> Any:
    image = keras.Input((16, 16, 3))
    return keras.Model(image, layers.Softmax()(layers.Dense(5)(layers.Flatten()(layers.MaxPooling2D()(image)))))


def normalisation_in_the_model() -> Any:
    image = keras.Input((16, 16, 3))
    x = features(layers.Rescaling(1 / 127.5, offset=-1)(image))
    return keras.Model(image, layers.Softmax()(layers.Dense(5)(layers.GlobalAveragePooling2D()(x))))


KINDS = [
    nested_backbone, sequential, dense_softmax, dense_sigmoid, logits_alone, residual_with_operators, lists_of_one,
    layer_as_activation, pooling_first, normalisation_in_the_model,
]  # fmt: skip


@pytest.mark.parametrize("build", KINDS)
@pytest.mark.parametrize(("format", "precision"), [("tflite", "int8"), ("onnx", "fp16"), ("onnx", "int8")])
def test_kinds_of_models(
    build: Callable[[], Any],
    format: str,
    precision: str,
    tmp_path: Path,
    noise: list[np.ndarray],
    trained: Callable[..., Any],
) -> None:
    keras.utils.set_random_seed(2)
    preprocessing = RAW if build is normalisation_in_the_model else HALF
    model = trained(build(), preprocessing)
    weights = [weight.copy() for weight in model.get_weights()]
    path = tmp_path / "own.edgecv"
    exported = export(model, path, format=format, precision=precision, calibration=noise, preprocessing=preprocessing)
    source = Source.of(model, preprocessing)
    unit = np.ptp(source.predict(noise))  # probabilities differ less, logits more
    assert difference(path, source, noise) <= {"fp16": 1e-2, "int8": 0.1}[precision] * unit
    assert ert.verify(path).passed
    assert exported.manifest.architecture["name"] == "custom"
    for now, then in zip(model.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(now, then)


@pytest.mark.slow
@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize(("name", "options"), [("efficientnet", {"phi": 0}), ("efficientnet_lite0", {})])
def test_efficientnets(
    name: str, options: dict[str, Any], format: str, tmp_path: Path, settle: Callable[..., None]
) -> None:
    from edgecv_export.calibration import contract_pictures

    known = {record.name for record in __import__("edgecv.models.registry", fromlist=["records"]).records()}
    name = name if name in known else name.replace("efficientnet", "efficientnet_b0")
    keras.utils.set_random_seed(4)
    model = edgecv.create_model(name, input_shape=(64, 64, 3), classes=10, **options)
    source = Source.of(model)
    images = list(contract_pictures((64, 64), 12))
    settle(model, source.normalize(source.pixels(images)))
    path = tmp_path / "model.edgecv"
    exported = export(model, path, format=format, precision="int8", calibration=images[:6])
    assert ert.verify(path).passed
    assert exported.manifest.inputs[0].dtype == "uint8"
    assert difference(path, source, images) < 0.3
