"""GoogLeNet: the auxiliary heads train the same network and are gone when it is used."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import edgecv
from edgecv.layers.graph import without_weights
from edgecv.models.googlenet import training_model
from edgecv_runtime.errors import InputError


def test_parameters_with_both_heads() -> None:
    with without_weights():
        model = training_model(edgecv.create_model("googlenet"))
    # Of each head: 1x1 convolution, dense 2048 → 1024, dense 1024 → 1000; from 512 and from 528 channels.
    heads = [channels * 128 + 128 + 2_098_176 + 1_025_000 for channels in (512, 528)]
    assert model.count_params() == 6_998_552 + sum(heads) == 13_378_280  # Caffe's training network
    assert {name: tuple(output.shape) for name, output in model.output.items()} == {
        "main": (None, 1000),
        "auxiliary1": (None, 1000),
        "auxiliary2": (None, 1000),
    }


def test_training_with_the_heads_trains_the_network_that_is_kept() -> None:
    keras.utils.set_random_seed(0)
    main = edgecv.create_model("googlenet", (80, 80, 3), classes=2)
    model = training_model(main)
    model.compile(
        keras.optimizers.SGD(0.01),
        loss=dict.fromkeys(model.output, "sparse_categorical_crossentropy"),
        loss_weights={"main": 1.0, "auxiliary1": 0.3, "auxiliary2": 0.3},
    )
    before = np.array(main.get_layer("conv1").kernel)
    generator = np.random.default_rng(0)
    images, labels = generator.normal(0, 50, (4, 80, 80, 3)).astype(np.float32), np.array([0, 1, 0, 1])
    losses = model.train_on_batch(images, dict.fromkeys(model.output, labels), return_dict=True)
    assert set(losses) >= {"loss", "main_loss", "auxiliary1_loss", "auxiliary2_loss"}
    assert not np.array_equal(before, np.array(main.get_layer("conv1").kernel))
    # What is exported has one output and none of the heads' layers, and answers as the trained one does.
    assert not [layer.name for layer in main.layers if "auxiliary" in layer.name]
    expected = np.asarray(model(images, training=False)["main"])
    assert np.asarray(main(images, training=False)) == pytest.approx(expected, abs=1e-6)


def test_another_network_or_too_small_an_input_is_refused() -> None:
    with without_weights():
        other = edgecv.create_model("resnet18", (64, 64, 3))
        small = edgecv.create_model("googlenet", (64, 64, 3))
    with pytest.raises(InputError, match="a GoogLeNet with its classifier is required; received resnet18"):
        training_model(other)
    with pytest.raises(InputError, match="at least 80x80 pixels; received 64x64"):
        training_model(small)
