"""Two-stage detectors against their papers, and OverFeat's windows against sliding."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import edgecv
from edgecv.complexity import complexity
from edgecv.fully_convolutional import slide
from edgecv.layers.graph import without_weights
from edgecv.models.fast_rcnn import sliding_windows
from edgecv.models.fcn import initialize_from
from edgecv.models.overfeat import windows_of
from edgecv.models.registry import get_record
from edgecv.two_stage.options import anchor_shapes
from edgecv_runtime.errors import InputError

VGG_BODY = 14_714_688
DENSE = (49 * 512 * 4096 + 4096) + (4096 * 4096 + 4096)


def region_layers(width: int, classes: int) -> int:
    return (width + 1) * (1 + classes) + (width + 1) * 4 * classes


def test_parameters_by_hand() -> None:
    proposals = (9 * 512 * 512 + 512) + 513 * 2 * 9 + 513 * 4 * 9  # 3×3, then 2k and 4k with k = 9
    alexnet = 62_378_344 - (4096 * 1000 + 1000)
    expected = {
        "rcnn": alexnet + region_layers(4096, 20),
        "fast_rcnn": VGG_BODY + DENSE + region_layers(4096, 20),
        "faster_rcnn": VGG_BODY + DENSE + region_layers(4096, 20) + proposals,
    }
    for name, parameters in expected.items():
        with without_weights():
            model = edgecv.create_model(name)
        assert model.count_params() == parameters == get_record(name).parameters
        assert complexity(model).macs == get_record(name).macs


def test_faster_rcnn_has_the_paper_s_outputs() -> None:
    with without_weights():
        model = edgecv.create_model("faster_rcnn")
    assert model.get_layer("rpn_logits_map").output.shape == (None, 38, 64, 18)
    assert model.get_layer("rpn_offsets_map").output.shape == (None, 38, 64, 36)
    assert model.get_layer("proposals").output[0].shape == (None, 300, 4)
    assert model.output_names == ["boxes", "scores"]
    areas = [round(w * h) for w, h in anchor_shapes(128 / 608, (608, 1024))]
    assert areas == [128**2] * 3 + [256**2] * 3 + [512**2] * 3
    assert sorted({round(h / w, 6) for w, h in anchor_shapes(0.3, (64, 64))}) == [0.5, 1, 2]


def test_mask_rcnn_has_the_paper_s_outputs() -> None:
    with without_weights():
        model = edgecv.create_model("mask_rcnn", keypoints=17)
    shapes = dict(zip(model.output_names, (output.shape[1:] for output in model.outputs), strict=True))
    assert shapes == {
        "boxes": (100, 4), "scores": (100,), "classes": (100,), "masks": (100, 28, 28), "keypoints": (100, 56, 56, 17),
    }  # fmt: skip
    assert model.get_layer("mask_features").output.shape[1:] == (14, 14, 1024)
    assert sum(layer.name.startswith("mask_conv") for layer in model.layers) == 4
    assert sum(layer.name.startswith("keypoint_conv") for layer in model.layers) == 8
    with without_weights():
        model, record = edgecv.create_model("mask_rcnn"), get_record("mask_rcnn")
    assert model.count_params() == record.parameters
    cost = complexity(model)
    assert cost.macs == record.macs
    # A hundred detections have a mask each: 14 · 14 places, 256 filters of 3 · 3 · 1024.
    heads = {row.name: row.macs for row in cost.layers}
    assert heads["mask_conv1"] == 100 * 14 * 14 * 256 * 3 * 3 * 1024
    assert heads["roi_fc6"] == 300 * 7 * 7 * 1024 * 1024
    sizes = {row.name: row.activation_bytes for row in cost.layers}
    assert sizes["mask_features"] == 4 * 100 * 14 * 14 * 1024
    assert sizes["masks"] == 4 * 100 * 28 * 28


def test_overfeat_is_table_1() -> None:
    with without_weights():
        model = edgecv.create_model("overfeat")
    sides = {name: model.get_layer(name).output.shape[1:] for name in ("pool1", "conv2", "pool2", "pool5", "class_fc6")}
    assert sides == {
        "pool1": (28, 28, 96), "conv2": (24, 24, 256), "pool2": (12, 12, 256), "pool5": (6, 6, 1024),
        "class_fc6": (1, 1, 3072),
    }  # fmt: skip
    classifier = sum(
        layer.count_params() for layer in model.layers if not layer.name.startswith("box") and layer.name != "class_map"
    )
    assert round((classifier + 4097 * 1000) / 1e6) == 146  # the paper's 145 million, and its biases
    assert model.count_params() == get_record("overfeat").parameters
    assert complexity(model).macs == get_record("overfeat").macs


def test_overfeat_s_answers_are_those_of_sliding_windows() -> None:
    """Padding within the network makes inner windows see their surroundings: with it taken out they are equal."""
    options: dict[str, Any] = {"alpha": 0.02, "window": 103}
    small = edgecv.create_model("overfeat", (103, 103, 3), 2, **options)
    large = edgecv.create_model("overfeat", (103 + 32, 103 + 70, 3), 2, **options)
    for model in (small, large):
        for stage in (3, 4, 5):
            layer = model.get_layer(f"conv{stage}")
            kernel, bias = layer.get_weights()
            kernel[[0, 2]], kernel[:, [0, 2]] = 0, 0  # only the middle of 3×3: what is padded does not count
            layer.set_weights([kernel, bias])
        generator = np.random.default_rng(0)
        for layer in model.layers:
            if layer.weights:
                kernel, bias = layer.get_weights()
                values = generator.normal(0, np.sqrt(2 / kernel[..., 0].size), kernel.shape)
                layer.set_weights([values * (kernel != 0), generator.normal(0, 0.1, bias.shape)])
    image = np.random.default_rng(1).uniform(-1, 1, (135, 173, 3)).astype(np.float32)
    import keras

    windows = slide(keras.Model(small.input, small.outputs[1]), image, (32, 32))
    scores = np.asarray(large(image[None], training=False)[1])
    assert windows_of((135, 173), 103).tolist() == [
        [x, y, x + 103, y + 103] for y in (0, 32) for x in (0, 32, 64)
    ]  # fmt: skip
    np.testing.assert_allclose(scores.reshape(windows.shape), windows, atol=1e-5)
    assert windows.std(axis=(0, 1)).max() > 1e-4


@pytest.mark.parametrize("backbone", ["plain", "mobilenet_v2", "vgg16", "resnet50"])
def test_backbones(backbone: str) -> None:
    with without_weights():
        model = edgecv.create_model("faster_rcnn", (64, 96, 3), 3, backbone=backbone, dense_width=8, proposals=5)
    stride = 8 if backbone == "plain" else 16
    assert model.get_layer("features").output.shape[1:3] == (64 // stride, 96 // stride)
    assert [output.shape for output in model.outputs] == [(None, 5, 12), (None, 5, 4)]


def test_a_classifier_s_weights_begin_a_detector() -> None:
    model = edgecv.create_model(
        "faster_rcnn", (64, 64, 3), 3, backbone="mobilenet_v2", alpha=0.35, dense_width=8, proposals=5
    )
    classifier = edgecv.create_model("mobilenet_v2", (64, 64, 3), alpha=0.35, include_top=False)
    taken = initialize_from(model, classifier)
    assert "block_12_project" in taken and "Conv_1" not in taken
    first = model.get_layer("Conv1").get_weights()[0]
    np.testing.assert_array_equal(first, classifier.get_layer("Conv1").get_weights()[0])


def test_regions_that_are_given() -> None:
    options: dict[str, Any] = {"backbone": "plain", "alpha": 0.25, "dense_width": 8, "roi_size": 2}
    given = edgecv.create_model("fast_rcnn", (48, 48, 3), 2, regions=3, **options)
    fixed = edgecv.create_model("fast_rcnn", (48, 48, 3), 2, anchor_scale=0.4, **options)
    fixed.set_weights(given.get_weights())
    windows = sliding_windows((48, 48), 0.4)
    assert (windows[:, :2] >= 0).all() and (windows[:, 2:] <= 48 + 1e-4).all()
    image = np.random.default_rng(0).uniform(-1, 1, (1, 48, 48, 3)).astype(np.float32)
    regions = np.stack([windows[0], windows[5], np.zeros(4, np.float32)])[None]
    found = [np.asarray(output) for output in given([image, regions], training=False)]
    every = [np.asarray(output) for output in fixed(image, training=False)]
    for some, all_ in zip(found, every, strict=True):
        np.testing.assert_allclose(some[:, :2], all_[:, [0, 5]], atol=1e-4)
    assert not found[1][0, 2].any()  # a row of zeros stands for nothing


@pytest.mark.parametrize(
    ("name", "shape", "options", "message"),
    [
        ("faster_rcnn", (65, 64, 3), {}, "multiples of 16 pixels for backbone vgg16; received 65x64"),
        ("faster_rcnn", (64, 64, 3), {"alpha": 0.5}, "backbone vgg16 has one width"),
        ("fast_rcnn", (64, 64, 3), {"backbone": "x"}, "backbone must be one of vgg16, resnet50"),
        ("rcnn", (32, 32, 3), {}, "at least 67x67"),
        ("overfeat", (200, 231, 3), {}, "at least 231x231"),
    ],
)
def test_refused(name: str, shape: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        edgecv.create_model(name, shape, 3, **options)
