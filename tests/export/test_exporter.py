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
from edgecv_export.exporter import export
from edgecv_export.quantize.recipe import Recipe
from edgecv_export.reference import Fidelity, Reference
from edgecv_export.sources import Source, source_of
from edgecv_runtime import bundle as bundle_module
from edgecv_runtime.errors import CheckFailedError, InputError, MissingFileError, OutputError, UnsupportedError
from edgecv_runtime.evaluate import ClassificationAccuracy
from edgecv_runtime.manifest import Resize

FORMATS = ("tflite", "onnx", "openvino")
HALF = Preprocessing(mean=(127.5,) * 3, std=(127.5,) * 3)
RAW = Preprocessing(mean=(0.0,) * 3, std=(1.0,) * 3)
TORCH = Preprocessing(mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375))


@pytest.fixture(scope="module")
def trained(settle: Callable[..., None], noise: list[np.ndarray]) -> Callable[..., Any]:
    """Give a model batch statistics of the noise, under a preprocessing; returns the model."""

    def settled(model: Any, preprocessing: Preprocessing = HALF) -> Any:
        source = source_of(model, preprocessing)
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
    black_and_white = [np.full((16, 16, 3), level, np.uint8) for level in (0, 255)]
    images = [*noise, *black_and_white]
    exported = export(model, path, format=format, precision=precision, calibration=images, preprocessing=preprocessing)
    (spec,) = exported.manifest.inputs
    assert (spec.dtype, spec.shape, spec.normalization) == ("uint8", (1, 16, 16, 3), None)
    source = source_of(model, preprocessing)
    assert difference(path, source, images) <= {"fp32": 1e-4, "int8": 0.06}[precision]


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
    source = source_of(model, preprocessing)
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


def test_int8_onnx_refuses_an_image_that_no_kernel_takes(tmp_path: Path, noise: list[np.ndarray]) -> None:
    with pytest.raises(UnsupportedError, match=r"here the image goes to MaxPool: use fp16 or dynamic$"):
        export(
            pooling_first(), tmp_path / "own.edgecv", format="onnx", precision="int8", calibration=noise,
            preprocessing=HALF,
        )  # fmt: skip


def normalisation_in_the_model() -> Any:
    image = keras.Input((16, 16, 3))
    x = features(layers.Rescaling(1 / 127.5, offset=-1)(image))
    return keras.Model(image, layers.Softmax()(layers.Dense(5)(layers.GlobalAveragePooling2D()(x))))


KINDS = [
    nested_backbone, sequential, dense_softmax, dense_sigmoid, logits_alone, residual_with_operators, lists_of_one,
    layer_as_activation, normalisation_in_the_model,
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
    source = source_of(model, preprocessing)
    unit = np.ptp(source.predict(noise))  # probabilities differ less, logits more
    assert difference(path, source, noise) <= {"fp16": 1e-2, "int8": 0.1}[precision] * unit
    assert ert.verify(path).passed
    assert exported.manifest.architecture["name"] == "custom"
    for now, then in zip(model.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(now, then)


@pytest.mark.slow
@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("name", ["efficientnet", "efficientnet_lite0"])
def test_efficientnets(name: str, format: str, tmp_path: Path, settle: Callable[..., None]) -> None:
    from edgecv_export.calibration import contract_pictures

    keras.utils.set_random_seed(4)
    model = edgecv.create_model(name, input_shape=(64, 64, 3), classes=10)
    source = source_of(model)
    images = list(contract_pictures((64, 64), 12))
    settle(model, source.normalize(source.pixels(images)))
    classifier = [layer for layer in model.layers if isinstance(layer, layers.Dense)][-1]
    classifier.kernel.assign(0.3 * classifier.kernel)  # or random weights would be certain of every answer
    path = tmp_path / "model.edgecv"
    exported = export(model, path, format=format, precision="int8", calibration=images)
    assert ert.verify(path).passed
    assert exported.manifest.inputs[0].dtype == "uint8"
    with ert.load(path) as loaded:
        answers = np.concatenate([loaded.outputs(image)[0] for image in images])
    scores = [np.log(np.maximum(one, 1e-12)).ravel() for one in (answers, source.predict(images))]
    # Random weights amplify every rounding: that the answers are related is all there is to see.
    assert np.corrcoef(*scores)[0, 1] > 0.5


# -- models that are refused -------------------------------------------------------------------------------------


def two_inputs() -> Any:
    first, second = keras.Input((8, 8, 3)), keras.Input((8, 8, 3))
    return keras.Model([first, second], layers.Flatten()(layers.Add()([first, second])))


def two_outputs() -> Any:
    image = keras.Input((8, 8, 3))
    x = layers.Flatten()(image)
    return keras.Model(image, [layers.Dense(2, name="one")(x), layers.Dense(3, name="two")(x)])


def three_dimensions() -> Any:
    image = keras.Input((8, 8, 3))
    return keras.Model(image, layers.Reshape((8, 24))(image))


def any_size() -> Any:
    image = keras.Input((None, None, 3))
    return keras.Model(image, layers.GlobalAveragePooling2D()(image))


def one_channel() -> Any:
    image = keras.Input((8, 8, 1))
    return keras.Model(image, layers.Flatten()(image))


def a_vector() -> Any:
    vector = keras.Input((8,))
    return keras.Model(vector, layers.Dense(2)(vector))


class Own(keras.Model):
    def call(self, inputs: Any) -> Any:
        return inputs


@pytest.mark.parametrize(
    ("build", "kind", "message"),
    [
        (two_inputs, UnsupportedError, "a model must have one image input; received 2 inputs"),
        (
            two_outputs,
            UnsupportedError,
            "a classification model has one output; received 2 (one, two): say how they are read (decoder=)",
        ),
        (three_dimensions, InputError, "a classification model must give (N, classes); received ['N', 8, 24]"),
        (
            any_size,
            InputError,
            "the model's input must be (N, height, width, 3) for RGB images; received (None, None, None, 3)",
        ),
        (
            one_channel,
            InputError,
            "the model's input must be (N, height, width, 3) for RGB images; received (None, 8, 8, 1)",
        ),
        (a_vector, InputError, "the model's input must be (N, height, width, 3) for RGB images; received (None, 8)"),
        (
            lambda: Own(name="mine"),
            UnsupportedError,
            "a functional or Sequential Keras model is required; 'mine' is a subclass of keras.Model: "
            "build it with keras.Model(inputs, outputs)",
        ),
        (
            lambda: keras.Sequential([layers.Dense(2)], name="bare"),
            UnsupportedError,
            "'bare' has no input shape yet: begin it with keras.Input(shape)",
        ),
    ],
)
def test_refused_models(build: Callable[[], Any], kind: type[Exception], message: str, tmp_path: Path) -> None:
    with pytest.raises(kind) as caught:
        export(build(), tmp_path / "m.edgecv", preprocessing=HALF)
    assert str(caught.value) == message
    assert list(tmp_path.iterdir()) == []


def test_an_own_model_needs_preprocessing(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        export(small(), tmp_path / "m.edgecv")
    assert str(caught.value) == (
        "preprocessing is required for a model that edgecv.create_model did not build: "
        "preprocessing=Preprocessing(mean=..., std=..., color=..., resize=...)"
    )


@pytest.mark.parametrize("model", [None, 3, object()], ids=["None", "number", "object"])
def test_what_is_no_model_at_all(model: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^a Keras model, or the path of an \.onnx file, is required; received "):
        export(model, tmp_path / "m.edgecv", preprocessing=HALF)


# -- arguments ---------------------------------------------------------------------------------------------------


def refused(tmp_path: Path, **arguments: Any) -> Any:
    """The error of an export of LeNet-5, and that it left nothing behind."""
    model = arguments.pop("model", None) or edgecv.create_model("lenet5", weights="digits")
    path = arguments.pop("path", tmp_path / "lenet.edgecv")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(Exception) as caught:  # its type is asserted by the caller
        export(model, path, **arguments)
    assert sorted(tmp_path.rglob("*")) == before
    assert "\n" not in str(caught.value)
    return caught.value


def test_unknown_precision_and_format(tmp_path: Path) -> None:
    error = refused(tmp_path, precision="int4")
    assert isinstance(error, InputError)
    assert str(error) == "precision must be one of fp32, fp16, dynamic, int8, int16x8, mixed; received 'int4'"
    error = refused(tmp_path, format="coreml")
    assert isinstance(error, InputError)
    assert str(error) == "format must be one of tflite, onnx, openvino; received 'coreml'"


def test_a_precision_the_format_cannot_do(tmp_path: Path) -> None:
    error = refused(tmp_path, format="onnx", precision="int16x8")
    assert isinstance(error, UnsupportedError)
    assert "TFLite scheme that ONNX has no kernels for" in str(error)


def test_a_target(tmp_path: Path) -> None:
    error = refused(tmp_path, target="rpi5")
    assert isinstance(error, InputError)
    assert str(error).endswith("received 'rpi5'")


def test_another_task(tmp_path: Path) -> None:
    error = refused(tmp_path, task="style")
    assert isinstance(error, UnsupportedError)
    assert str(error) == (
        "this version exports classification, embedding, segmentation, detection, pose, anomaly, image, "
        "signal-classification, volume-classification models; received task 'style'"
    )


@pytest.mark.parametrize("precision", ["int8", "int16x8"])
def test_int8_without_calibration(precision: str, tmp_path: Path) -> None:
    error = refused(tmp_path, precision=precision)
    assert isinstance(error, InputError)
    assert str(error) == (f"{precision} needs calibration images: pass a folder of typical pictures (--calibrate DIR)")


def test_an_empty_calibration_folder(tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    error = refused(tmp_path, precision="int8", calibration=tmp_path / "pictures")
    assert isinstance(error, InputError)
    assert "holds no image" in str(error)
    assert isinstance(refused(tmp_path, precision="int8", calibration=tmp_path / "none"), MissingFileError)


def test_one_unreadable_calibration_image(tmp_path: Path, digits: tuple[list[np.ndarray], np.ndarray]) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for index, image in enumerate(digits[0][:6]):
        cv2.imwrite(str(pictures / f"{index}.png"), image)
    (pictures / "text.jpg").write_text("not a picture")
    model = edgecv.create_model("lenet5", weights="digits")
    with pytest.warns(RuntimeWarning, match=r"calibration image skipped: \S+text\.jpg is not an image"):
        exported = export(model, tmp_path / "l.edgecv", precision="int8", calibration=pictures)
    assert exported.report["calibration"] == {"images": 6, "skipped": 1}
    assert ert.Bundle(exported.path).report()["calibration"] == {"images": 6, "skipped": 1}


@pytest.mark.parametrize(("name", "message"), [("lenet.tflite", "must end in .edgecv"), ("lenet", "must end in")])
def test_a_wrong_suffix(name: str, message: str, tmp_path: Path) -> None:
    error = refused(tmp_path, path=tmp_path / name)
    assert isinstance(error, InputError)
    assert message in str(error)


def test_a_missing_output_folder(tmp_path: Path) -> None:
    error = refused(tmp_path, path=tmp_path / "no" / "l.edgecv")
    assert isinstance(error, OutputError)
    assert str(error) == f"cannot write {tmp_path}/no/l.edgecv: there is no folder {tmp_path}/no"


def test_an_output_folder_that_is_not_writable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A superuser may write anywhere: the answer of the system is given by hand.
    monkeypatch.setattr(bundle_module.os, "access", lambda *_: False)
    error = refused(tmp_path)
    assert isinstance(error, OutputError)
    assert str(error) == f"cannot write {tmp_path}/lenet.edgecv: the folder {tmp_path} is not writable"


@pytest.mark.parametrize("existing", [False, True], ids=["new", "replacing"])
@pytest.mark.parametrize("where", ["write", "fsync", "rename"])
def test_a_full_disk(where: str, existing: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import errno

    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    path = tmp_path / "lenet.edgecv"
    if existing:
        path.write_bytes(b"the old one")
    if where == "fsync":
        monkeypatch.setattr(bundle_module.os, "fsync", full)
    elif where == "rename":
        monkeypatch.setattr(Path, "replace", full)
    else:
        opened = bundle_module.os.fdopen

        def fdopen(*arguments: Any, **options: Any) -> Any:
            file = opened(*arguments, **options)
            return _Full(file)

        monkeypatch.setattr(bundle_module.os, "fdopen", fdopen)
    error = refused(tmp_path)
    monkeypatch.undo()
    assert isinstance(error, OutputError)
    assert str(error) == f"cannot write {path}: No space left on device; nothing was left behind"
    assert not existing or path.read_bytes() == b"the old one"


class _Full:
    """A file on a full disk: takes half of what it is given."""

    def __init__(self, file: Any) -> None:
        self.file = file

    def __enter__(self) -> _Full:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()

    def write(self, content: bytes) -> None:
        import errno

        self.file.write(content[: len(content) // 2])
        raise OSError(errno.ENOSPC, "No space left on device")

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)


@pytest.mark.parametrize("format", FORMATS)
def test_a_converter_that_fails(format: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own error comes through, and neither the output folder nor the temporary one holds anything new."""
    import tempfile

    import openvino
    import tensorflow as tf
    import tf2onnx

    def crash(*_: Any, **__: Any) -> None:
        raise MemoryError("the converter gave up")

    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    monkeypatch.setattr(tf.lite.TFLiteConverter, "convert", crash)
    if format == "openvino":
        monkeypatch.setattr(openvino, "save_model", crash)
    if format == "onnx":
        monkeypatch.setattr(tf2onnx.convert, "from_graph_def", crash)
    assert isinstance(refused(tmp_path, format=format), MemoryError)


def test_an_operation_the_format_lacks(tmp_path: Path) -> None:
    image = keras.Input((8, 8, 3))
    model = keras.Model(image, layers.Flatten()(keras.ops.erfinv(image * 0.5)))
    error = refused(tmp_path, model=model, format="onnx", preprocessing=HALF)
    assert isinstance(error, UnsupportedError)
    assert str(error).startswith("ONNX cannot take this model: ")


def test_max_drop_without_evaluation(tmp_path: Path) -> None:
    error = refused(tmp_path, max_drop=1.0)
    assert isinstance(error, InputError)
    assert str(error) == "max_drop needs labelled pictures to measure the drop on: pass --eval DIR too"


@pytest.mark.parametrize("max_drop", [math.nan, -1.0, math.inf])
def test_max_drop_must_be_points(max_drop: float, tmp_path: Path, labelled: Path) -> None:
    error = refused(tmp_path, max_drop=max_drop, evaluation=labelled)
    assert isinstance(error, InputError)
    assert str(error) == f"max_drop must be percentage points, 0 to 100; received {max_drop:g}"


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory, digits: tuple[list[np.ndarray], np.ndarray]) -> Path:
    """30 drawn digits in folders named after them."""
    folder = tmp_path_factory.mktemp("labelled")
    for index, (image, label) in enumerate(zip(digits[0][:30], digits[1].tolist(), strict=False)):
        (folder / str(label)).mkdir(exist_ok=True)
        cv2.imwrite(str(folder / str(label) / f"{index:02d}.png"), image)
    return folder


def test_accuracy_before_and_after(
    tmp_path: Path, labelled: Path, lenet: Any, digits: tuple[list[np.ndarray], np.ndarray]
) -> None:
    path = tmp_path / "l.edgecv"
    accuracy = export(lenet, path, evaluation=labelled, max_drop=0.0, labels="0123456789").report["accuracy"]
    expected = float((source_of(lenet).predict(digits[0][:30]).argmax(1) == digits[1][:30]).mean())
    assert accuracy["float"] == {"top1": pytest.approx(expected), "top5": 1.0, "n": 30, "skipped": 0}
    assert accuracy["artefact"] == {**accuracy["float"], "agreement": 1.0, "gained": 0, "lost": 0}
    with ert.load(path) as model:
        assert (model(digits[0][0]).top(1).labels) == (str(digits[1][0]),)


def test_unreadable_labelled_pictures_are_told_once(tmp_path: Path, labelled: Path, lenet: Any) -> None:
    folder = tmp_path / "data"
    (folder / "3").mkdir(parents=True)
    (folder / "3" / "00.jpg").write_text("no picture")
    (folder / "3" / "01.png").write_bytes(next(iter(sorted((labelled / "3").iterdir()))).read_bytes())
    with pytest.warns(RuntimeWarning) as told:
        report = export(lenet, tmp_path / "l.edgecv", evaluation=folder).report
    assert len(told) == 1
    assert (report["accuracy"]["artefact"]["n"], report["accuracy"]["artefact"]["skipped"]) == (1, 1)


@pytest.mark.parametrize("precision", ["fp32", "int16x8"])
def test_a_drop_that_is_too_large(
    precision: str,
    tmp_path: Path,
    labelled: Path,
    calibration: list[np.ndarray],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where nothing is searched, the budget is checked."""
    worse = Fidelity(ClassificationAccuracy(top1=0.5, top5=1.0, n=30, skipped=0), 0.5, 0, 15, ())
    monkeypatch.setattr(Reference, "compare", lambda *_: worse)
    error = refused(tmp_path, evaluation=labelled, max_drop=2.5, precision=precision, calibration=calibration)
    assert isinstance(error, CheckFailedError)
    assert str(error) == ("top-1 falls from 100.00 % to 50.00 %: 50.00 points, 2.5 were allowed; nothing was written")


def test_pictures_for_training_and_evaluation_must_differ(
    tmp_path: Path, labelled: Path, calibration: list[np.ndarray]
) -> None:
    error = refused(
        tmp_path, evaluation=labelled, training=labelled, max_drop=0.5, precision="int8", calibration=calibration
    )
    assert isinstance(error, InputError)
    assert str(error).startswith("training and evaluation pictures must differ; ")


def test_mixed_without_a_word_on_what_stays_in_float(tmp_path: Path, calibration: list[np.ndarray]) -> None:
    error = refused(tmp_path, precision="mixed", calibration=calibration)
    assert isinstance(error, InputError)
    assert str(error).startswith("mixed needs to know what stays in float: name layers (--float-layers A,B), or ")


# -- the report --------------------------------------------------------------------------------------------------


def test_parts_of_a_float_report(tmp_path: Path, lenet: Any) -> None:
    report = export(lenet, tmp_path / "l.edgecv").report
    assert set(report) == {
        "size",
        "parameters",
        "macs",
        "parity",
        "calibration",
        "latency",
        "accuracy",
        "advice",
        "layers",
        "size_parts",
    }
    assert (report["layers"], report["accuracy"]) == ([], None)
    # LeNet-5's own: six channels at first, and nearly all weights in dense layers.
    assert [(entry["rule"], entry["layers"]) for entry in report["advice"]] == [
        ("few_channels", ["c1"]), ("heavy_head", ["c5", "f6", "output"]),
    ]  # fmt: skip


def test_parts_of_an_int8_report(
    tmp_path: Path,
    lenet: Any,
    labelled: Path,
    calibration: list[np.ndarray],
    digits: tuple[list[np.ndarray], np.ndarray],
) -> None:
    recipe = Recipe(estimator="mse", images=20, adaround=False)
    exported = export(
        lenet, tmp_path / "l.edgecv", format="onnx", precision="int8", calibration=calibration, evaluation=labelled,
        recipe=recipe, labels=[f"digit {number}" for number in range(10)],
    )  # fmt: skip
    report = exported.report
    assert set(report) == {
        "size", "parameters", "macs", "parity", "calibration", "latency", "accuracy", "worst_images", "recipe",
        "advice", "layers", "size_parts",
    }  # fmt: skip
    assert report["recipe"] == {"estimator": "mse", "images": 20, "adaround": False}
    parts = report["size_parts"]
    assert parts["weights"] + parts["graph"] == report["size"]
    assert parts["of_float32"] == report["size"] / (4 * report["parameters"])
    kernels = [layer.name for layer in lenet.layers if isinstance(layer, (layers.Conv2D, layers.Dense))]
    assert [row["name"] for row in report["layers"] if row["kind"] in ("Conv2D", "Dense")] == kernels
    for row in report["layers"]:
        assert 0.99 < row["cosine"] <= 1
        assert 20 < row["sqnr_db"] <= 200
        assert (row["sensitivity"], row["in_float"]) == (None, False)
    assert sum(row["parameters"] for row in report["layers"]) == pytest.approx(1)
    worst = report["worst_images"]
    assert len(worst) == 8
    assert all((labelled / entry["truth"].removeprefix("digit ") / entry["file"]).is_file() for entry in worst)
    expected = source_of(lenet).predict(digits[0][:30])
    with ert.load(exported.path) as model:
        answers = np.concatenate([model.outputs(image)[0] for image in digits[0][:30]])
    rows = np.arange(30)
    drops = expected[rows, expected.argmax(1)] - answers[rows, expected.argmax(1)]
    assert [entry["probability_drop"] for entry in worst] == pytest.approx(np.sort(drops)[::-1][:8], abs=1e-5)
    assert report == ert.Bundle(exported.path).report()


def test_an_artefact_that_is_not_its_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The proof is against Keras: an exporter that loses a layer is found out."""
    from edgecv_export.formats import tflite, tracing

    def lossy(job: Any) -> Any:
        return tracing.trace_float(job) if False else _blind(job)

    monkeypatch.setattr(tflite, "trace_float", lossy)
    error = refused(tmp_path)
    assert isinstance(error, CheckFailedError)
    assert str(error).startswith("the tflite fp32 artefact differs from its float source by ")
    assert str(error).endswith(": nothing was written")


def _blind(job: Any) -> Any:
    import tensorflow as tf

    @tf.function(input_signature=[tf.TensorSpec(job.input_shape, tf.uint8, name="image")])
    def serve(image: Any) -> Any:
        return job.network(tf.cast(image, tf.float32), training=False)  # forgets the normalisation

    return serve


@pytest.mark.parametrize("labels", [list("012345678"), list("0123456789a"), []], ids=["nine", "eleven", "none"])
def test_labels_of_the_wrong_count(labels: list[str], tmp_path: Path) -> None:
    error = refused(tmp_path, labels=labels)
    assert isinstance(error, InputError)
    assert str(error) == f"there must be one label per class: 10 classes, {len(labels)} labels"


def test_another_keras_backend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    error = refused(tmp_path, model=keras.Model(image := keras.Input((4, 4, 3)), layers.Flatten()(image)))
    assert isinstance(error, ImportError)
    assert str(error) == (
        "export needs Keras on TensorFlow; Keras runs on jax here: save the weights, set KERAS_BACKEND=tensorflow and "
        "build the model again"
    )


def test_without_pictures_the_contract_holds_generated_ones(tmp_path: Path, lenet: Any) -> None:
    exported = export(lenet, tmp_path / "l.edgecv")
    assert exported.report["parity"]["origin"] == "generated"
    assert exported.report["calibration"] is None
    assert exported.manifest.name == "l"
    assert exported.manifest.labels is None
    assert json.loads(json.dumps(exported.report)) == ert.Bundle(exported.path).report()


def test_the_public_name() -> None:
    import edgecv_export

    assert edgecv.export is export is edgecv_export.export
    assert set(dir(edgecv_export)) >= {"export", "wrap", "Exported", "__version__"}
    with pytest.raises(AttributeError, match="has no attribute 'exports'"):
        _ = edgecv_export.exports
