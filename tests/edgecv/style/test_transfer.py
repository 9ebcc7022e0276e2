"""The perceptual network, the optimisation and the training, on a tiny network."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import edgecv
from edgecv.models.registry import Preprocessing
from edgecv.style.descent import choose_method, descend
from edgecv.style.feed_forward import paint, train_transfer
from edgecv.style.optimise import transfer_style
from edgecv.style.perception import Goal, PerceptualNetwork, Weights, default_layers, fit
from edgecv_runtime.errors import InputError, MissingPackageError

PLAIN = Preprocessing(mean=(0.0,) * 3, std=(255.0,) * 3)
EVEN = Weights(1.0, 1.0, 0.0)


@pytest.fixture(scope="module")
def network() -> PerceptualNetwork:
    """Two scales of random filters."""
    keras.utils.set_random_seed(3)
    x = image = keras.Input((16, 16, 3))
    x = keras.layers.Conv2D(8, 3, padding="same", activation="relu", name="fine")(x)
    x = keras.layers.MaxPooling2D()(x)
    x = keras.layers.Conv2D(8, 3, padding="same", activation="relu", name="coarse")(x)
    scores = keras.layers.Dense(3)(keras.layers.GlobalAveragePooling2D()(x))
    return PerceptualNetwork(keras.Model(image, scores), PLAIN)


def stripes(size: int = 16) -> np.ndarray:
    """As dark as the disc: noise and grey are far from both."""
    image = np.zeros((size, size, 3), np.uint8)
    image[::4], image[1::4] = (60, 15, 5), (60, 15, 5)
    return image


def disc(size: int = 16) -> np.ndarray:
    y, x = np.mgrid[:size, :size] - size / 2
    return np.where((x**2 + y**2 < (size / 3) ** 2)[..., None], 70, 10).astype(np.uint8).repeat(3, axis=2)


def test_a_picture_covers_the_network_s_size() -> None:
    image = np.zeros((4, 8, 3), np.uint8)
    image[:, 2:6] = 255
    assert fit(image, (4, 4)).tolist() == np.ones((4, 4, 3)).tolist()  # the middle
    assert fit(image[:, :1], (8, 6)).shape == (8, 6, 3)


def test_default_layers(network: PerceptualNetwork) -> None:
    assert network.style_layers == ("fine", "coarse") and network.content_layers == ("coarse",)
    # The picture, and MobileNet's last maps at stride 2, 4, 8 and 16; content at stride 8.
    content, style = default_layers(edgecv.create_model("mobilenet_v1", (160, 160, 3), alpha=0.1))
    assert content == ("conv_pw_5_relu",)
    assert style == ("image", *(f"conv_pw_{index}_relu" for index in (1, 3, 5, 11)))


def test_units_are_the_distance_of_the_other_picture(network: PerceptualNetwork) -> None:
    content, style = network.fit(disc()), network.fit(stripes())
    goal = Goal(network, style, content[None])
    as_content, as_style = goal.of(content[None], content[None]), goal.of(style[None], content[None])
    assert (as_content["content"], as_content["style"]) == pytest.approx((0, 1), abs=1e-4)
    assert (as_style["content"], as_style["style"]) == pytest.approx((1, 0), abs=1e-4)
    weighed = np.asarray(
        Goal(network, style, content[None], Weights(2, 3, 0)).losses(content[None], network.maps(content[None])[0])
    )
    assert weighed[0] == pytest.approx([0, 3, 0], abs=1e-4)


@pytest.mark.parametrize("method", ["l-bfgs", "adam"])
def test_both_losses_fall_and_the_seed_decides(network: PerceptualNetwork, method: str) -> None:
    if method == "l-bfgs":
        pytest.importorskip("scipy")
    seen = []
    found = transfer_style(
        network,
        disc(),
        stripes(),
        steps=25,
        weights=EVEN,
        method=method,
        notify=lambda step, parts: seen.append(parts),
    )
    assert found.image.shape == (16, 16, 3) and found.image.dtype == np.uint8 and found.method == method
    assert found.end["content"] < 0.7 * found.start["content"] and found.end["style"] < 0.7 * found.start["style"]
    assert found.history.sum(axis=1)[-1] < found.history.sum(axis=1)[0]
    assert len(seen) == len(found.history) and seen[-1]["style"] == pytest.approx(float(found.history[-1, 1]))
    again = transfer_style(network, disc(), stripes(), steps=25, weights=EVEN, method=method)
    np.testing.assert_array_equal(again.image, found.image)


def test_content_alone_paints_the_content(network: PerceptualNetwork) -> None:
    found = transfer_style(network, disc(), stripes(), steps=1, weights=Weights(1, 0, 0), start="content")
    np.testing.assert_array_equal(found.image, disc())


def test_descent_finds_the_nearest_colours() -> None:
    """½ (x − a)² within 0..1: a itself, and the border where a lies outside."""
    wanted = np.array([[[[0.25, 0.5, 1.5]]]], np.float32)
    for method in ("l-bfgs", "adam"):
        if method == "l-bfgs":
            pytest.importorskip("scipy")
        found = descend(
            lambda x: keras.ops.sum(keras.ops.square(x - wanted), axis=(1, 2)) / 2,
            np.full((1, 1, 1, 3), 0.9, np.float32),
            200,
            method,
            lambda step, parts: None,
        )
        assert found == pytest.approx(np.array([[[[0.25, 0.5, 1]]]]), abs=1e-3)


def test_a_transfer_network_learns_both(network: PerceptualNetwork) -> None:
    keras.utils.set_random_seed(0)
    model = edgecv.create_model("style_transfer", (16, 16, 3), filters=4, blocks=1)
    before = model.get_weights()
    contents = np.stack([network.fit(disc()), network.fit(disc()[4:12, 4:12]), network.fit(disc()[:8])])
    judged = Goal(network, network.fit(stripes()), contents).of(paint(model, contents), contents)
    frozen = [value.copy() for value in network._extractor.get_weights()]
    goal = train_transfer(model, network, contents, stripes(), steps=40, batch=2, learning_rate=1e-2, weights=EVEN)
    after = goal.of(paint(model, contents), contents)
    assert after["content"] < judged["content"] and after["style"] < judged["style"]
    assert any(not np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))
    for a, b in zip(frozen, network._extractor.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_transfer_network() -> None:
    model = edgecv.create_model("style_transfer", (32, 48, 3), filters=4, blocks=2)
    painted = np.asarray(model(np.random.default_rng(0).random((1, 32, 48, 3)).astype(np.float32)))
    assert painted.shape == (1, 32, 48, 3) and 0 <= painted.min() < painted.max() <= 1
    # Instance normalisation: brightness and contrast of a picture do not reach the second layer.
    model = edgecv.create_model("style_transfer", (16, 16, 3), filters=4, blocks=1, norm="instance")
    layer = model.get_layer("stem_in")
    maps = np.random.default_rng(0).normal(3, 2, (2, 4, 4, 4)).astype(np.float32)
    assert np.asarray(layer(maps)).mean(axis=(1, 2)) == pytest.approx(np.zeros((2, 4)), abs=1e-5)
    assert np.asarray(layer(maps)).std(axis=(1, 2)) == pytest.approx(np.ones((2, 4)), abs=1e-3)


def test_refused(network: PerceptualNetwork, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="norm must be 'batch' or 'instance'; received 'layer'"):
        edgecv.create_model("style_transfer", norm="layer")
    with pytest.raises(InputError, match="weights must not be negative"):
        Weights(0, 0, 1)
    with pytest.raises(InputError, match="'nowhere' is no feature map of"):
        PerceptualNetwork(edgecv.create_model("lenet5", (32, 32, 3)), PLAIN, ["nowhere"])
    with pytest.raises(InputError, match=r"the network must take \(N, height, width, 3\)"):
        PerceptualNetwork(edgecv.create_model("lenet5"), PLAIN)
    with pytest.raises(InputError, match="steps must be at least 1; received 0"):
        transfer_style(network, disc(), stripes(), steps=0)
    with pytest.raises(InputError, match="start must be noise or content; received 'white'"):
        transfer_style(network, disc(), stripes(), start="white")
    with pytest.raises(InputError, match="method must be l-bfgs or adam; received 'sgd'"):
        choose_method("sgd")
    model = edgecv.create_model("style_transfer", (32, 32, 3), filters=4, blocks=0)
    with pytest.raises(InputError, match="model, network and pictures must have one size"):
        train_transfer(model, network, np.zeros((2, 16, 16, 3)), stripes())


def test_without_scipy(monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.util

    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "scipy" else find(name))
    assert choose_method(None) == "adam"
    with pytest.raises(MissingPackageError, match=r"needs SciPy: pip install 'edgecv\[style\]', or take method adam"):
        choose_method("l-bfgs")
