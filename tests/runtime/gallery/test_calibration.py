"""Calibration by hand arithmetic, scikit-learn's curve and binomial statistics."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ElementTree
from dataclasses import replace

import numpy as np
import pytest

from edgecv_runtime.errors import InputError
from edgecv_runtime.gallery.calibration import (
    Calibration,
    calibrate,
    calibrate_trials,
    rates_at,
    threshold_at,
    wilson,
)
from edgecv_runtime.gallery.curves import draw_curve
from edgecv_runtime.gallery.distances import get_distance
from edgecv_runtime.gallery.trials import Trials, run_trials


def people_around(
    people: int, samples: int, spread: float, dimension: int = 16, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    labels = np.repeat(np.arange(people), samples)
    vectors = generator.normal(size=(people, dimension))[labels] + generator.normal(0, spread, (len(labels), dimension))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32), labels


# -- trials ------------------------------------------------------------------------------------------------

ANGLES = {"a": [0, 10, 40], "b": [90, 120], "c": [180]}


def circle() -> tuple[np.ndarray, list[str]]:
    names = [name for name, angles in ANGLES.items() for _ in angles]
    turned = np.radians([angle for angles in ANGLES.values() for angle in angles])
    return np.stack([np.cos(turned), np.sin(turned)], axis=1).astype(np.float32), names


def test_trials_by_hand() -> None:
    """People on a circle: the score is the cosine of the smallest angle to a person, oneself left out."""
    trials = run_trials(*circle())
    degrees = [
        [10, 90, 180],
        [10, 80, 170],
        [30, 50, 140],
        [50, 30, 90],
        [80, 30, 60],
        [140, 60, None],  # c has one sample: nothing to compare it with
    ]
    expected = [[-math.inf if a is None else math.cos(math.radians(a)) for a in row] for row in degrees]
    np.testing.assert_allclose(trials.scores, expected, atol=1e-6)
    assert trials.labels == ("a", "b", "c") and trials.owners.tolist() == [0, 0, 0, 1, 1, 2]
    assert len(trials.genuine) == 5 and len(trials.impostor) == 12 and trials.rank1() == 1.0
    np.testing.assert_allclose(trials.best_other[3], math.cos(math.radians(50)), atol=1e-6)


def test_trials_against_means_by_hand() -> None:
    trials = run_trials(*circle(), template="mean")
    # b's mean points to 105°, so the probe at 40° is 65° from it; of its own person 5° is left, so it is at 35°.
    assert trials.scores[2, 1] == pytest.approx(math.cos(math.radians(65)), abs=1e-6)
    assert trials.scores[2, 0] == pytest.approx(math.cos(math.radians(35)), abs=1e-6)
    assert trials.scores[3, 1] == pytest.approx(math.cos(math.radians(30)), abs=1e-6)
    assert trials.scores[5, 2] == -math.inf


def test_trials_in_another_order_and_by_another_score() -> None:
    vectors, names = circle()
    order = np.random.default_rng(0).permutation(len(names))
    turned = run_trials(vectors[order], [names[place] for place in order])
    assert sorted(turned.genuine.tolist()) == pytest.approx(sorted(run_trials(vectors, names).genuine.tolist()))
    euclidean = run_trials(vectors, names, score=get_distance("euclidean").score, unit=False)
    # The chord of 10°.
    assert euclidean.scores[0, 0] == pytest.approx(-2 * math.sin(math.radians(5)), abs=1e-6)


def test_too_many_people_are_drawn() -> None:
    vectors, labels = people_around(50, 3, 0.1)
    trials = run_trials(vectors, labels, most=1000)
    assert trials.left_out == 50 - len(trials.labels) > 0
    assert 800 < trials.scores.size <= 1000
    full = run_trials(vectors, labels)
    chosen = [int(label) for label in trials.labels]  # type: ignore[call-overload]
    rows = np.flatnonzero(np.isin(labels, chosen))
    np.testing.assert_allclose(trials.scores, full.scores[np.ix_(rows, chosen)], atol=1e-6)


def test_trials_that_cannot_be() -> None:
    vectors, _ = circle()
    for labels in (["a"] * 6, list("abcdef")):
        with pytest.raises(InputError, match="two people or more"):
            run_trials(vectors, labels)
    with pytest.raises(InputError, match="5 labels"):
        run_trials(vectors, ["a"] * 5)
    with pytest.raises(InputError, match="finite"):
        run_trials(np.full((6, 2), np.nan), list("aabbcc"))
    with pytest.raises(InputError, match="template"):
        run_trials(vectors, list("aabbcc"), template="best")


# -- thresholds and rates ----------------------------------------------------------------------------------


def test_threshold_by_hand() -> None:
    scores = np.array([0.9, 0.7, 0.7, 0.5, 0.4, 0.3, 0.2, 0.1, 0.0, -0.1])
    for far, refused in ((0.05, 0.9), (0.1, 0.7), (0.2, 0.7), (0.3, 0.5), (0.9, -0.1)):  # 0.7 comes twice, or not
        assert refused - 1e-8 < threshold_at(scores, far) < refused + 2e-7
    assert threshold_at(np.full(10, 0.5), 0.5) == 0.5 + 2**-24


def trials_of(scores: list[list[float]], owners: list[int]) -> Trials:
    table = np.array(scores, np.float32)
    return Trials(table, np.array(owners), tuple(range(table.shape[1])))


def test_rates_by_hand() -> None:
    trials = trials_of(
        [[0.9, 0.1, 0.2], [0.6, 0.7, 0.1], [0.3, 0.8, 0.4], [0.2, 0.1, 0.4], [0.1, 0.6, -math.inf]], [0, 0, 1, 1, 2]
    )
    rates = rates_at(trials, 0.5)
    assert (rates["far"].value, rates["far"].count) == (2 / 10, 10)  # 0.7 and 0.6
    assert (rates["tar"].value, rates["tar"].count) == (3 / 4, 4)  # 0.9, 0.6 and 0.8 of four
    assert (rates["fpir"].value, rates["fpir"].count) == (2 / 5, 5)  # searches that name another one
    assert (rates["fnir"].value, rates["fnir"].count) == (2 / 4, 4)  # 0.6 is not nearest, 0.1 is below
    assert trials.rank1() == 0.5
    for rate in rates.values():
        assert rate.low <= rate.value <= rate.high


@pytest.mark.slow  # to import scikit-learn takes seconds
def test_threshold_as_scikit_learn() -> None:
    metrics = pytest.importorskip("sklearn.metrics", reason="compared with scikit-learn where it is installed")
    vectors, labels = people_around(40, 5, 0.6)
    trials = run_trials(vectors, labels)
    own, impostor = trials.genuine, trials.impostor
    truth = np.concatenate([np.ones(len(own)), np.zeros(len(impostor))])
    far, tar, thresholds = metrics.roc_curve(truth, np.concatenate([own, impostor]), drop_intermediate=False)
    for wished in (0.001, 0.01, 0.1):
        found = calibrate_trials(trials, far=wished)
        place = int(np.flatnonzero(far <= wished)[-1])
        assert found.far.value == pytest.approx(far[place], abs=1e-12)
        assert found.tar.value == pytest.approx(tar[place], abs=1e-12)
        assert thresholds[place + 1] < found.threshold <= thresholds[place]
    for point in found.curve:
        place = int(np.flatnonzero(np.isclose(thresholds, point.threshold, atol=1e-7))[-1])
        assert (point.far, point.tar) == pytest.approx((far[place], tar[place]), abs=1e-12)
    assert [point.far for point in found.curve] == sorted(point.far for point in found.curve)


def test_wilson_as_published() -> None:
    """Newcombe 1998, "Two-sided confidence intervals for the single proportion", table I, method 3."""
    for hits, count, low, high in (
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ):
        assert wilson(hits, count) == pytest.approx((low, high), abs=6e-5)
    assert wilson(29, 29)[1] == 1.0


def test_the_interval_holds_as_often_as_it_says() -> None:
    """The true FAR of a threshold, measured on many people of the same kind, is within the interval for most draws."""
    far = calibrate(*people_around(400, 3, 0.6, seed=99), far=0.01)
    truth = far.far.value
    inside = 0
    for seed in range(25):
        trials = run_trials(*people_around(30, 3, 0.6, seed=seed))
        rate = rates_at(trials, far.threshold, seed=seed)["far"]
        inside += rate.low <= truth <= rate.high
    assert inside >= 20  # 23.75 expected at 95 %; a percentile bootstrap of 30 people is a little narrow


def test_people_vary_more_than_trials_do() -> None:
    """Two people who look alike make many accepted trials; the interval must know that they are one coincidence."""
    vectors, labels = people_around(30, 6, 0.2, dimension=32)
    vectors[labels == 1] = vectors[labels == 0]
    rate = rates_at(run_trials(vectors, labels), 0.8)["far"]
    alone = wilson(round(rate.value * rate.count), rate.count)
    assert rate.value == pytest.approx(12 / (180 * 29), rel=0.2)
    assert rate.high - rate.low > 1.5 * (alone[1] - alone[0])


def test_a_calibration_is_written_and_read() -> None:
    found = calibrate(*people_around(20, 4, 0.5), far=0.01, distance="cosine", template="mean")
    assert Calibration.from_json(found.to_json()) == found
    assert found.threshold_low <= found.threshold <= found.threshold_high
    assert (found.distance, found.template, found.people, found.samples) == ("cosine", "mean", 20, 80)
    assert "FPIR" in found.summary and found.far.value <= 0.01
    assert calibrate(*people_around(20, 4, 0.5), far=0.01, template="mean") == found  # the same seed
    for text in ("{}", "[]", "no", '{"far": 1}'):
        with pytest.raises(InputError, match="calibrate"):
            Calibration.from_json(text)


def test_what_cannot_be_calibrated() -> None:
    vectors, labels = people_around(10, 2, 0.2)
    with pytest.raises(InputError, match="100,000 impostor trials or more; received 180 of 10 people"):
        calibrate(vectors, labels, far=1e-5)
    for wrong in (0, 1, -0.1, math.nan):
        with pytest.raises(InputError, match="between 0 and 1"):
            calibrate(vectors, labels, far=wrong)
    with pytest.raises(InputError, match="confidence"):
        calibrate(vectors, labels, far=0.1, confidence=1)


# -- pictures ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["roc", "det"])
def test_a_picture_is_svg_and_marks_the_threshold(kind: str) -> None:
    found = calibrate(*people_around(30, 5, 0.7), far=0.01)
    root = ElementTree.fromstring(draw_curve(found, kind))
    space = "{http://www.w3.org/2000/svg}"
    line = root.find(f"{space}polyline")
    mark = root.find(f"{space}circle")
    assert line is not None and mark is not None
    points = [tuple(map(float, pair.split(","))) for pair in line.attrib["points"].split()]
    across, up = zip(*points, strict=True)
    assert list(across) == sorted(across) and len(points) == len(found.curve)
    # To the right the FAR grows: true accepts rise (y falls), false rejects fall (y rises).
    assert list(up) == sorted(up, reverse=kind == "roc")
    for value, low, high in zip(
        (*across, *up), [76] * len(across) + [56] * len(up), [616] * len(across) + [420] * len(up), strict=True
    ):
        assert low <= value <= high
    x = float(mark.attrib["cx"])
    assert min(across) <= x <= max(across)
    if kind == "roc":
        # Five decades would be 108 px each; here the axis begins at the decade of one trial.
        decades = -math.floor(math.log10(min(point.far for point in found.curve)))
        assert x == pytest.approx(616 + math.log10(found.far.value) * 540 / decades, abs=0.1)


def test_no_such_picture() -> None:
    found = calibrate(*people_around(10, 3, 0.3), far=0.05)
    with pytest.raises(InputError, match="det, roc"):
        draw_curve(found, "pie")


def test_nothing_to_draw_is_said() -> None:
    found = replace(calibrate(*people_around(10, 3, 0.3), far=0.05), curve=())
    with pytest.raises(InputError, match="no curve"):
        draw_curve(found)
