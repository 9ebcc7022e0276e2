"""An aware network computes as the integer artefact does, and hands over exactly that."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edgecv_export.quantize.affine import Range, quantize_weights
from edgecv_export.quantize.aware.insert import correct_biases, finish, prepare
from edgecv_export.quantize.fold import fold_batch_norms
from edgecv_export.quantize.inputs import peel_input_scaling
from edgecv_export.quantize.kernels import channel_axes, has_kernel, kernel_of
from edgecv_export.quantize.simulate import simulate
from edgecv_runtime.errors import InputError, UnsupportedError


def logits(model: Any, images: np.ndarray) -> np.ndarray:
    return np.asarray(model.predict_on_batch(images))


def check_handed_over(aware: Any, images: np.ndarray) -> tuple[Any, dict[str, Range]]:
    """The network and ranges of `finish`, run by the independent simulation, answer as the aware network does."""
    network, ranges = finish(aware)
    for layer in network.layers:
        if has_kernel(layer):
            kernel = kernel_of(layer)
            np.testing.assert_allclose(
                quantize_weights(kernel, channel_axes(layer)), kernel, atol=1e-6 * np.abs(kernel).max()
            )
    np.testing.assert_allclose(simulate(network, images, ranges), logits(aware, images), rtol=0, atol=1e-4)
    return network, ranges


@pytest.mark.parametrize("options", [{}, {"ranges": "learned"}, {"widen": 16.0}], ids=str)
def test_residual_network(residual: Any, images: np.ndarray, options: dict[str, Any]) -> None:
    aware = prepare(residual, images, **options)
    network, ranges = check_handed_over(aware, images)
    # The branch is stored before the addition, the stem and the sum behind their ReLU; pooling by maximum and the
    # logits have no range of their own.
    assert list(ranges) == ["stem_relu", "branch", "sum_relu", "pool"]
    assert [layer.name for layer in network.layers if has_kernel(layer)] == ["stem", "branch", "logits"]
    error = np.abs(logits(aware, images) - logits(residual, images)).max()
    assert 0 < error < (1.0 if "widen" in options else 0.05) * np.abs(logits(residual, images)).max()


def test_widening_is_of_every_range(residual: Any, images: np.ndarray) -> None:
    _, plain = finish(prepare(residual, images))
    _, wide = finish(prepare(residual, images, widen=4.0))
    for name, range_ in plain.items():
        assert wide[name].high - wide[name].low == pytest.approx(4 * (range_.high - range_.low), rel=1e-5)


def test_squeeze_and_excitation(gated: Any, images: np.ndarray) -> None:
    _, ranges = check_handed_over(prepare(gated, images), images)
    # A swish stores its input and its output, the gate's sigmoid too.
    wanted = {"a_dwconv", "a_activation", "a_se_reduce", "a_se_reduce_silu", "a_se_expand", "a_se_expand_sigmoid"}
    assert wanted | {"a_se_squeeze", "a_se_excite", "b_add", "avg_pool"} <= set(ranges)
    assert "predictions" not in ranges
    assert 0 <= ranges["a_se_expand_sigmoid"].low <= ranges["a_se_expand_sigmoid"].high <= 1.01


def test_lenet(lenet: Any) -> None:
    from edgecv.data import draw_digits
    from edgecv_export.quantize.fold import split_activation

    network, _ = split_activation(lenet)
    digits = draw_digits(30, seed=8)[0][..., None].astype(np.float32) / 255
    aware = prepare(network, digits)
    check_handed_over(aware, digits)
    assert (logits(aware, digits).argmax(1) == logits(lenet, digits).argmax(1)).mean() >= 0.95


def test_mobilenet(settle: Any) -> None:
    import keras

    from edgecv.models.factory import create_model
    from edgecv_export.quantize.fold import split_activation

    keras.utils.set_random_seed(6)
    model = create_model("mobilenet_v1", input_shape=(32, 32, 3), classes=10, alpha=0.25)
    pictures = np.random.default_rng(0).uniform(-1, 1, (16, 32, 32, 3)).astype(np.float32)
    settle(model, pictures)
    network, _ = split_activation(model)
    _, ranges = check_handed_over(prepare(network, pictures), pictures)
    assert len(ranges) == 28  # the first convolution, thirteen pairs, the pooling; no logits


def test_nested_model_and_shared_layer(images: np.ndarray) -> None:
    import keras

    layers = keras.layers
    inner_image = keras.Input((16, 16, 3))
    inner = keras.Model(inner_image, layers.Conv2D(4, 3, padding="same", name="inner_conv")(inner_image), name="inner")
    shared = layers.Conv2D(4, 3, padding="same", activation="relu", name="shared")
    image = keras.Input((16, 16, 3))
    x = shared(shared(inner(image)))
    model = keras.Model(image, layers.Dense(3, name="logits")(layers.Flatten()(x)))
    aware = prepare(model, images)
    assert sum(layer.name == "shared_aware_kernel" for layer in aware.layers) == 1
    network, ranges = finish(aware)
    assert list(ranges) == ["inner_conv", "shared"]
    both = {**ranges, "shared:1": ranges["shared"]}
    np.testing.assert_allclose(simulate(network, images, both), logits(aware, images), rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("layers", "unrounded"),
    [
        ({"inner": "image", "branch": "inner", "shortcut": "image"}, {"branch"}),  # of two, the first of the sum
        ({"stem": "image", "inner": "stem", "branch": "inner", "shortcut": None}, {"branch"}),
        ({"stem": "image", "branch": "stem", "shortcut": None}, set()),  # reads what it is added to
    ],
)
def test_fused_sums_round_after_the_sum_alone(
    layers: dict[str, str | None], unrounded: set[str], images: np.ndarray
) -> None:
    import keras

    tensors = {"image": keras.Input((16, 16, 3), name="image")}
    for name, source in layers.items():
        if source is not None:
            kind = None if name in ("branch", "shortcut") else "relu"
            conv = keras.layers.Conv2D(4, 3, padding="same", activation=kind, name=name)
            tensors[name] = conv(tensors[source])
    shortcut = tensors.get("shortcut", tensors.get("stem"))
    total = keras.layers.ReLU(name="total")(keras.layers.Add(name="sum")([tensors["branch"], shortcut]))
    model = keras.Model(tensors["image"], keras.layers.Dense(2)(keras.layers.Flatten()(total)))
    everywhere, fused = (finish(prepare(model, images, fused_sums=asked))[1] for asked in (False, True))
    assert set(everywhere) - set(fused) == unrounded
    assert fused == {name: everywhere[name] for name in fused}


def test_scaling_at_the_input_is_peeled_first(residual: Any, images: np.ndarray) -> None:
    import keras

    image = keras.Input((16, 16, 3))
    model = keras.Model(image, residual(keras.layers.Rescaling(1 / 64, -1, name="rescaling")(image)))
    network, mean, std = peel_input_scaling(keras.Model(image, model(image)), (0.0,) * 3, (1.0,) * 3)
    assert (mean, std) == ((0.0,) * 3, (1.0,) * 3)  # nested: nothing to see before it is laid open
    assert "rescaling" in finish(prepare(network, images))[1]


def test_float_layers_keep_kernel_and_output(residual: Any, images: np.ndarray) -> None:
    folded = fold_batch_norms(residual)
    network, ranges = finish(prepare(residual, images, float_layers=["branch", "stem"]))
    assert list(ranges) == ["sum_relu", "pool"]
    for name, same in (("branch", True), ("stem", True), ("logits", False)):
        close = np.allclose(kernel_of(network.get_layer(name)), kernel_of(folded.get_layer(name)), rtol=1e-6, atol=1e-9)
        assert close is same


def test_given_ranges_are_begun_with(residual: Any, images: np.ndarray) -> None:
    given = {"branch": Range(-3, 5)}
    _, ranges = finish(prepare(residual, images, initial=given))
    assert ranges["branch"].high - ranges["branch"].low == pytest.approx(8)
    assert ranges["branch"].low == pytest.approx(-3, abs=8 / 255)


def test_what_goes_for_an_output_goes_for_the_activation_split_off(gated: Any, images: np.ndarray) -> None:
    _, ranges = finish(prepare(gated, images, initial={"a_se_expand": Range(0, 2)}, float_layers=["a_se_reduce"]))
    assert ranges["a_se_expand_sigmoid"].high == pytest.approx(2)
    assert not {"a_se_reduce", "a_se_reduce_silu"} & set(ranges)


def test_biases_are_corrected_as_after_training(residual: Any, images: np.ndarray) -> None:
    aware = prepare(residual, images, widen=32.0)
    kernels = finish(aware)[0].get_layer("branch").kernel
    wanted = logits(residual, images)
    before = logits(aware, images)
    correct_biases(aware, images)
    after = logits(aware, images)
    # Means over the images meet again; the kernels are as they were.
    assert np.abs((before - wanted).mean(axis=0)).max() > 10 * np.abs((after - wanted).mean(axis=0)).max()
    np.testing.assert_array_equal(finish(aware)[0].get_layer("branch").kernel, kernels)


def test_batch_statistics_and_dropout_have_no_part(residual: Any, images: np.ndarray) -> None:
    aware = prepare(residual, images)
    kinds = {type(layer).__name__ for layer in aware.layers}
    assert not kinds & {"BatchNormalization", "Dropout"}


def test_aware_networks_can_be_saved(residual: Any, images: np.ndarray, tmp_path: Any) -> None:
    import keras

    aware = prepare(residual, images)
    path = tmp_path / "aware.keras"
    aware.save(path)
    again = keras.models.load_model(path)
    np.testing.assert_allclose(logits(again, images), logits(aware, images), atol=1e-5)
    assert finish(again)[1] == finish(aware)[1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ranges": "best"}, "'moving_average' or 'learned'; received 'best'"),
        ({"bits": 1}, "bits must be from 2 to 8; received 1"),
        ({"widen": 0.5}, "widen must be at least 1; received 0.5"),
        ({"widen": 2.0, "ranges": "learned"}, "would shrink until the widening is undone"),
        ({"float_layers": ["nothing"]}, "float_layers must name layers"),
    ],
)
def test_what_is_refused(residual: Any, images: np.ndarray, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        prepare(residual, images, **options)


def test_finish_refuses_what_no_artefact_holds(residual: Any, images: np.ndarray) -> None:
    with pytest.raises(UnsupportedError, match="this network has 4 bits"):
        finish(prepare(residual, images, bits=4))
    with pytest.raises(InputError, match="has no aware layer"):
        finish(residual)
