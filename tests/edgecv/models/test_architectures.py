"""The architectures of the classification set against published figures, without allocating a weight."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

import edgecv
from edgecv.complexity import complexity
from edgecv.layers.graph import without_weights
from edgecv.models.registry import get_record, records
from edgecv_runtime.errors import InputError

# Trainable parameters as they are published: by Keras (API documentation), torchvision (documentation of its models),
# the timm and pretrained-models collections, or counted by hand from the paper's table where the comment says so.
PUBLISHED = {
    ("alexnet", ()): 62_378_344,
    ("alexnet", (("towers", 2),)): 60_965_224,  # the deployed Caffe network
    ("vgg16", ()): 138_357_544,
    ("vgg19", ()): 143_667_240,
    ("nin", ()): 7_595_176,  # by hand: 34,944 + 614,656 + 885,120 + 3,539,968 + the eight 1x1 convolutions
    ("googlenet", ()): 6_998_552,  # the deployed Caffe network
    ("resnet18", ()): 11_689_512,
    ("resnet34", ()): 21_797_672,
    ("plain18", ()): 11_689_512 - 172_032 - 1_792,  # ResNet-18 less three projections and their normalisation
    ("plain34", ()): 21_797_672 - 172_032 - 1_792,
    ("resnet50", ()): 25_583_592,
    ("resnet101", ()): 44_601_832,
    ("cifar_resnet20", ()): 269_722,
    ("cifar_resnet32", ()): 464_154,
    ("cifar_resnet44", ()): 658_586,
    ("cifar_resnet56", ()): 853_018,
    ("cifar_plain20", ()): 269_722,
    ("resnext50", ()): 25_028_904,
    ("resnext101", ()): 44_177_704,
    ("resnext101", (("cardinality", 64),)): 83_455_272,
    ("se_resnet50", ()): 28_088_024,
    ("densenet121", ()): 7_978_856,
    ("densenet169", ()): 14_149_480,
    ("inception_v3", ()): 23_817_352,
    ("inception_v4", ()): 42_679_816,
    ("xception", ()): 22_855_952,
    ("voxnet", ()): 921_736,  # Maturana & Scherer 2015, section III.C, 40 classes
}
PUBLISHED_SLOW = {
    ("resnet152", ()): 60_268_520,
    ("cifar_resnet110", ()): 1_727_962,
    ("densenet201", ()): 20_013_928,
    ("densenet264", ()): 33_337_704,
    ("inception_resnet_v2", ()): 55_813_192,
    ("nasnet_mobile", ()): 5_289_978,
    ("nasnet_large", ()): 88_753_150,
    ("pnasnet5", ()): 86_057_668,
    ("polynet", ()): 95_366_600,
    ("se_resnet101", ()): 49_326_872,
    ("se_resnet152", ()): 66_821_848,
    ("senet154", ()): 115_088_984,
}
_EVERY = [*PUBLISHED.items(), *(pytest.param(*item, marks=pytest.mark.slow) for item in PUBLISHED_SLOW.items())]


@pytest.mark.parametrize(
    ("model", "parameters"), _EVERY, ids=lambda value: str(value[0]) if isinstance(value, tuple) else ""
)
def test_trainable_parameters_are_the_published_ones(model: Any, parameters: int) -> None:
    name, options = model
    with without_weights():
        built = edgecv.create_model(name, **dict(options))
    assert sum(int(np.prod(weight.shape)) for weight in built.trainable_weights) == parameters


@pytest.mark.slow
@pytest.mark.parametrize(("name", "millions"), [("amoebanet_a", 86.7), ("amoebanet_c", 155.3)])
def test_amoebanet_s_parameters_to_the_paper_s_digit(name: str, millions: float) -> None:
    # Real et al. 2019, table 2: (6, 190) and (6, 228).
    with without_weights():
        built = edgecv.create_model(name)
    trainable = sum(int(np.prod(weight.shape)) for weight in built.trainable_weights)
    assert round(trainable / 1e6, 1) == millions


@pytest.mark.parametrize(
    ("name", "options", "billions", "tolerance"),
    [
        ("vgg16", {}, 15.47, 0.01),  # Simonyan & Zisserman, as every survey counts them
        ("resnet18", {}, 1.8, 0.05),  # He et al., table 1
        ("resnet34", {}, 3.6, 0.07),
        ("resnet50", {}, 3.8, 0.07),
        ("resnet50", {"halve_at": "3x3"}, 4.1, 0.05),  # Tan & Le, table 2
        ("resnet101", {}, 7.6, 0.05),
        ("googlenet", {}, 1.5, 0.1),  # Szegedy et al., section 2: 1.5 billion at most, counted roughly
        ("resnext50", {}, 4.2, 0.05),  # Xie et al., table 1: 4.2·10⁹
        ("se_resnet50", {}, 3.87, 0.02),  # Hu et al., section 4
        ("inception_v3", {}, 5.7, 0.05),  # Tan & Le, table 2
        ("xception", {}, 8.4, 0.05),
        ("densenet121", {}, 2.85, 0.02),
    ],
)
def test_multiply_adds_are_the_papers(name: str, options: dict, billions: float, tolerance: float) -> None:
    with without_weights():
        built = edgecv.create_model(name, **options)
    assert complexity(built).macs / 1e9 == pytest.approx(billions, abs=tolerance)


def test_alexnet_is_the_course_s_table() -> None:
    with without_weights():
        model = edgecv.create_model("alexnet")
    shapes = {layer.name: tuple(layer.output.shape[1:]) for layer in model.layers}
    assert shapes["conv1"] == (55, 55, 96)
    assert shapes["pool1"] == (27, 27, 96)
    assert shapes["conv2"] == (27, 27, 256)
    assert shapes["conv3"] == shapes["conv4"] == (13, 13, 384)
    assert shapes["conv5"] == (13, 13, 256)
    assert shapes["pool5"] == (6, 6, 256)
    parameters = {layer.name: layer.count_params() for layer in model.layers}
    assert parameters["conv1"] == 34_944
    assert parameters["fc1"] == 37_752_832
    assert parameters["predictions"] == 4_097_000


SMALL = {
    "alexnet": {"dense_width": 16},
    "googlenet": {},
    "nin": {},
    "resnet18": {},
    "plain18": {},
    "cifar_resnet20": {"shortcut": "projection"},
    "resnext50": {"cardinality": 2},
    "se_resnet50": {},
    "inception_v4": {},
    "polynet": {"units": 4},
    "pnasnet5": {"cells": 1, "filters": 8},
    "amoebanet_a": {"cells": 1, "filters": 8},
    "amoebanet_c": {"cells": 1, "filters": 8},
    "xception": {},
    "signal_fcn": {},
    "voxnet": {},
}


@pytest.mark.parametrize("name", SMALL)
def test_smallest_input_other_classes_and_every_ending(name: str) -> None:
    record = get_record(name)
    shape = (*(record.minimum_size for _ in record.input_shape[:-1]), record.input_shape[-1])
    with without_weights():
        model = edgecv.create_model(name, shape, classes=7, **SMALL[name])
        headless = edgecv.create_model(name, shape, include_top=False, **SMALL[name])
    assert model.output_shape == (None, 7)
    assert model.layers[-1].name == "probabilities"
    assert model.layers[-1].activation is keras.activations.softmax
    # What class activation maps are drawn from is what the network ends with when its classifier is left out, but for
    # NiN, whose last 1x1 convolutions are the classifier.
    names = {layer.name for layer in model.layers}
    joining = model.get_layer("avg_pool" if "avg_pool" in names else "flatten")
    if name != "nin":
        assert joining.input.shape == headless.output.shape
    smaller = (record.minimum_size - 1, *shape[1:])
    with pytest.raises(InputError, match=f"at least {record.minimum_size}"):
        edgecv.create_model(name, smaller, **SMALL[name])


def test_they_answer_with_a_distribution() -> None:
    for name in ("cifar_resnet20", "signal_fcn", "voxnet"):
        record = get_record(name)
        model = edgecv.create_model(name, classes=3)
        values = np.random.default_rng(0).normal(0, 1, (2, *record.input_shape)).astype(np.float32)
        assert np.asarray(model(values, training=False)).sum(axis=1) == pytest.approx([1, 1], abs=1e-5)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("resnet50", {"halve_at": "5x5"}, "halve_at must be '1x1' or '3x3'; received '5x5'"),
        ("cifar_resnet20", {"shortcut": "none"}, "shortcut must be 'identity' or 'projection'; received 'none'"),
        ("alexnet", {"towers": 3}, r"towers must be a whole number in \[1, 2\]; received 3"),
        ("signal_fcn", {"input_shape": (128, 128, 1)}, r"input_shape must be \(length, channels\); received"),
        ("voxnet", {"input_shape": (32, 1)}, r"input_shape must be \(depth, height, width, channels\); received"),
        ("voxnet", {"input_shape": (32, 8, 32, 1)}, "every length of the input must be at least 12; received"),
        ("resnet18", {"weights": "imagenet"}, "resnet18 has no official weights: its authors publish no weights"),
        ("resnet50", {"weights": "imagenet", "halve_at": "3x3"}, "official weights exist for halve_at"),
    ],
)
def test_what_cannot_be_built_is_refused(name: str, options: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        edgecv.create_model(name, **options)


def test_every_record_of_the_set_states_its_multiply_accumulates() -> None:
    own = {name for name, _ in (*PUBLISHED, *PUBLISHED_SLOW)}
    assert all(record.macs for record in records() if record.name in own)


def test_polynet_shares_the_convolutions_of_a_poly_unit() -> None:
    with without_weights():
        model = edgecv.create_model("polynet", (75, 75, 3), units=4)
    shared = model.get_layer("b1_path1_2_conv")
    assert len(shared._inbound_nodes) == 3
    assert shared.count_params() == 7 * 128 * 160
    assert len({layer.name for layer in model.layers if layer.name.endswith("path1_2_bn") and "b1_" in layer.name}) == 3
