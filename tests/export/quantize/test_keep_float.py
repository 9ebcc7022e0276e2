"""Which layers go with those that stay in float."""

from __future__ import annotations

from typing import Any

import keras
import pytest
from keras import layers

from edgecv_export.quantize.keep_float import with_activations
from edgecv_runtime.errors import InputError


@pytest.fixture(scope="module")
def network() -> Any:
    """conv → relu → depth → relu6 → swish_conv → swish → (left, right → right_relu) → sum → sum_relu → pool → last."""
    image = keras.Input((8, 8, 3))
    x = layers.ReLU(name="relu")(layers.Conv2D(4, 3, name="conv")(image))
    x = layers.ReLU(6.0, name="relu6")(layers.DepthwiseConv2D(3, name="depth")(x))
    x = layers.Activation("silu", name="swish")(layers.Conv2D(4, 1, name="swish_conv")(x))
    left = layers.Conv2D(4, 1, name="left")(x)
    right = layers.ReLU(name="right_relu")(layers.Conv2D(4, 1, name="right")(x))
    x = layers.ReLU(name="sum_relu")(layers.Add(name="sum")([left, right]))
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(image, layers.Dense(2, name="last")(x), name="net")


@pytest.mark.parametrize(
    ("names", "kept"),
    [
        (["conv"], ("conv", "relu")),
        (["depth"], ("depth", "relu6")),
        (["relu"], ("relu",)),
        (["swish_conv"], ("swish_conv",)),  # no format computes a swish inside a convolution
        (["left"], ("left",)),
        (["right"], ("right", "right_relu")),
        (["sum"], ("sum", "sum_relu")),
        (["pool"], ("pool",)),
        (["last"], ("last",)),
        (["last", "conv", "depth"], ("conv", "relu", "depth", "relu6", "last")),  # in order of computation
        (["conv", "conv", "relu"], ("conv", "relu")),
        ([], ()),
    ],
    ids=str,
)
def test_the_activation_behind_a_layer_goes_with_it(names: list[str], kept: tuple[str, ...], network: Any) -> None:
    assert with_activations(network, names) == kept


def test_a_layer_that_is_called_twice() -> None:
    image = keras.Input((8, 8, 3))
    shared = layers.Conv2D(3, 1, name="shared")
    x = layers.ReLU(name="a")(shared(image))
    network = keras.Model(image, layers.ReLU(name="b")(layers.Conv2D(3, 1, name="between")(shared(x))))
    assert with_activations(network, ["shared"]) == ("shared", "a")


def test_the_last_activation_is_kept_as_well() -> None:
    image = keras.Input((8, 8, 3))
    network = keras.Model(image, layers.ReLU(name="end")(layers.Conv2D(3, 1, name="conv")(image)))
    assert with_activations(network, ["conv"]) == ("conv", "end")


def test_an_unknown_name(network: Any) -> None:
    with pytest.raises(InputError) as caught:
        with_activations(network, ["conv", "konv"])
    assert str(caught.value) == (
        "float_layers must name layers of 'net'; 'konv' is none: see [layer.name for layer in model.layers]"
    )
