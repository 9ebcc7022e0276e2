"""Fine-tuning: its loss by hand, its arithmetic, what it keeps, and that it recovers what rounding lost."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edgecv_export.quantize.aware.augment import Augmentation
from edgecv_export.quantize.aware.finetune import Schedule, Score, distillation_loss, finetune, log_softmax
from edgecv_export.quantize.aware.insert import finish, prepare
from edgecv_export.quantize.aware.train import train_aware
from edgecv_export.quantize.simulate import simulate
from edgecv_runtime.errors import InputError


def test_the_loss_by_hand() -> None:
    # Teacher: odds of 3 to 1 at temperature 2; student: even odds. KL = .75 ln(.75/.5) + .25 ln(.25/.5) = 0.130812;
    # times 2² and 0.7, plus 0.3 times ln 2 for the label.
    teacher, student = [2 * np.log(3.0), 0.0], [1.0, 1.0]
    targets = np.array([[*teacher, 0.0, 1.0]], np.float32)
    loss = distillation_loss(2.0, 0.3)(targets, np.array([student], np.float32))
    assert float(loss[0]) == pytest.approx(0.7 * 4 * 0.1308122 + 0.3 * np.log(2), rel=1e-5)
    alone = distillation_loss(1.0, 0.0)(targets, np.array([teacher], np.float32))
    assert float(alone[0]) == pytest.approx(0, abs=1e-6)


def test_log_softmax_of_large_logits() -> None:
    np.testing.assert_allclose(log_softmax(np.array([[1000.0, 1000.0]], np.float32)), [[-np.log(2), -np.log(2)]])


def test_what_counts_as_right() -> None:
    assert Score(epoch=3, accuracy=0.8, agreement=0.7, divergence=0.5, error=0.4).right == 0.8
    assert Score(epoch=3, accuracy=None, agreement=0.7, divergence=0.5, error=0.4).right == 0.7


def top1(network: Any, ranges: Any, trained: Any) -> float:
    answers = simulate(network, trained.to_real(trained.test_pixels), ranges)
    return float((answers.argmax(axis=1) == trained.test_labels).mean())


def float_top1(trained: Any) -> float:
    answers = trained.network.predict_on_batch(trained.to_real(trained.test_pixels))
    return float((np.asarray(answers).argmax(axis=1) == trained.test_labels).mean())


WIDEN = 16.0


@pytest.mark.parametrize("with_labels", [True, False], ids=["labels", "distillation alone"])
def test_training_recovers_two_thirds(trained: Any, with_labels: bool) -> None:
    before = float_top1(trained)
    start = top1(*finish(prepare(trained.network, trained.to_real(trained.pixels[:128]), widen=WIDEN)), trained)
    result = train_aware(
        trained.network,
        trained.pixels,
        trained.labels if with_labels else None,
        trained.to_real,
        widen=WIDEN,
        epochs=12,
        learning_rate=1e-2,
    )
    after = top1(result.network, result.ranges, trained)
    assert before > 0.9
    assert before - start > 0.04  # the stress is one
    assert after - start >= 2 / 3 * (before - start)
    history = result.history
    assert history.best.right >= history.start.right
    assert history.best.error == min(score.error for score in history.scores if score.right >= history.start.right)
    assert len(history.scores) == 13
    assert (history.best.accuracy is not None) is with_labels


def test_learned_four_bit_ranges_improve(trained: Any) -> None:
    aware = prepare(trained.network, trained.to_real(trained.pixels[:128]), ranges="learned", bits=2, weight_bits=3)
    history = finetune(
        aware, trained.network, trained.pixels, None, trained.to_real, Schedule(epochs=3, learning_rate=4e-3)
    )
    assert history.best.divergence < 0.6 * history.start.divergence
    moved = [layer for layer in aware.layers if type(layer).__name__ == "LearnedRange"]
    assert len(moved) == 6
    assert sum(abs(float(layer.log_high)) > 1e-3 for layer in moved) >= 4
    assert all(float(layer.limits()[0]) == 0 for layer in moved)  # behind a ReLU, zero stays the low end


def test_moving_averages_follow_the_batches(trained: Any) -> None:
    aware = prepare(trained.network, trained.to_real(trained.pixels[:128]))
    layer = next(layer for layer in aware.layers if type(layer).__name__ == "MovingAverageRange")
    before = float(layer.high)
    values = np.zeros((2, 8, 8, 6), np.float32)
    values[:, 3, 3, 3] = 10, 30  # the extremes of two images: 20 in the mean
    moved = pytest.approx(0.99 * before + 0.01 * 20 * layer.share, rel=1e-5)
    layer(values, training=True)
    assert float(layer.high) == moved
    layer(values)
    layer.freeze()
    layer(values, training=True)
    assert float(layer.high) == moved


def test_a_ruinous_rate_ends_at_the_start(trained: Any) -> None:
    aware = prepare(trained.network, trained.to_real(trained.pixels[:128]))
    weights = aware.get_weights()
    history = finetune(
        aware, trained.network, trained.pixels, None, trained.to_real, Schedule(epochs=1, learning_rate=10.0)
    )
    assert history.kept == 0
    assert history.scores[1].agreement < history.start.agreement
    for before, after in zip(weights, aware.get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)


def test_the_same_seed_gives_the_same_network(trained: Any) -> None:
    options: dict[str, Any] = {"epochs": 1, "widen": WIDEN, "augmentation": Augmentation(shift=0.07)}
    part = trained.pixels[:200], trained.labels[:200]
    first, second, other = (
        train_aware(trained.network, *part, trained.to_real, seed=seed, **options) for seed in (3, 3, 4)
    )
    assert first.history == second.history
    assert first.ranges == second.ranges
    for one, two in zip(first.network.get_weights(), second.network.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)
    assert first.history != other.history


def test_the_float_network_is_not_changed(trained: Any) -> None:
    before = trained.network.get_weights()
    train_aware(trained.network, trained.pixels[:40], None, trained.to_real, epochs=1, learning_rate=0.01)
    for one, two in zip(before, trained.network.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pixels": np.zeros((30, 16, 16, 1), np.float32)}, r"\(N, 16, 16, 1\) uint8; received .* float32"),
        ({"pixels": np.zeros((30, 8, 16, 1), np.uint8)}, r"received \(30, 8, 16, 1\) uint8"),
        ({"pixels": np.zeros((5, 16, 16, 1), np.uint8), "labels": None}, "at least 20 pictures; received 5"),
        ({"labels": np.zeros(29, np.int64)}, r"\(30,\) whole numbers; received \(29,\) int64"),
        ({"labels": np.full(30, 10)}, "from 0 to 9; received 10 to 10"),
    ],
)
def test_what_is_refused(trained: Any, change: dict[str, Any], message: str) -> None:
    given = {"pixels": np.zeros((30, 16, 16, 1), np.uint8), "labels": np.zeros(30, np.int64), **change}
    aware = prepare(trained.network, trained.to_real(trained.pixels[:8]))
    with pytest.raises(InputError, match=message):
        finetune(aware, trained.network, given["pixels"], given["labels"], trained.to_real)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epochs": 0}, "epochs must be at least 1; received 0"),
        ({"learning_rate": 0.0}, "learning_rate must be above 0"),
        ({"label_weight": 1.5}, "label_weight must be from 0 to 1"),
        ({"held_out": 1.0}, "held_out must be a share between 0 and 1"),
    ],
)
def test_schedules_that_cannot_be(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Schedule(**change)
