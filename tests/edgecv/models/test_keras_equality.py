"""Equal answers to keras.applications, with its weights copied across."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import edgecv
from edgecv.models.imagenet import swap_first_channels
from edgecv.models.registry import get_record

# (ours, theirs, pixels)
SMALL = [("resnet50", "ResNet50", 33)]
LARGE = [
    ("vgg16", "VGG16", 48),
    ("vgg19", "VGG19", 48),
    ("resnet50", "ResNet50", 224),
    ("resnet101", "ResNet101", 64),
    ("resnet152", "ResNet152", 64),
    ("densenet121", "DenseNet121", 64),
    ("densenet169", "DenseNet169", 64),
    ("densenet201", "DenseNet201", 64),
    ("inception_v3", "InceptionV3", 96),
    ("inception_resnet_v2", "InceptionResNetV2", 96),
    ("xception", "Xception", 96),
    ("nasnet_mobile", "NASNetMobile", 64),
    ("nasnet_large", "NASNetLarge", 64),
]


@pytest.mark.parametrize(
    ("ours", "theirs", "pixels"), [*SMALL, *(pytest.param(*case, marks=pytest.mark.slow) for case in LARGE)]
)
def test_same_answers_with_the_same_weights(
    ours: str, theirs: str, pixels: int, randomise: Callable[..., None], picture: Callable[..., np.ndarray]
) -> None:
    shape = (pixels, pixels, 3)
    reference = getattr(keras.applications, theirs)(input_shape=shape, weights=None, classes=10)
    randomise(reference)
    model = edgecv.create_model(ours, shape, classes=10)
    model.set_weights(reference.get_weights())
    batch = picture(pixels, pixels, count=2) / 127.5 - 1
    expected = np.asarray(reference(batch, training=False))
    assert np.abs(expected - 0.1).max() > 1e-3  # not the uniform 0.1: the comparison means something
    assert np.abs(np.asarray(model(batch, training=False)) - expected).max() <= 1e-5


def test_vgg_s_convolutions_are_keras_s(randomise: Callable[..., None], picture: Callable[..., np.ndarray]) -> None:
    # Without the dense layers' hundred million parameters, which an everyday test has no time for.
    reference = keras.applications.VGG16(include_top=False, input_shape=(32, 32, 3), weights=None)
    randomise(reference)
    model = edgecv.create_model("vgg16", (32, 32, 3), include_top=False)
    model.set_weights(reference.get_weights())
    batch = picture(32, 32) / 127.5 - 1
    expected = np.asarray(reference(batch, training=False))
    assert expected.max() > 1e-3
    assert np.asarray(model(batch, training=False)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("name", "module"),
    [
        ("vgg16", "vgg16"),
        ("vgg19", "vgg19"),
        ("densenet121", "densenet"),
        ("densenet169", "densenet"),
        ("densenet201", "densenet"),
        ("inception_v3", "inception_v3"),
        ("inception_resnet_v2", "inception_resnet_v2"),
        ("xception", "xception"),
        ("nasnet_mobile", "nasnet"),
        ("nasnet_large", "nasnet"),
        ("resnet50", "resnet"),
        ("resnet101", "resnet"),
        ("resnet152", "resnet"),
    ],
)
def test_files_and_hashes_are_those_that_keras_states(name: str, module: str) -> None:
    import importlib

    source = Path(str(importlib.import_module(f"keras.src.applications.{module}").__file__)).read_text(encoding="utf-8")
    weights = get_record(name).weights
    assert [file.include_top for file in weights] == [True, False]
    for file in weights:
        assert f'"{file.md5}"' in source
        if module != "resnet":  # which puts the names together
            assert file.file.replace("inception_resnet_v2_weights_", "") in source


def test_blue_and_red_change_places_in_official_weights_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from edgecv.models import pretrained, registry

    for depth in (50, 101, 152):
        assert get_record(f"resnet{depth}").after_official is swap_first_channels
    # The same on a network small enough to be written and read.
    monkeypatch.setattr(registry, "_RECORDS", dict(registry._RECORDS))
    small = get_record("cifar_plain20")
    assert small.builder is not None
    registry.register(replace(small, name="swapped", after_official=swap_first_channels))(small.builder)
    reference = edgecv.create_model("swapped")
    path = tmp_path / "official.weights.h5"
    reference.save_weights(path)
    monkeypatch.setattr(pretrained, "official_file", lambda *_: path)

    def first_kernel(weights: Any) -> np.ndarray:
        return np.array(edgecv.create_model("swapped", weights=weights).get_layer("conv1_conv").kernel)

    own, official = first_kernel(path), first_kernel("imagenet")
    assert np.array_equal(own, np.array(reference.get_layer("conv1_conv").kernel))
    assert np.array_equal(official, own[:, :, ::-1])
