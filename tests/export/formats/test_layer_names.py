"""From names inside artefacts back to layers."""

from __future__ import annotations

import re

import keras
import numpy as np
import pytest
from keras import layers

from edgecv_export.formats.layer_names import fingerprint, layers_in, scope_of, scopes_by_kernel, shortened


@pytest.mark.parametrize("name", ["conv", "block_1_conv", "Conv_1", "1x1", "a.b-c", "conv2d"])
def test_ordinary_names_stay(name: str) -> None:
    assert scope_of(name) == name


ODD = [
    "conv é",
    "conv è",
    "conv  ",
    "conv__",
    "_conv",
    "-conv",
    "層",
    "层",
    "a:0",
    "a;0",
    "a\\0",
    "a>0",
    "a/0",
    " ",
    "_",
]


def test_other_names_become_scopes_that_differ() -> None:
    scopes = [scope_of(name) for name in ODD]
    assert len({*scopes, "conv", "a_0"}) == len(ODD) + 2
    for scope in scopes:
        # What tf.name_scope asks of an outermost scope, without the slash that separates them.
        assert re.fullmatch(r"[A-Za-z0-9.][A-Za-z0-9_.\\>-]*", scope), scope
        assert not re.search(r"[;:/>\\]", scope)
        assert scope_of(scope) == scope


def test_the_readable_part_stays() -> None:
    assert scope_of("_conv").startswith("conv_")
    assert scope_of("stem conv").startswith("stem_conv_")


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("relu/Relu6;conv/BiasAdd;conv/convolution", ("relu", "conv")),
        ("conv/conv_1/BiasAdd", ("conv",)),
        ("Identity", ()),
        ("", ()),
        ("Conv_2:0", ()),
        ("tfl.quantize", ()),
        ("image;conv/BiasAdd", ("conv",)),
    ],
)
def test_layers_in_a_name(name: str, found: tuple[str, ...]) -> None:
    assert layers_in(name) == found


@pytest.mark.parametrize(
    ("name", "short"),
    [
        ("relu/relu_1/Relu6;conv/conv_1/BiasAdd;conv/conv_1/convolution", "relu/Relu6;conv/BiasAdd"),
        ("conv/conv/BiasAdd", "conv/BiasAdd"),
        ("conv/convolution", "conv/convolution"),  # no repetition: the word only begins alike
        ("conv/conv_x/BiasAdd", "conv/conv_x/BiasAdd"),
        ("Identity", "Identity"),
        ("logits", "logits"),
    ],
)
def test_shortened(name: str, short: str) -> None:
    assert shortened(name) == short
    assert layers_in(short) == layers_in(name)


def test_a_fingerprint_is_the_same_in_every_layout() -> None:
    kernel = np.random.default_rng(0).normal(size=(3, 3, 5, 7)).astype(np.float32)
    assert fingerprint(kernel) == fingerprint(kernel.transpose(3, 2, 0, 1)) == fingerprint(kernel.reshape(-1))
    assert fingerprint(kernel) == fingerprint(kernel * np.float32(1 + 1e-7))
    assert fingerprint(kernel) != fingerprint(kernel[..., :6])
    assert fingerprint(kernel) != fingerprint(kernel * 1.1)


def test_scopes_by_kernel_leave_out_what_is_ambiguous() -> None:
    keras.utils.set_random_seed(0)
    image = x = keras.Input((8, 8, 3))
    for name in ("a", "_b", "c", "d"):
        x = layers.Conv2D(3, 1, name=name)(x)
    model = keras.Model(image, layers.ReLU()(x))
    model.get_layer("d").set_weights(model.get_layer("c").get_weights())
    found = scopes_by_kernel(model)
    assert set(found.values()) == {"a", scope_of("_b")}
    assert found[fingerprint(np.array(model.get_layer("a").kernel).transpose(3, 2, 0, 1))] == "a"
