"""FCN, U-Net, SegNet, DeepLab and the auto-encoder against their papers, and by hand."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

import edgecv
from edgecv.complexity import complexity
from edgecv.explain.gradients import gradient
from edgecv.layers.graph import without_weights
from edgecv.layers.upsampling import bilinear_kernel, upsample
from edgecv.models.fcn import initialize_from
from edgecv.receptive_field import receptive_fields
from edgecv_runtime.errors import InputError

SMALL = {"fcn32s": 32, "fcn16s": 32, "fcn8s": 32, "unet": 188, "unet_same": 16, "segnet": 32}


# -- U-Net -------------------------------------------------------------------------------------------------------------


def test_unet_is_figure_1() -> None:
    with without_weights():
        model = edgecv.create_model("unet")
    sides = {layer.name: layer.output.shape[1:] for layer in model.layers}
    assert [sides[f"down{level}_relu2"][0] for level in range(1, 5)] == [568, 280, 136, 64]
    assert sides["bottom_relu2"] == (28, 28, 1024)
    assert [sides[f"up{level}_join"] for level in (4, 3, 2, 1)] == [
        (56, 56, 1024),
        (104, 104, 512),
        (200, 200, 256),
        (392, 392, 128),
    ]
    assert model.output_shape == (None, 388, 388, 2)


def test_unet_parameters_by_hand() -> None:
    def pair(channels: int, filters: int) -> int:
        return 9 * channels * filters + filters + 9 * filters**2 + filters

    widths = (64, 128, 256, 512, 1024)
    down = sum(pair(a, b) for a, b in zip((1, *widths[:-1]), widths, strict=True))
    up = sum(4 * 2 * w * w + w + pair(2 * w, w) for w in widths[:-1])
    with without_weights():
        model = edgecv.create_model("unet")
    assert model.count_params() == down + up + 64 * 2 + 2 == 31_030_658


def test_valid_unet_sees_no_border() -> None:
    """Every answer depends on the picture alone: its field, and the gradient, stay inside."""
    model = edgecv.create_model("unet", (188, 204, 1), filters=1, classifier_activation=None)
    assert model.output_shape == (None, 4, 20, 2)
    field = receptive_fields(model)["scores"]
    assert field is not None
    for weight in model.weights:
        weight.assign(np.full(weight.shape, 0.5, np.float32))
    ones = np.ones((1, 188, 204, 1), np.float32)
    for position in ((0, 0), (3, 19), (2, 7)):
        _, slope = gradient(lambda x, at=position: model(x, training=False)[:, at[0], at[1], 0], ones)
        reached = np.argwhere(np.abs(slope[0, ..., 0]) > 0)
        (top, bottom), (left, right) = field.of(position)
        assert top <= reached[:, 0].min() and reached[:, 0].max() <= bottom
        assert left <= reached[:, 1].min() and reached[:, 1].max() <= right
    assert field.size == (215, 215)


def test_unet_sizes() -> None:
    with pytest.raises(InputError, match="height and width must be 124 plus a multiple of 16 pixels.*received 200x188"):
        edgecv.create_model("unet", (200, 188, 1))
    with pytest.raises(InputError, match="height and width must be multiples of 16 pixels; received 40x48"):
        edgecv.create_model("unet_same", (40, 48, 1))


# -- FCN ---------------------------------------------------------------------------------------------------------------


def test_fcn_parameters_by_hand() -> None:
    body = 14_714_688 + (49 * 512 * 4096 + 4096) + (4096 * 4096 + 4096) + (4096 * 21 + 21)
    upsampling = {"fcn32s": 64**2, "fcn16s": 4**2 + 32**2, "fcn8s": 2 * 4**2 + 16**2}
    skips = {"fcn32s": 0, "fcn16s": 512 * 21 + 21, "fcn8s": (512 + 256) * 21 + 42}
    for name in upsampling:
        with without_weights():
            model = edgecv.create_model(name)
        assert model.count_params() == body + upsampling[name] * 21 * 21 + skips[name]
        assert model.output_shape == (None, 224, 224, 21)


def test_upsampling_starts_as_bilinear_interpolation() -> None:
    assert bilinear_kernel(2) == pytest.approx(np.outer([1, 3, 3, 1], [1, 3, 3, 1]) / 16)
    image = keras.Input((8, 9, 2))
    model = keras.Model(image, upsample(image, 4, "up"))
    pixels = np.random.default_rng(0).normal(size=(1, 8, 9, 2)).astype(np.float32)
    expected = np.asarray(keras.layers.UpSampling2D(4, interpolation="bilinear")(pixels))
    assert np.asarray(model(pixels))[:, 2:-2, 2:-2] == pytest.approx(expected[:, 2:-2, 2:-2], abs=1e-5)


def test_each_fcn_starts_from_the_coarser_one() -> None:
    shape = (160, 192, 3)
    models = {
        name: edgecv.create_model(name, shape, classes=3, alpha=0.05, classifier_activation=None)
        for name in ("fcn32s", "fcn16s", "fcn8s")
    }
    coarse = models["fcn32s"]
    for layer in coarse.layers:
        if layer.name.startswith(("block", "fc", "score")) and layer.weights:  # He's rule keeps the signal alive
            kernel, bias = layer.get_weights()
            layer.set_weights(
                [np.random.default_rng(1).normal(0, np.sqrt(2 / kernel[..., 0].size), kernel.shape), bias]
            )
    taken = initialize_from(models["fcn16s"], coarse)
    assert taken[-1] == "score_fc" and len(taken) == 13 + 2 + 1
    assert "score_block4_pool" in initialize_from(models["fcn8s"], models["fcn16s"])
    pixels = np.random.default_rng(2).normal(size=(1, *shape)).astype(np.float32)
    answers = [np.asarray(model(pixels, training=False)) for model in models.values()]
    # The new scores are zero: what is left differs only by interpolating in one step or in several.
    inner = [answer[:, 32:-32, 32:-32].ravel() for answer in answers]
    assert inner[0].std() > 0
    for finer in inner[1:]:
        assert np.corrcoef(inner[0], finer)[0, 1] > 0.98
    dense = keras.Sequential([keras.Input((4, 2, 3)), keras.layers.Flatten(), keras.layers.Dense(5, name="fc")])
    image = keras.Input((4, 2, 3))
    convolution = keras.Model(image, keras.layers.Conv2D(5, (4, 2), name="fc")(image))
    assert initialize_from(convolution, dense) == ("fc",)
    window = np.random.default_rng(3).normal(size=(1, 4, 2, 3)).astype(np.float32)
    assert np.asarray(convolution(window)).ravel() == pytest.approx(np.asarray(dense(window)).ravel(), abs=1e-5)
    with pytest.raises(InputError, match="must have layers of .*, by name and shape; it has none"):
        initialize_from(convolution, models["fcn8s"])


def test_fcn_sizes() -> None:
    with pytest.raises(InputError, match="fcn8s: height and width must be multiples of 32 pixels; received 40x64"):
        edgecv.create_model("fcn8s", (40, 64, 3))


# -- the others --------------------------------------------------------------------------------------------------------


def test_segnet_has_the_published_size() -> None:
    with without_weights():
        model = edgecv.create_model("segnet")
    assert round(model.count_params() / 1e6, 2) == pytest.approx(29.45, abs=0.02)  # Badrinarayanan et al., table 6
    assert model.output_shape == (None, 352, 480, 11)
    assert [layer.name for layer in model.layers if layer.name.startswith("unpool")] == [
        f"unpool{block}" for block in (5, 4, 3, 2, 1)
    ]


def test_deeplab_takes_the_weights_of_mobilenet() -> None:
    model = edgecv.create_model("deeplab_mobilenet_v2", (64, 96, 3), classes=4, alpha=0.35)
    assert model.output_shape == (None, 64, 96, 4)
    assert model.get_layer("block_16_project_BN").output.shape == (None, 4, 6, 112)
    assert model.get_layer("block_14_depthwise").dilation_rate == (2, 2)
    backbone = edgecv.create_model("mobilenet_v2", (96, 96, 3), alpha=0.35, include_top=False)
    taken = initialize_from(model, backbone)
    assert len(taken) == sum(bool(layer.weights) for layer in backbone.layers) - 2  # all but Conv_1 and its norm
    assert complexity(model).macs > 0


def test_autoencoder() -> None:
    model = edgecv.create_model("autoencoder")
    rebuilt = np.asarray(model(np.random.default_rng(0).uniform(0, 1, (2, 32, 32, 1)).astype(np.float32)))
    assert rebuilt.shape == (2, 32, 32, 1)
    assert rebuilt.min() >= 0 and rebuilt.max() <= 1
    code = edgecv.create_model("autoencoder", (16, 24, 3), latent=5, include_top=False)
    assert code.output_shape == (None, 5)
    # 16·9 + 16, 32·16·9 + 32, 64·32·9 + 64, 1024·32 + 32, 32·1024 + 1024, 64·32·16 + 32, 32·16·16 + 16, 16·16 + 1
    assert model.count_params() == 160 + 4640 + 18_496 + 32_800 + 33_792 + 32_800 + 8208 + 257


@pytest.mark.parametrize("name", SMALL)
def test_answers_are_distributions_at_every_place(name: str) -> None:
    shape = (SMALL[name], SMALL[name], edgecv.models.get_record(name).input_shape[2])
    options: dict[str, Any] = {"filters": 2} if "unet" in name else {"alpha": 0.05}
    model = edgecv.create_model(name, shape, classes=5, **options)
    scores = np.asarray(model(np.random.default_rng(0).uniform(-1, 1, (2, *shape)).astype(np.float32), training=False))
    assert scores.shape[-1] == 5
    assert scores.sum(axis=-1) == pytest.approx(np.ones(scores.shape[:-1]), abs=1e-5)
