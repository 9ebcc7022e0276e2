"""The weighted difference by hand, and a siamese network that learns who is who."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from edgecv.metric_learning.siamese import VectorDifference, difference_weights, siamese_network
from edgecv_runtime.errors import InputError

A, B = np.float32([[1, 2, 0], [0, 3, 4]]), np.float32([[1, 4, 1], [2, 1, 4]])


def identity_embedder() -> Any:
    image = keras.Input((1, 1, 3))
    return keras.Model(image, keras.layers.Flatten()(image), name="identity")


def test_differences() -> None:
    assert np.asarray(VectorDifference()([A, B])).tolist() == [[0, 2, 1], [2, 2, 0]]
    chi = np.asarray(VectorDifference("chi-squared")([A, B]))
    assert chi == pytest.approx(np.array([[0, 4 / 6, 1], [2, 4 / 4, 0]]), abs=1e-5)
    assert np.isfinite(np.asarray(VectorDifference("chi-squared")([0 * A, 0 * B]))).all()


@pytest.mark.parametrize(("kind", "expected"), [("absolute", [3, 4]), ("chi-squared", [5 / 3, 3])])
def test_equation_2(kind: str, expected: list[float]) -> None:
    model = siamese_network(identity_embedder(), kind, normalize=False)
    inputs = [A.reshape(2, 1, 1, 3), B.reshape(2, 1, 1, 3)]
    # Begun with weights of 1 and no bias: σ(−Σ d).
    assert np.asarray(model(inputs))[:, 0] == pytest.approx(1 / (1 + np.exp(expected)), abs=1e-5)
    weights = np.float32([0.5, 1, 2])
    model.get_layer("weights").set_weights([-weights[:, None], np.float32([0.25])])
    difference = np.abs(A - B) if kind == "absolute" else np.square(A - B) / (A + B)
    logits = 0.25 - difference @ weights
    assert np.asarray(model(inputs))[:, 0] == pytest.approx(1 / (1 + np.exp(-logits)), abs=1e-5)
    assert difference_weights(model).tolist() == weights.tolist()


def test_order_and_length_do_not_matter() -> None:
    model = siamese_network(identity_embedder())
    first, second = A.reshape(2, 1, 1, 3), B.reshape(2, 1, 1, 3)
    forth, back = np.asarray(model([first, second])), np.asarray(model([second, 7 * first]))
    assert forth == pytest.approx(back, abs=1e-6)


def test_it_learns_and_is_kept(tmp_path: Path) -> None:
    keras.utils.set_random_seed(0)
    image = keras.Input((2, 2, 1))
    embedder = keras.Model(image, keras.layers.Dense(4)(keras.layers.Flatten()(image)), name="small")
    model = siamese_network(embedder)
    model.compile(optimizer=keras.optimizers.Adam(0.03), loss="binary_crossentropy")
    generator = np.random.default_rng(0)
    people = generator.normal(size=(2, 2, 2, 1)).astype(np.float32)
    who = generator.integers(0, 2, (2, 200))
    pictures = [people[w] + 0.1 * generator.normal(size=(200, 2, 2, 1)).astype(np.float32) for w in who]
    same = (who[0] == who[1]).astype(np.float32)
    model.fit(pictures, same, epochs=20, verbose=0)
    answers = np.asarray(model(pictures))[:, 0]
    assert ((answers > 0.5) == (same > 0.5)).mean() > 0.97
    model.save(tmp_path / "siamese.keras")
    again = keras.saving.load_model(tmp_path / "siamese.keras")
    assert np.asarray(again(pictures))[:, 0] == pytest.approx(answers, abs=1e-6)


def test_refused() -> None:
    with pytest.raises(InputError, match="difference must be one of absolute, chi-squared; received 'cosine'"):
        siamese_network(identity_embedder(), "cosine")
    image = keras.Input((2, 2, 1))
    with pytest.raises(InputError, match=r"an embedder must give \(N, D\)"):
        siamese_network(keras.Model(image, keras.layers.Conv2D(2, 1)(image)))
