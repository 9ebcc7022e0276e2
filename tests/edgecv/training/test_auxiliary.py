"""Auxiliary heads: what they add to the loss, and that nothing of them is left."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import cv2
import keras
import numpy as np
import pytest

from edgecv.augment.sample import Sample
from edgecv.models.registry import Auxiliary, Preprocessing, get_record
from edgecv.training.auxiliary import AuxiliaryCrossEntropy, learner_of, main_accuracy
from edgecv.training.checkpoint import Checkpoint
from edgecv.training.loop import train
from edgecv.training.pictures import Part, Pictures
from edgecv.training.settings import Settings


def network() -> keras.Model:
    image = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(4, 3, activation="relu", name="body")(image)
    x = keras.layers.GlobalAveragePooling2D(name="mean")(x)
    return keras.Model(image, keras.layers.Dense(2, activation="softmax", name="own")(x))


def heads(model: keras.Model) -> dict[str, Any]:
    side = keras.layers.Dense(2, activation="softmax", name="side")(model.get_layer("mean").output)
    return {"main": model.output, "side": side}


AUXILIARY = Auxiliary(heads, 0.3, minimum_size=8)


def test_the_loss_by_hand() -> None:
    truth = np.array([[1, 0], [0, 1]], np.float32)
    answers = np.array([[[0.5, 0.5], [0.8, 0.2]], [[0.9, 0.1], [0.25, 0.75]]], np.float32)
    # -ln 0.5 - 0.3 ln 0.8 and -ln 0.1 - 0.3 ln 0.75.
    wanted = [0.693147 + 0.3 * 0.223144, 2.302585 + 0.3 * 0.287682]
    np.testing.assert_allclose(AuxiliaryCrossEntropy(0.3).call(truth, answers), wanted, rtol=1e-5)
    np.testing.assert_allclose(AuxiliaryCrossEntropy(0.3)(truth, answers), np.mean(wanted), rtol=1e-5)
    np.testing.assert_array_equal(main_accuracy(truth, answers), [1, 0])


def test_held_out_pictures_are_judged_by_the_own_answer() -> None:
    keras.utils.set_random_seed(0)
    model = network()
    learner = learner_of(model, AUXILIARY)
    images = np.random.default_rng(0).normal(0, 1, (6, 8, 8, 3)).astype(np.float32)
    truth = np.eye(2, dtype=np.float32)[[0, 1, 0, 1, 1, 0]]
    answers = np.asarray(learner(images))
    np.testing.assert_allclose(answers[:, 0], np.asarray(model(images)), atol=1e-6)
    losses = -np.log((answers * truth[:, None]).sum(axis=-1)).mean(axis=0)
    learner.compile("sgd", AuxiliaryCrossEntropy(0.3), metrics=[main_accuracy])
    judged = learner.evaluate(images, truth, verbose=0, return_dict=True)
    assert judged["loss"] == pytest.approx(losses[0], rel=1e-4)
    learned = learner.train_on_batch(images, truth, return_dict=True)
    assert learned["loss"] == pytest.approx(losses[0] + 0.3 * losses[1], rel=1e-4)


def test_without_heads_or_room_for_them_the_network_learns_itself() -> None:
    model = network()
    assert learner_of(model, None) is model
    assert learner_of(model, Auxiliary(heads, 0.3, minimum_size=9)) is model


def test_what_is_trained_is_the_network(tmp_path: Path) -> None:
    keras.utils.set_random_seed(0)
    generator = np.random.default_rng(1)
    labels = np.arange(32) % 2
    samples = [Sample((generator.integers(0, 99, (8, 8, 3)) + 120 * label).astype(np.uint8)) for label in labels]
    part = Part(samples, np.arange(24), labels[:24])
    held_out = Part(samples, np.arange(24, 32), labels[24:])
    model = network()
    before = [layer.name for layer in model.layers]
    trained = train(
        model,
        Pictures(part, held_out, 2, None, ""),
        Preprocessing((127.5,) * 3, (127.5,) * 3),
        Settings(epochs=12, batch=8, learning_rate=0.05),
        Checkpoint(tmp_path / "checkpoint", {}),
        auxiliary=AUXILIARY,
    )
    assert trained.figures["top1"] == 1.0
    assert [layer.name for layer in model.layers] == before
    # The history's figure of the best epoch is the network's own, as its weights give it now.
    images = np.stack([sample.image for sample in samples[24:]]).astype(np.float32) / 127.5 - 1
    own = -np.log(np.asarray(model(images))[np.arange(8), labels[24:]]).mean()
    assert trained.history[trained.best_epoch - 1]["val_loss"] == pytest.approx(own, rel=1e-3)


def test_googlenet_s_record_has_the_paper_s_heads() -> None:
    auxiliary = get_record("googlenet").auxiliary
    assert auxiliary is not None
    assert (auxiliary.weight, auxiliary.minimum_size) == (0.3, 80)


@pytest.mark.slow
def test_googlenet_by_the_command(tmp_path: Path) -> None:
    import edgecv
    from edgecv.commands.train import TRAIN

    for name, value in (("dark", 40), ("light", 210)):
        (tmp_path / "data" / name).mkdir(parents=True)
        for number in range(6):
            noise = np.random.default_rng(number).integers(-30, 30, (80, 80, 3))
            cv2.imwrite(str(tmp_path / "data" / name / f"{number}.png"), (value + noise).astype(np.uint8))
    weights = tmp_path / "out.weights.h5"
    parser = argparse.ArgumentParser()
    TRAIN.configure(parser)
    words = ["googlenet", "--data", str(tmp_path / "data"), "--holdout", "0.3", "--input-size", "80", "--epochs", "1"]
    assert TRAIN.run(parser.parse_args([*words, "-o", str(weights)])) == 0
    # No head is in the file: the plain network takes it whole.
    model = edgecv.create_model("googlenet", (80, 80, 3), classes=2, weights=weights)
    assert model.output_shape == (None, 2)
