"""A detector with two named outputs and other tasks, all the way to a bundle that runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import keras
import numpy as np
import pytest
from keras import layers

import edgecv_runtime as ert
from edgecv.anomaly import score_maps, scores
from edgecv.layers.task_heads import with_localization
from edgecv.models.factory import create_model
from edgecv.models.registry import Preprocessing
from edgecv_export.calibration import contract_pictures
from edgecv_export.exporter import export
from edgecv_export.quantize.recipe import Recipe
from edgecv_export.reference_dense import BoxReference, float_results
from edgecv_export.sources import source_of
from edgecv_export.sources.keras import named_outputs
from edgecv_export.tasks import task_of
from edgecv_runtime.errors import InputError, UnsupportedError

HALF = Preprocessing(mean=(127.5,) * 3, std=(127.5,) * 3)
FORMATS = ("tflite", "onnx", "openvino")
CELLS = 8


@pytest.fixture(scope="module")
def pictures() -> tuple[np.ndarray, ...]:
    return contract_pictures((16, 16), 6)


@pytest.fixture(scope="module")
def detector() -> Any:
    """16×16 to ``zboxes`` (64, 4), far larger than ``ascores`` (64, 3): neither is in alphabetical order."""
    keras.utils.set_random_seed(2)
    image = keras.Input((16, 16, 3))
    x = layers.ReLU(6.0)(layers.Conv2D(8, 3, strides=2, padding="same", name="first")(image))
    boxes = layers.Conv2D(4, 3, padding="same", name="box_map")(x)
    boxes = layers.Rescaling(40.0, name="large")(boxes)
    boxes = layers.Reshape((CELLS**2, 4), name="zboxes")(boxes)
    scores = layers.Reshape((CELLS**2, 3), name="rows")(layers.Conv2D(3, 1, name="score_map")(x))
    return keras.Model(image, [boxes, layers.Softmax(name="ascores")(scores)])


def decoder() -> tuple[str, dict[str, Any]]:
    centres = (np.stack(np.meshgrid(np.arange(CELLS), np.arange(CELLS)), -1).reshape(-1, 2) + 0.5) / CELLS
    anchors = np.concatenate([centres, np.full_like(centres, 0.2)], axis=1).tolist()
    roles = {"boxes": "zboxes", "scores": "ascores"}
    return "ssd", {"anchors": anchors, "variances": [0.001] * 4, "outputs": roles, "score_threshold": 0.35}


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("precision", ["fp32", pytest.param("fp16", marks=pytest.mark.slow), "int8"])
def test_a_detector(
    detector: Any, pictures: tuple[np.ndarray, ...], format: str, precision: str, tmp_path: Path
) -> None:
    path = tmp_path / "d.edgecv"
    done = export(
        detector, path, format=format, precision=precision, calibration=pictures, decoder=decoder(), preprocessing=HALF
    )
    boxes, scores = done.manifest.outputs
    assert (boxes.name, boxes.shape) == ("zboxes", (1, 64, 4)) and (scores.name, scores.shape) == (
        "ascores",
        (1, 64, 3),
    )
    assert done.manifest.task == "detection"
    integer = precision == "int8"
    assert done.manifest.decoder.parameters.get("activation") == ("softmax" if integer else None)
    if integer and format == "tflite":
        assert boxes.quantization is not None and scores.quantization is not None
        assert boxes.quantization.scale > 5 * scores.quantization.scale
    pixels = source_of(detector, HALF, None, decoder()).pixels(pictures)
    wanted = [np.asarray(output) for output in detector(pixels / 127.5 - 1)]
    with ert.load(path) as model:
        found = [np.concatenate(column) for column in zip(*map(model.raw_outputs, pictures), strict=True)]
        exponentials = np.exp(found[1])
        probabilities = exponentials / exponentials.sum(-1, keepdims=True) if integer else found[1]
        # One step of 256 levels of the boxes is larger than all of the scores' range: they cannot share a scale.
        assert np.abs(found[0] - wanted[0]).max() < (1e-3 if precision == "fp32" else 0.03 * np.ptp(wanted[0]))
        assert np.abs(probabilities - wanted[1]).max() < (1e-5 if precision == "fp32" else 0.02)
        assert len(model(pictures[0])) > 0
    parity = done.report["parity"]
    assert set(parity["outputs"]) == {"zboxes", "ascores"} and parity["agreement"] > 0.9 and parity["objects"] > 0
    assert ert.verify(path).passed


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["dynamic", "int16x8", "mixed"])
def test_a_detector_in_other_precisions(
    detector: Any, pictures: tuple[np.ndarray, ...], precision: str, tmp_path: Path
) -> None:
    path = tmp_path / "d.edgecv"
    kept = ("score_map",) if precision == "mixed" else ()
    done = export(
        detector, path, precision=precision, calibration=pictures, decoder=decoder(), preprocessing=HALF,
        float_layers=kept,
    )  # fmt: skip
    assert [spec.name for spec in done.manifest.outputs] == ["zboxes", "ascores"]
    assert done.report["parity"]["agreement"] > 0.9
    assert ert.verify(path).passed


def test_a_dictionary_of_outputs() -> None:
    image = keras.Input((16, 16, 3))
    x = layers.Flatten()(image)
    heads = {"b": layers.Dense(2, name="two")(x), "a": layers.Dense(3, name="three")(x)}
    model = keras.Model(image, heads)
    # In the order in which Keras keeps them: by their keys, not by the layers' names.
    assert [(spec.name, spec.shape) for spec in named_outputs(model)] == [("three", (1, 3)), ("two", (1, 2))]


def test_what_cannot_be_an_output() -> None:
    image = keras.Input((8, 8, 3), name="picture")
    x = layers.Conv2D(2, 1, name="map")(image)
    for outputs, message in (
        ([x, x], "one of them twice"),
        ([x, image], "must not be the input"),
        ([layers.Conv2D(2, 1, name="image")(image)], "nor bear its name 'image'"),
    ):
        with pytest.raises(UnsupportedError, match=message):
            named_outputs(keras.Model(image, outputs))
    wide = keras.Input((None, 8, 3))
    with pytest.raises(InputError, match="an output must have a fixed shape; 'map2' gives"):
        named_outputs(keras.Model(wide, layers.Conv2D(2, 1, name="map2")(wide)))


def test_sensitivities_count_every_output(detector: Any, pictures: tuple[np.ndarray, ...]) -> None:
    source = source_of(detector, HALF, None, decoder())
    found = source.sensitivities(source.pixels(pictures), Recipe())
    assert {"first", "box_map", "score_map"} <= set(found) and min(found.values()) >= 0
    assert found["box_map"] > 0 and found["score_map"] > 0  # each changes one output only


def test_labels_must_fit_the_decoder(detector: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there must be one label per class: 2 classes, 3 labels"):
        export(detector, tmp_path / "d.edgecv", decoder=decoder(), preprocessing=HALF, labels=("a", "b", "c"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_an_auto_encoder(precision: str, tmp_path: Path) -> None:
    """Scores on the device are those of `edgecv.anomaly` on the Keras model."""
    keras.utils.set_random_seed(0)
    model = create_model("autoencoder", (16, 16, 1), filters=4, latent=8)
    images = contract_pictures((16, 16), 6)
    done = export(model, tmp_path / "a.edgecv", precision=precision, calibration=images)
    assert done.manifest.decoder.name == "anomaly" and done.manifest.outputs[0].name == "pixels"
    source = source_of(model)
    wanted = scores(score_maps(model, source.normalize(source.pixels(images))))
    with ert.load(tmp_path / "a.edgecv") as runnable:
        results = [runnable(image) for image in images]
    found = [result.score for result in results]
    np.testing.assert_allclose(found, wanted, atol=1e-5 if precision == "fp32" else 0.02)
    assert results[0].map.shape == images[0].shape[:2]
    assert done.report["parity"]["score_difference"] < (1e-5 if precision == "fp32" else 0.02)


@pytest.fixture(scope="module")
def masks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight pictures, dark on the left of a line and bright on its right, and masks of it."""
    folder = tmp_path_factory.mktemp("masked")
    generator = np.random.default_rng(0)
    for name in ("images", "masks"):
        (folder / name).mkdir()
    for index in range(8):
        line = 4 + index
        image = generator.integers(0, 60, (16, 16, 3)).astype(np.uint8)
        image[:, line:] += 150
        cv2.imwrite(str(folder / "images" / f"{index}.png"), image)
        mask = np.zeros((16, 16), np.uint8)
        mask[:, line:] = 1
        cv2.imwrite(str(folder / "masks" / f"{index}.png"), mask)
    return folder


def test_a_segmenter_with_its_accuracy(masks: Path, tmp_path: Path) -> None:
    """A network that compares each pixel's green with the middle: every pixel of every picture is right."""
    image = keras.Input((16, 16, 3))
    layer = layers.Conv2D(2, 1, name="scores")
    model = keras.Model(image, layers.Softmax(name="probabilities")(layer(image)))
    kernel = np.zeros((1, 1, 3, 2), np.float32)
    kernel[0, 0, 1] = -3, 3
    layer.set_weights([kernel, np.zeros(2, np.float32)])
    done = export(
        model, tmp_path / "s.edgecv", format="onnx", precision="int8", calibration=masks / "images", evaluation=masks,
        max_drop=0.5, task="segmentation", preprocessing=HALF, labels=("dark", "bright"),
    )  # fmt: skip
    assert done.manifest.outputs[0].name == "probabilities"
    assert done.manifest.decoder.parameters == {"layout": "NHWC", "activation": "softmax"}
    accuracy = done.report["accuracy"]
    assert accuracy["float"]["miou"] == accuracy["artefact"]["miou"] == 1.0
    assert (accuracy["artefact"]["agreement"], accuracy["artefact"]["lost"]) == (1.0, 0)
    assert done.report["parity"]["agreement"] == 1.0
    assert done.report["search"][0]["miou"] == 1.0
    with ert.load(tmp_path / "s.edgecv") as runnable:
        result = runnable(masks / "images" / "2.png")
        probabilities, _ = runnable.score_map(masks / "images" / "2.png")
    assert result.labels == ("bright", "dark") and (result.mask[:, :6] == 0).all() and (result.mask[:, 6:] == 1).all()
    np.testing.assert_allclose(probabilities.sum(-1), 1, rtol=1e-5)


def test_the_accuracy_of_a_detector(detector: Any, pictures: tuple[np.ndarray, ...], tmp_path: Path) -> None:
    """The float source's own boxes as truth: it finds them all, and the artefact nearly so."""
    data = tmp_path / "data"
    for name in ("images", "labels"):
        (data / name).mkdir(parents=True)
    for index, picture in enumerate(pictures):
        cv2.imwrite(str(data / "images" / f"{index}.png"), picture)
    source = source_of(detector, HALF, None, decoder())
    task = task_of("detection")
    items = task.read_evaluation(source, data, None)
    for item, found in float_results(source, items.images):
        height, width = cv2.imread(str(item.path)).shape[:2]
        rows = [
            f"{index} {(x1 + x2) / 2 / width} {(y1 + y2) / 2 / height} {(x2 - x1) / width} {(y2 - y1) / height}"
            for (x1, y1, x2, y2), _, index, _ in found
        ]
        (data / "labels" / f"{item.path.stem}.txt").write_text("\n".join(rows))
    reference = task.evaluation(source, task.read_evaluation(source, data, None), None)
    assert isinstance(reference, BoxReference)
    assert reference.accuracy.map50 > 0.9 and reference.trial == "object" and reference.trials > 6
    done = export(detector, tmp_path / "d.edgecv", decoder=decoder(), preprocessing=HALF, evaluation=data)
    accuracy = done.report["accuracy"]
    assert accuracy["artefact"]["map50"] == pytest.approx(reference.accuracy.map50, abs=1e-6)
    assert accuracy["artefact"]["agreement"] == 1.0


def test_a_task_without_accuracy(masks: Path, tmp_path: Path) -> None:
    image = keras.Input((16, 16, 3))
    model = keras.Model(image, layers.Conv2D(3, 1, name="maps")(image))
    with pytest.raises(UnsupportedError, match="no figure of accuracy for task 'pose': leave out --eval"):
        export(model, tmp_path / "p.edgecv", task="pose", preprocessing=HALF, evaluation=masks)
    done = export(model, tmp_path / "p.edgecv", task="pose", preprocessing=HALF)
    assert done.report["parity"]["keypoint_distance"] == 0.0


def test_classification_with_localization(pictures: tuple[np.ndarray, ...], tmp_path: Path) -> None:
    """The head of `edgecv.layers.task_heads`: a dictionary of outputs, whose softmax an int8 artefact leaves out."""
    keras.utils.set_random_seed(0)
    image = keras.Input((16, 16, 3))
    backbone = keras.Model(image, layers.ReLU(6.0)(layers.Conv2D(8, 3, strides=4)(image)), name="backbone")
    model = with_localization(backbone, 3)
    roles = {"outputs": {"classes": "classes", "box": "box"}}
    done = export(
        model, tmp_path / "l.edgecv", format="onnx", precision="int8", calibration=pictures, preprocessing=HALF,
        decoder=("localization", roles),
    )  # fmt: skip
    assert [spec.name for spec in done.manifest.outputs] == ["box", "classes"]
    assert done.manifest.decoder.parameters == {**roles, "activation": "softmax"}
    wanted = model(source_of(model, HALF, None, ("localization", roles)).pixels(pictures) / 127.5 - 1)
    with ert.load(tmp_path / "l.edgecv") as runnable:
        for index, picture in enumerate(pictures):
            found = runnable(picture)
            x, y, w, h = np.asarray(wanted["box"])[index]
            height, width = picture.shape[:2]
            corners = np.array([x - w / 2, y - h / 2, x + w / 2, y + h / 2]) * np.array([width, height] * 2)
            np.testing.assert_allclose(found.boxes[0], np.clip(corners, 0, [width, height] * 2), atol=0.6)
            assert found.scores[0] == pytest.approx(np.asarray(wanted["classes"])[index].max(), abs=0.02)
