"""Single-stage detectors against published figures, and what their outputs promise."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

import edgecv
from edgecv.complexity import complexity
from edgecv.layers.detection_heads import halved, rows
from edgecv.layers.graph import without_weights
from edgecv.layers.l2_scale import l2_scale
from edgecv.models.fcn import initialize_from
from edgecv.models.registry import get_record
from edgecv.models.yolo_anchor import read_anchors
from edgecv_runtime.errors import InputError

# Trainable or not, as published: SSD300 by the Open Model Zoo (26.285 million, Pascal VOC) and torchvision (91 COCO
# classes), tiny YOLO v2 and v3 as Keras counts the converted Darknet files; YOLO v1 by hand from figure 3.
PUBLISHED = {
    ("ssd300", 20): 26_285_486,
    ("yolo_v2_tiny", 20): 15_867_885,
    ("yolo_v3_tiny", 80): 8_858_734,
}


@pytest.mark.parametrize(("model", "parameters"), PUBLISHED.items(), ids=lambda value: str(value).replace(" ", ""))
def test_parameters_are_the_published_ones(model: tuple[str, int], parameters: int) -> None:
    name, classes = model
    with without_weights():
        assert edgecv.create_model(name, classes=classes).count_params() == parameters


def test_ssd300_is_torchvision_s() -> None:
    with without_weights():
        cost = complexity(edgecv.create_model("ssd300", classes=90))
    assert cost.parameters == 35_641_826
    assert cost.macs == pytest.approx(34.858e9, rel=1e-5)


@pytest.mark.parametrize(
    ("name", "millions", "billions"), [("ssdlite_mobilenet_v1", 5.1, 1.3), ("ssdlite_mobilenet_v2", 4.3, 0.8)]
)
def test_ssdlite_is_the_paper_s_table_6(name: str, millions: float, billions: float) -> None:
    with without_weights():
        cost = complexity(edgecv.create_model(name))
    assert round(cost.trainable_parameters / 1e6, 1) == millions
    assert round(cost.macs / 1e9, 1) == billions


def test_yolo_v1_by_hand() -> None:
    """Figure 3: 24 convolutions, then 7·7·1024 to 4096 to 7·7·30."""
    with without_weights():
        model = edgecv.create_model("yolo_v1")
    kernels = [layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]
    assert len(kernels) == 24
    assert kernels[-1].output.shape[1:] == (7, 7, 1024)
    assert model.get_layer("hidden").count_params() == 7 * 7 * 1024 * 4096 + 4096
    assert model.get_layer("predictions").count_params() == 4096 * 1470 + 1470
    assert model.output_shape == (None, 7, 7, 30)
    fully = 7 * 7 * 1024 * 4096 + 4096 + 4096 * 1470 + 1470
    channels = [3, 64, 192, 128, 256, 256, 512, *(256, 512) * 4, 512, 1024, *(512, 1024) * 2, *(1024,) * 4]
    sides = [7, 3, 1, 3, 1, 3, *(1, 3) * 4, 1, 3, *(1, 3) * 2, 3, 3, 3, 3]
    body = sum(k * k * a * b + b for k, a, b in zip(sides, channels[:-1], channels[1:], strict=True))
    assert model.count_params() == body + fully


@pytest.mark.parametrize(
    "name",
    [
        "anchor_free_mobilenet_v2", "ssd300", "ssdlite_mobilenet_v1", "ssdlite_mobilenet_v2", "yolo_v1", "yolo_v1_tiny",
        "yolo_v2_tiny", "yolo_v3_tiny",
    ],
)  # fmt: skip
def test_records_state_parameters_and_multiply_accumulates(name: str) -> None:
    record = get_record(name)
    with without_weights():
        cost = complexity(edgecv.create_model(name))
    assert (cost.parameters, cost.macs) == (record.parameters, record.macs)


def test_the_course_s_cells() -> None:
    """3×3×2×8: 96 pixels, two anchors, three classes; and the first YOLO's 7×7×30."""
    with without_weights():
        model = edgecv.create_model("yolo_v2_tiny", (96, 96, 3), 3, anchors="24x24 48x48", alpha=0.1)
    assert model.output_shape == (None, 3, 3, 2 * 8)
    assert model.output_names == ["grid"]


@pytest.mark.parametrize(
    "size", [(97, 131), *(pytest.param(size, marks=pytest.mark.slow) for size in ((300, 300), (96, 96), (64, 200)))]
)
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("ssd300", {"alpha": 0.05}),
        ("ssdlite_mobilenet_v1", {"alpha": 0.25, "first_stride": 8}),
        ("ssdlite_mobilenet_v1", {"alpha": 0.25}),
        ("ssdlite_mobilenet_v2", {"alpha": 0.35, "first_stride": 8}),
        ("ssdlite_mobilenet_v2", {"alpha": 0.35}),
    ],
)
def test_default_boxes_are_as_many_as_predictions(name: str, options: dict, size: tuple[int, int]) -> None:
    record = get_record(name)
    assert record.decoder is not None
    _, parameters = record.decoder((*size, 3), 5, record.check_options(options))
    with without_weights():
        model = edgecv.create_model(name, (*size, 3), 5, **options)
    count = len(parameters["anchors"])
    assert model.output_shape == [(None, count, 4), (None, count, 6)]
    assert model.output_names == ["boxes", "scores"]


@pytest.mark.parametrize(
    ("name", "options"),
    [("ssd300", {"alpha": 0.1}), ("anchor_free_mobilenet_v2", {"alpha": 0.35, "channels": 16})],
)
def test_scores_are_probabilities_of_the_logits(name: str, options: dict, randomise: Any) -> None:
    model = edgecv.create_model(name, (64, 64, 3), 3, **options)
    randomise(model)
    raw = edgecv.create_model(name, (64, 64, 3), 3, classifier_activation=None, **options)
    raw.set_weights(model.get_weights())
    picture = np.random.default_rng(0).normal(size=(1, 64, 64, 3)).astype(np.float32)
    finished, logits = (
        dict(zip(one.output_names, map(np.asarray, one(picture, training=False)), strict=True)) for one in (model, raw)
    )
    assert list(finished) == list(logits)
    np.testing.assert_allclose(finished["boxes"], logits["boxes"], atol=1e-5)
    if name == "ssd300":
        powers = np.exp(logits["scores"] - logits["scores"].max(axis=-1, keepdims=True))
        expected = {"scores": powers / powers.sum(axis=-1, keepdims=True)}
    else:
        expected = {role: 1 / (1 + np.exp(-logits[role])) for role in ("objectness", "scores")}
    for role, values in expected.items():
        np.testing.assert_allclose(finished[role], values, atol=1e-5)


def test_rows_are_cell_by_cell() -> None:
    image = keras.Input((2, 2, 6))
    model = keras.Model(image, rows([image], 3, "table"))
    values = np.arange(24, dtype=np.float32).reshape(1, 2, 2, 6)
    assert np.asarray(model(values))[0].tolist() == values.reshape(8, 3).tolist()
    assert halved((5, 8), 2) == (2, 2)


def test_l2_scale_by_hand() -> None:
    image = keras.Input((1, 2, 2))
    model = keras.Model(image, l2_scale(image, "scale", 20.0))
    found = np.asarray(model(np.float32([[[[3, 4], [0, 0]]]])))
    np.testing.assert_allclose(found, [[[[12, 16], [0, 0]]]], rtol=1e-6)
    model.layers[-1].set_weights([np.float32([1, 2])])
    np.testing.assert_allclose(np.asarray(model(np.float32([[[[0, 2], [1, 0]]]]))), [[[[0, 2], [1, 0]]]], rtol=1e-6)
    again = keras.models.clone_model(model)
    assert again.layers[-1].get_config()["scale"] == 20.0


def test_a_backbone_takes_over_its_classifier_s_weights(randomise: Any) -> None:
    model = edgecv.create_model("ssdlite_mobilenet_v2", (64, 64, 3), 3, alpha=0.35)
    classifier = edgecv.create_model("mobilenet_v2", (64, 64, 3), alpha=0.35)
    randomise(classifier)
    taken = initialize_from(model, classifier)
    assert len(taken) > 50
    for layer in ("Conv1", "block_13_expand", "Conv_1"):
        np.testing.assert_array_equal(
            model.get_layer(layer).get_weights()[0], classifier.get_layer(layer).get_weights()[0]
        )


def test_anchors_as_text() -> None:
    assert read_anchors("10x14 23x27.5", 1) == [[[10, 14], [23, 27.5]]]
    assert read_anchors("81x82; 10x14 23x27", 2) == [[[81, 82]], [[10, 14], [23, 27]]]
    # Version 2's were published in cells of 32 pixels.
    found = read_anchors(str(get_record("yolo_v2_tiny").check_options({})["anchors"]), 1)[0]
    cells = [(1.08, 1.19), (3.42, 4.41), (6.63, 11.38), (9.42, 5.11), (16.62, 10.52)]
    np.testing.assert_allclose(np.array(found) / 32, cells, rtol=1e-9)


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("ssd300", {"input_shape": (48, 300, 3)}, "at least 64x64 pixels; received 48x300"),
        (
            "ssd300",
            {"alpha": 0.05, "classifier_activation": "sigmoid"},
            "must be 'softmax' or None; received 'sigmoid'",
        ),
        ("ssdlite_mobilenet_v2", {"first_stride": 12}, "first_stride must be 8 or 16; received 12"),
        ("ssdlite_mobilenet_v1", {"smallest": 0.9, "largest": 0.5}, "smallest must be below largest"),
        ("anchor_free_mobilenet_v2", {"input_shape": (100, 96, 3)}, "multiples of 32 pixels; received 100x96"),
        ("yolo_v1_tiny", {"input_shape": (100, 100, 3)}, "grid x 4, 8, 16, ... pixels; received 100x100 and grid=7"),
        ("yolo_v2_tiny", {"stride": 12}, "stride must be 4, 8, 16 or 32; received 12"),
        ("yolo_v2_tiny", {"anchors": "10x14; 3x3"}, "as in '10x14 23x27'; received '10x14; 3x3'"),
        ("yolo_v2_tiny", {"anchors": "10-14"}, "widths and heights in pixels"),
        ("yolo_v3_tiny", {"anchors": "10x14"}, "for 2 maps with a semicolon between; received '10x14'"),
        ("yolo_v3_tiny", {"input_shape": (48, 64, 3)}, "multiples of 32 pixels; received 48x64"),
    ],
)
def test_what_cannot_be_built_is_refused(name: str, arguments: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        edgecv.create_model(name, **arguments)
