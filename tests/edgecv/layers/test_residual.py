"""Residual blocks by hand: parameters, strides, the shortcut without parameters, gates."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from edgecv.layers.pad_channels import layer_class, pad_channels
from edgecv.layers.residual import (
    ResidualStyle,
    basic_block,
    bottleneck_block,
    bottleneck_stages,
    projection,
    squeeze_excite,
)


def weights(model: Any) -> int:
    """Of convolutions alone."""
    return sum(layer.count_params() for layer in model.layers if isinstance(layer, keras.layers.Conv2D))


@pytest.mark.parametrize(
    ("style", "convolutions"),
    [
        # 256 → 64 → 64 → 256, figure 5 of He et al.: 69,632.
        (ResidualStyle(), 256 * 64 + 9 * 64 * 64 + 64 * 256),
        # With biases: 64 + 64 + 256 more.
        (ResidualStyle(bias=True), 69_632 + 384),
        # 256 → 128 (32 groups of 4) → 256, about as many: table 1 of Xie et al.
        (ResidualStyle(groups=32, expansion=2), 256 * 128 + 9 * 4 * 128 + 128 * 256),
        # A gate with reduction 16: 256 · 16 + 16 and 16 · 256 + 256 more.
        (ResidualStyle(squeeze=16), 69_632 + 256 * 16 + 16 + 16 * 256 + 256),
        (ResidualStyle(groups=64, expansion=1, narrow_first=0.5), 256 * 128 + 9 * 128 // 64 * 256 + 256 * 256),
    ],
)
def test_bottleneck_weights_by_hand(style: ResidualStyle, convolutions: int) -> None:
    image = keras.Input((8, 8, 256))
    width = round(256 / style.expansion)
    assert weights(keras.Model(image, bottleneck_block(image, width, 1, image, "block", style))) == convolutions


@pytest.mark.parametrize(("halve_at", "names"), [("1x1", ["block_1_conv"]), ("3x3", ["block_2_conv"])])
def test_the_stride_is_where_the_style_says(halve_at: str, names: list[str]) -> None:
    image = keras.Input((8, 8, 16))
    style = ResidualStyle(halve_at=halve_at)
    shortcut = projection(image, 32, 2, "block", style)
    model = keras.Model(image, bottleneck_block(image, 8, 2, shortcut, "block", style))
    strided = [layer.name for layer in model.layers if getattr(layer, "strides", None) == (2, 2)]
    assert sorted(strided) == ["block_0_conv", *names]
    assert model.output_shape == (None, 4, 4, 32)


def test_stages_double_channels_and_halve_the_map() -> None:
    image = keras.Input((16, 16, 8))
    model = keras.Model(image, bottleneck_stages(image, (1, 2, 1), 4, ResidualStyle()))
    assert model.output_shape == (None, 4, 4, 64)
    assert sum(isinstance(layer, keras.layers.Add) for layer in model.layers) == 4
    assert sum("_0_conv" in layer.name for layer in model.layers) == 3


def test_a_basic_block_adds_its_input_and_a_plain_one_does_not() -> None:
    image = keras.Input((4, 4, 8))
    residual = keras.Model(image, basic_block(image, 8, 1, image, "block", ResidualStyle()))
    plain = keras.Model(image, basic_block(image, 8, 1, None, "block", ResidualStyle()))
    values = np.random.default_rng(0).uniform(0, 1, (1, 4, 4, 8)).astype(np.float32)
    for model in (residual, plain):
        for layer in model.layers:
            if isinstance(layer, keras.layers.Conv2D):
                layer.set_weights([np.zeros_like(value) for value in layer.get_weights()])
    assert np.asarray(residual(values, training=False)) == pytest.approx(values)
    assert np.abs(np.asarray(plain(values, training=False))).max() == 0


def test_padded_channels_by_hand() -> None:
    values = np.arange(2, dtype=np.float32).reshape(1, 1, 1, 2) + 1
    assert np.asarray(pad_channels(values, 5, "pad")).ravel().tolist() == [0, 1, 2, 0, 0]
    layer = layer_class()(6, name="pad")
    assert layer_class().from_config(layer.get_config()).channels == 6


def test_the_gate_scales_whole_channels() -> None:
    image = keras.Input((3, 3, 4))
    model = keras.Model(image, squeeze_excite(image, 2, "gate"))
    model.get_layer("gate_se_expand").set_weights([np.zeros((1, 1, 2, 4)), np.log([1.0, 3.0, 1 / 3, 1e9])])
    values = np.ones((1, 3, 3, 4), np.float32)
    # sigmoid(log x) = x / (1 + x)
    assert np.asarray(model(values))[0, 1, 2] == pytest.approx([1 / 2, 3 / 4, 1 / 4, 1], abs=1e-6)
