"""Verification rates by hand, and against scikit-learn's ROC curve."""

from __future__ import annotations

import math

import numpy as np
import pytest

from edgecv_runtime.errors import InputError
from edgecv_runtime.metrics import verification
from edgecv_runtime.metrics.verification import verification_rates


def at(*degrees: float) -> np.ndarray:
    """Vectors in the plane, by their angle; their lengths must not matter."""
    angles = np.radians(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1) * np.arange(1, len(degrees) + 1)[:, None]


def test_by_hand() -> None:
    # Ann at 0 and 10 degrees, Bob at 30 and 60. Genuine pairs: 10 and 30 degrees apart. Impostor pairs: 30, 60, 20, 50.
    found = verification_rates(at(0, 10, 30, 60), ["ann", "ann", "bob", "bob"], far=(0.25, 0.5, 0.75, 1.0))
    assert (found.genuine, found.impostor) == (2, 4)
    # From the strictest: 10 (genuine), 20 (impostor), 30 (one of each, a tie), 50, 60 (impostors).
    assert found.roc.far.tolist() == [0, 0, 0.25, 0.5, 0.75, 1]
    assert found.roc.tar.tolist() == [0, 0.5, 0.5, 1, 1, 1]
    cosines = [math.cos(math.radians(angle)) for angle in (10, 20, 30, 50, 60)]
    assert found.roc.thresholds[0] == math.inf
    assert found.roc.thresholds[1:] == pytest.approx(cosines, abs=1e-6)
    assert found.tar.tolist() == [0.5, 1, 1, 1]
    assert found.thresholds == pytest.approx(cosines[1:], abs=1e-6)
    # (tar + 1 - far) / 2 is 0.5, 0.75, 0.625, 0.75, 0.625, 0.5: first best at 10 degrees.
    assert found.accuracy == 0.75
    assert found.accuracy_threshold == pytest.approx(cosines[0], abs=1e-6)
    # False rejects 0.5 → 0 while false accepts 0.25 → 0.5: they meet a third of the way.
    assert found.eer == pytest.approx(1 / 3)


def test_rates_that_no_impostor_pair_can_show() -> None:
    found = verification_rates(at(0, 10, 30, 60), [0, 0, 1, 1], far=(1e-3,))
    assert found.tar.tolist() == [0.5]  # what is nearer than the nearest impostors, 20 degrees apart


def test_people_who_cannot_be_confused() -> None:
    found = verification_rates(at(0, 0, 90, 90), [5, 5, -3, -3])
    assert found.tar.tolist() == [1, 1, 1]
    assert (found.accuracy, found.eer) == (1.0, 0.0)
    assert found.to_dict()["rates"][2] == {"far": 1e-3, "tar": 1.0, "threshold": pytest.approx(1.0, abs=1e-6)}


def test_all_alike_is_worth_nothing() -> None:
    found = verification_rates(np.ones((6, 3)), [0, 0, 0, 1, 1, 1])
    assert found.tar.tolist() == [0, 0, 0]
    assert (found.accuracy, found.eer) == (0.5, 0.5)


def test_a_zero_vector_is_like_none() -> None:
    vectors = np.array([[1.0, 0], [1, 0], [0, 0], [0, 1]])
    found = verification_rates(vectors, [0, 0, 1, 1], far=(0.5,))
    # Genuine 1 and 0; impostor 0 four times.
    assert found.tar.tolist() == [0.5]


@pytest.mark.parametrize("block", [1000, 1 << 22])
def test_against_scikit_learn(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    monkeypatch.setattr(verification, "_BLOCK", block)
    generator = np.random.default_rng(3)
    people = generator.integers(0, 12, 90)
    vectors = (generator.normal(size=(12, 16))[people] + 1.4 * generator.normal(size=(90, 16))).astype(np.float32)
    found = verification_rates(vectors, people, far=(0.2, 0.05, 0.01, 0.001))
    unit = vectors.astype(np.float64) / np.linalg.norm(vectors, axis=1, keepdims=True)
    rows, columns = np.triu_indices(90, 1)
    scores = (unit @ unit.T)[rows, columns]
    far, tar, _ = metrics.roc_curve(people[rows] == people[columns], scores, drop_intermediate=False)
    # A pair or two may change places on our grid of similarities.
    pair = 2 / found.genuine
    for index, rate in enumerate((0.2, 0.05, 0.01, 0.001)):
        assert found.tar[index] == pytest.approx(tar[far <= rate].max(), abs=pair)
    assert found.accuracy == pytest.approx(((tar + 1 - far) / 2).max(), abs=pair)
    assert found.eer == pytest.approx(far[np.abs(far - (1 - tar)).argmin()], abs=2 * pair)
    assert np.trapezoid(found.roc.tar, found.roc.far) == pytest.approx(metrics.auc(far, tar), abs=1e-5)


@pytest.mark.parametrize(
    ("vectors", "labels", "message"),
    [
        (np.ones((3, 2)), [0, 1], r"\(N, D\) with N labels; received shapes \(3, 2\) and \(2,\)"),
        (np.ones(3), [0, 1, 1], r"\(N, D\) with N labels"),
        (np.full((3, 2), np.nan), [0, 1, 1], "must be finite"),
        (np.ones((3, 2)), [0, 1, 2], "at least two people, one of them with two pictures; received 3 pictures of 3"),
        (np.ones((3, 2)), [0, 0, 0], "at least two people.*received 3 pictures of 1 people"),
        (np.ones((0, 2)), [], "received 0 pictures of 0 people"),
    ],
)
def test_refused(vectors: np.ndarray, labels: list[int], message: str) -> None:
    with pytest.raises(InputError, match=message):
        verification_rates(vectors, labels)


@pytest.mark.parametrize("far", [(), (0.0,), (1.5,), (float("nan"),)])
def test_rates_refused(far: tuple[float, ...]) -> None:
    with pytest.raises(InputError, match=r"false-accept rates must be in \(0, 1\]"):
        verification_rates(np.ones((3, 2)), [0, 0, 1], far)
