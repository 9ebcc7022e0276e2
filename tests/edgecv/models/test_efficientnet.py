"""EfficientNet against the paper and keras.applications."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import edgecv
from edgecv.models import efficientnet as family
from edgecv.models.compound_scaling import Coefficients
from edgecv.models.efficientnet import NAMED, efficientnet
from edgecv_runtime.errors import InputError

VARIANTS = [pytest.param(name, marks=pytest.mark.slow) if name >= "b4" else name for name in NAMED]
PUBLISHED = {
    "b0": 5_330_571,
    "b1": 7_856_239,
    "b2": 9_177_569,
    "b3": 12_320_535,
    "b4": 19_466_823,
    "b5": 30_562_527,
    "b6": 43_265_143,
    "b7": 66_658_687,
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_same_answers_as_keras_applications(
    variant: str, randomise: Callable[..., None], picture: Callable[..., np.ndarray]
) -> None:
    reference = getattr(keras.applications, f"EfficientNet{variant.upper()}")(weights=None, classifier_activation=None)
    ours = edgecv.create_model(f"efficientnet_{variant}")
    assert ours.count_params() == PUBLISHED[variant]
    assert ours.input_shape == reference.input_shape
    randomise(reference)
    ours.set_weights(reference.get_weights())
    next(layer for layer in ours.layers if isinstance(layer, keras.layers.Normalization)).finalize_state()
    size = NAMED[variant].resolution
    batch = picture(size, size)
    expected = np.asarray(reference(batch, training=False))
    # Random weights saturate the softmax, which would hide differences: logits say more.
    logits = keras.Model(ours.input, [ours.get_layer("predictions").output, ours.output])
    found, probabilities = (np.asarray(output) for output in logits(batch, training=False))
    scale = np.abs(expected).max()
    assert scale > 1
    assert np.abs(found - expected).max() <= 1e-5 * scale
    assert np.abs(probabilities - np.asarray(keras.ops.softmax(expected))).max() <= 1e-5


def test_layers_with_weights_have_the_official_names_and_shapes() -> None:
    def inventory(model: Any) -> list[tuple[str, list[tuple[int, ...]]]]:
        return [
            (
                type(layer).__name__ if layer.name.startswith("normalization") else layer.name,
                [tuple(w.shape) for w in layer.weights],
            )
            for layer in model.layers
            if layer.weights
        ]

    assert inventory(edgecv.create_model("efficientnet_b1")) == inventory(
        keras.applications.EfficientNetB1(weights=None)
    )


def test_drop_rates_grow_as_in_the_reference() -> None:
    def rates(model: Any) -> list[tuple[str, float]]:
        return [(layer.name, layer.rate) for layer in model.layers if isinstance(layer, keras.layers.Dropout)]

    assert rates(edgecv.create_model("efficientnet_b0")) == rates(keras.applications.EfficientNetB0(weights=None))


def test_stages_are_table_1() -> None:
    model = efficientnet(0)
    shapes = {layer.name: tuple(layer.output.shape[1:]) for layer in model.layers}
    assert shapes["stem_conv"] == (112, 112, 32)
    assert [shapes[f"block{stage}a_project_conv"] for stage in range(1, 8)] == [
        (112, 112, 16),
        (56, 56, 24),
        (28, 28, 40),
        (14, 14, 80),
        (14, 14, 112),
        (7, 7, 192),
        (7, 7, 320),
    ]
    assert shapes["top_conv"] == (7, 7, 1280)


def test_phi_0_is_b0() -> None:
    assert efficientnet(0).count_params() == efficientnet().count_params() == PUBLISHED["b0"]


def test_phi_1_by_hand() -> None:
    # Width 1.1, depth 1.2, 258 pixels. Channels 16, 24, 40, 80, 112, 192, 320 times 1.1 are 17.6, 26.4, 44, 88,
    # 123.2, 211.2, 352: to multiples of 8 that is 16, 24, 48, 88, 120, 208, 352 (44 rounds half up).
    # Repeats 1, 2, 2, 3, 3, 4, 1 times 1.2, rounded up: 2, 3, 3, 4, 4, 5, 2.
    model = edgecv.create_model("efficientnet", phi=1)
    assert model.input_shape == (None, 258, 258, 3)
    project = [layer for layer in model.layers if layer.name.endswith("project_conv")]
    repeats = [sum(layer.name.startswith(f"block{stage}") for layer in project) for stage in range(1, 8)]
    assert repeats == [2, 3, 3, 4, 4, 5, 2]
    filters = [model.get_layer(f"block{stage}a_project_conv").filters for stage in range(1, 8)]
    assert filters == [16, 24, 48, 88, 120, 208, 352]
    assert model.get_layer("top_conv").filters == 1408
    assert model.get_layer("top_dropout").rate == pytest.approx(0.2 + 0.3 / 7, abs=1e-6)


def test_fractions_and_other_coefficients() -> None:
    assert efficientnet(0.5, (64, 64, 3)).count_params() > PUBLISHED["b0"]
    deeper = efficientnet(1, (64, 64, 3), coefficients=Coefficients(2.0, 1.0, 1.0))
    assert sum(layer.name.endswith("project_conv") for layer in deeper.layers) == 2 * 16


def test_deep_networks_build_and_keep_printable_names() -> None:
    # 1.2^11 = 7.4 times the layers: stage 6 has 30 blocks, and the graph is deeper than Python's recursion limit.
    deep = efficientnet(11, (32, 32, 3), classes=2, coefficients=Coefficients(1.2, 1.0, 1.0))
    names = [layer.name for layer in deep.layers]
    assert "block6z_project_conv" in names
    assert "block6aa_project_conv" in names
    assert all(name.isascii() and name.isprintable() for name in names)


def test_negative_phi() -> None:
    with pytest.raises(InputError, match="phi must be a number of at least 0; received -1"):
        efficientnet(-1)


@pytest.fixture(scope="module")
def official_file(tmp_path_factory: pytest.TempPathFactory, randomise: Callable[..., None]) -> Path:
    """A file as Keras publishes them: the standard deviation stands where the variance belongs."""
    reference = keras.applications.EfficientNetB0(weights=None)
    randomise(reference)
    layer = next(layer for layer in reference.layers if isinstance(layer, keras.layers.Normalization))
    layer.set_weights([np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225]), np.zeros(())])
    path = tmp_path_factory.mktemp("weights") / "efficientnetb0.h5"
    with warnings.catch_warnings():
        # Keras 3.15 saving with numpy 2; nothing of ours.
        warnings.filterwarnings("ignore", message="__array__ implementation doesn't accept a copy keyword")
        reference.save(path)
    return path


def test_official_weights_give_what_keras_gives_with_imagenet(
    official_file: Path, picture: Callable[..., np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    from keras.src.applications import efficientnet as keras_family

    from edgecv.models import pretrained

    monkeypatch.setattr(keras_family.file_utils, "get_file", lambda *_, **__: str(official_file))
    monkeypatch.setattr(pretrained, "official_file", lambda *_: official_file)
    reference = keras.applications.EfficientNetB0(weights="imagenet")
    expected = np.asarray(reference(picture(224, 224), training=False))
    for weights in ("imagenet", official_file):
        ours = edgecv.create_model("efficientnet_b0", weights=weights)
        assert np.abs(np.asarray(ours(picture(224, 224), training=False)) - expected).max() <= 1e-5


def test_a_saved_model_loads_as_it_was(official_file: Path, picture: Callable[..., np.ndarray], tmp_path: Path) -> None:
    first = edgecv.create_model("efficientnet_b0", (64, 64, 3), weights=official_file)
    expected = np.asarray(first(picture(64, 64), training=False))
    for name in ("again.weights.h5", "again.keras"):
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="__array__ implementation doesn't accept a copy keyword")
            (first.save_weights if name.endswith("h5") else first.save)(tmp_path / name)
        second = edgecv.create_model("efficientnet_b0", (64, 64, 3), weights=tmp_path / name)
        assert np.abs(np.asarray(second(picture(64, 64), training=False)) - expected).max() <= 1e-6


def test_repair_leaves_other_variances_alone() -> None:
    model = efficientnet(0, (32, 32, 3), classes=2)
    layer = next(layer for layer in model.layers if isinstance(layer, keras.layers.Normalization))
    right = np.array([0.229, 0.224, 0.225], np.float32) ** 2
    layer.set_weights([np.zeros(3), right, np.zeros(())])
    family.repair_normalization(model)
    assert np.array_equal(np.asarray(layer.get_weights()[1]), right)


def test_dropout_follows_the_reference_table() -> None:
    for variant in ("b0", "b2"):
        model = family.build(NAMED[variant], variant, (32, 32, 3), classes=2)
        assert model.get_layer("top_dropout").rate == NAMED[variant].dropout
