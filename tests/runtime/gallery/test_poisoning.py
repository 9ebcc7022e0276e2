"""Suspicious samples: people on a circle, where nearness is an angle."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from edgecv_runtime.gallery import poisoning
from edgecv_runtime.gallery.columns import samples_from_rows
from edgecv_runtime.gallery.distances import get_distance
from edgecv_runtime.gallery.poisoning import suspicious_samples
from edgecv_runtime.gallery.store import Samples

COSINE = get_distance("cosine")


def circle(*placed: tuple[str, float]) -> Samples:
    """Samples at these angles (degrees), with ids 10, 11, …"""
    turned = np.radians([angle for _, angle in placed])
    vectors = np.stack([np.cos(turned), np.sin(turned)], axis=1).astype(np.float32)
    return samples_from_rows([(10 + row, name, 1.0, 0.0) for row, (name, _) in enumerate(placed)], vectors, 1)


def cosine(angle: float) -> float:
    return math.cos(math.radians(angle))


def test_a_sample_under_the_wrong_name() -> None:
    samples = circle(("Ada", 0), ("Ada", 8), ("Bo", 90), ("Bo", 96), ("Ada", 93))
    found = suspicious_samples(samples, COSINE)
    # Bo's at 90° and 96° are 3° from the wrong one and 6° from each other: they are drawn to Ada, too.
    assert [(one.sample, one.name, one.other) for one in found] == [
        (14, "Ada", "Bo"),
        (12, "Bo", "Ada"),
        (13, "Bo", "Ada"),
    ]
    assert found[0].own_score == pytest.approx(cosine(85), abs=1e-6)
    assert found[0].other_score == pytest.approx(cosine(3), abs=1e-6)
    assert found[0].summary == "Ada: nearer to Bo (0.999) than to their own (0.087)"
    assert json.loads(json.dumps(found[0].to_dict()))["sample"] == 14


def test_nobody_is_suspicious() -> None:
    assert suspicious_samples(circle(("Ada", 0), ("Ada", 8), ("Bo", 90), ("Bo", 96)), COSINE) == []
    assert suspicious_samples(circle(("Ada", 0), ("Ada", 180)), COSINE) == []  # nobody else
    assert suspicious_samples(circle(), COSINE) == []


def test_one_face_under_two_names() -> None:
    samples = circle(("Ada", 0), ("Ada", 8), ("Cy", 20), ("Dee", 140))
    assert suspicious_samples(samples, COSINE) == []
    (found,) = suspicious_samples(samples, COSINE, threshold=0.9)
    assert (found.sample, found.name, found.other, found.own_score) == (12, "Cy", "Ada", None)
    assert found.other_score == pytest.approx(cosine(12), abs=1e-6)
    assert found.summary == "Cy: the only sample would be recognised as Ada (0.978)"


def test_other_distances_and_small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    samples = circle(("Ada", 0), ("Ada", 8), ("Bo", 90), ("Bo", 96), ("Ada", 93), ("Cy", 200))
    expected = [one.sample for one in suspicious_samples(samples, COSINE, threshold=0.5)]
    monkeypatch.setattr(poisoning, "_SCORES", 1)
    assert [one.sample for one in suspicious_samples(samples, COSINE, threshold=0.5)] == expected
    assert {one.sample for one in suspicious_samples(samples, get_distance("euclidean"))} == {12, 13, 14}
