"""Transfer: the body's weights arrive, frozen ones stay, two rates apply in one pass."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest

import edgecv
from edgecv.transfer import freeze_statistics, freeze_to, replace_head, two_rates
from edgecv_runtime.errors import InputError, MissingFileError


def weights_of(model: keras.Model) -> dict[str, list[np.ndarray]]:
    return {layer.name: layer.get_weights() for layer in model.layers if layer.weights}


def test_the_body_of_shipped_weights() -> None:
    donor = weights_of(edgecv.create_model("lenet5", weights="digits"))
    transfer = replace_head("lenet5", 3, "digits")
    assert transfer.head == ("output",) and transfer.model.output_shape == (None, 3)
    assert edgecv.models.factory.architecture_of(transfer.model).record.name == "lenet5"
    for name, values in weights_of(transfer.model).items():
        if name != "output":
            assert all(np.array_equal(a, b) for a, b in zip(values, donor[name], strict=True)), name
    # As many classes as before: the head is new all the same.
    again = replace_head("lenet5", 10, "digits")
    assert not np.allclose(weights_of(again.model)["output"][0], donor["output"][0])


@pytest.mark.parametrize(("trained", "suffix"), [(4, ".weights.h5"), (7, ".keras"), (120, ".weights.h5")])
def test_a_file_of_any_number_of_classes(trained: int, suffix: str, tmp_path: Path) -> None:
    donor = edgecv.create_model("lenet5", classes=trained)
    (donor.save if suffix == ".keras" else donor.save_weights)(tmp_path / f"w{suffix}")
    transfer = replace_head("lenet5", 5, tmp_path / f"w{suffix}")
    found, expected = weights_of(transfer.model), weights_of(donor)
    assert transfer.head == ("output",)
    for name in found.keys() - {"output"}:
        assert all(np.array_equal(a, b) for a, b in zip(found[name], expected[name], strict=True)), name


@pytest.mark.parametrize(
    ("name", "shape", "head"),
    [("mobilenet_v1", (32, 32, 3), 1), ("unet_same", (32, 32, 1), 1), ("fcn8s", (32, 32, 3), 6)],
)
def test_heads_are_found_by_what_depends_on_the_classes(
    name: str, shape: tuple[int, int, int], head: int, tmp_path: Path
) -> None:
    options = {"unet_same": {"filters": 2}}.get(name, {"alpha": 0.1})
    donor = edgecv.create_model(name, shape, 6, **options)
    donor.save_weights(tmp_path / "w.weights.h5")
    transfer = replace_head(name, 3, tmp_path / "w.weights.h5", shape, **options)
    assert len(transfer.head) == head
    assert transfer.model.output_shape[-1] == 3


def test_weights_that_do_not_fit(tmp_path: Path) -> None:
    edgecv.create_model("lenet5", (32, 32, 1), 10).save_weights(tmp_path / "l.weights.h5")
    with pytest.raises(InputError, match="does not hold the weights of this mobilenet_v1"):
        replace_head("mobilenet_v1", 5, tmp_path / "l.weights.h5", (32, 32, 3), alpha=0.1)
    with pytest.raises(MissingFileError, match="no weights at"):
        replace_head("lenet5", 5, tmp_path / "none.weights.h5")
    with pytest.raises(InputError, match="mobilefacenet ends in no classes"):
        replace_head("mobilefacenet", 5, "x")


def tiny() -> keras.Model:
    keras.utils.set_random_seed(1)
    image = keras.Input((8, 8, 1))
    x = keras.layers.Conv2D(4, 3, name="conv1")(image)
    x = keras.layers.BatchNormalization(name="norm1")(x)
    x = keras.layers.Conv2D(4, 3, name="conv2")(x)
    x = keras.layers.BatchNormalization(name="norm2")(x)
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(image, keras.layers.Dense(3, activation="softmax", name="head")(x), name="tiny")


def step(model: keras.Model, count: int = 1) -> None:
    generator = np.random.default_rng(0)
    images = generator.normal(3, 2, (16, 8, 8, 1)).astype(np.float32)
    targets = np.eye(3, dtype=np.float32)[generator.integers(0, 3, 16)]
    for _ in range(count):
        model.train_on_batch(images, targets)


def test_what_is_frozen_does_not_move() -> None:
    model = tiny()
    assert freeze_to(model, "norm1") == ("conv1", "norm1")
    model.compile(keras.optimizers.Adam(0.01), "categorical_crossentropy")
    before = weights_of(model)
    step(model, 3)
    after = weights_of(model)
    for name in ("conv1", "norm1"):  # the statistics of the norm among them
        assert all(np.array_equal(a, b) for a, b in zip(before[name], after[name], strict=True)), name
    for name in ("conv2", "norm2", "head"):
        assert all(not np.array_equal(a, b) for a, b in zip(before[name], after[name], strict=True)), name


def test_frozen_statistics() -> None:
    model = tiny()
    assert freeze_statistics(model) == 2 and freeze_statistics(model) == 0
    model.compile(keras.optimizers.Adam(0.01), "categorical_crossentropy")
    before = weights_of(model)
    step(model)
    after = weights_of(model)
    assert all(np.array_equal(a, b) for a, b in zip(before["norm2"], after["norm2"], strict=True))
    assert not np.array_equal(before["conv2"][0], after["conv2"][0])


def test_freezing_too_much_or_nothing_known() -> None:
    with pytest.raises(InputError, match="tiny has no layer 'conv3': did you mean conv2 or conv1"):
        freeze_to(tiny(), "conv3")
    with pytest.raises(InputError, match="freezing tiny up to 'head' leaves nothing to train: name an earlier layer"):
        freeze_to(tiny(), "head")


def test_two_rates_in_one_pass() -> None:
    # Adam's first step is the learning rate itself, g / (|g| + ε) being ±1 (Kingma & Ba 2015, section 2.1).
    model = tiny()
    model.compile(two_rates(model, ("head",), 1e-2, 0.01), "categorical_crossentropy")
    before = weights_of(model)
    step(model)
    after = weights_of(model)
    moved = {name: np.abs(after[name][0] - before[name][0]).max() for name in after}
    assert moved["head"] == pytest.approx(1e-2, rel=1e-3)
    assert moved["conv1"] == pytest.approx(1e-4, rel=1e-2)
    assert moved["conv2"] == pytest.approx(1e-4, rel=1e-2)
    assert int(model.optimizer.iterations) == 1


def test_two_rates_follow_one_schedule_and_zero_stands_still() -> None:
    model = tiny()
    schedule = keras.optimizers.schedules.CosineDecay(1e-2, 4)
    model.compile(two_rates(model, ("head",), schedule, 0.0), "categorical_crossentropy")
    before = weights_of(model)
    step(model, 4)
    after = weights_of(model)
    assert np.array_equal(before["conv1"][0], after["conv1"][0])
    # Rates 1, 0.854, 0.5, 0.146 times 0.01: no weight goes farther than their sum.
    assert 1e-2 < np.abs(after["head"][0] - before["head"][0]).max() <= 0.0251
    with pytest.raises(InputError, match="tiny has no layer 'top'"):
        two_rates(model, ("top",), 1e-2, 0.1)
    with pytest.raises(InputError, match="body_factor must be at least 0; received -1"):
        two_rates(model, ("head",), 1e-2, -1)
