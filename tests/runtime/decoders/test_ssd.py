"""SSD, its post-processed form, UltraFace, BlazeFace and CenterNet, against boxes worked out by hand."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from edgecv_runtime.errors import BundleError
from edgecv_runtime.preprocess import Geometry

Make = Callable[..., Any]
ROLES = {"boxes": "b", "scores": "s"}
POST = {"boxes": "b", "classes": "c", "scores": "s", "count": "n"}


def logit(p: float) -> float:
    return math.log(p / (1 - p))


def test_ssd_by_hand(decoder: Make, plain: Geometry) -> None:
    anchors = [[0.25, 0.25, 0.5, 0.25], [0.75, 0.5, 0.25, 0.5]]
    outputs = {"b": (1, 2, 4), "s": (1, 2, 3)}
    boxes = np.float32([[0, 0, 0, 0], [1, -2, 5 * math.log(2), 0]])
    scores = np.float32([[0.1, 0.3, 0.6], [0.2, 0.7, 0.1]])
    found = decoder("ssd", outputs, anchors=anchors, outputs=ROLES).decode([boxes, scores], plain)
    # The second: centre (0.75 + 0.1 · 0.25, 0.5 - 0.2 · 0.5) = (0.775, 0.4), size (0.5, 0.5), as fractions of 64.
    np.testing.assert_allclose(found.boxes, [[33.6, 9.6, 64, 41.6], [0, 8, 32, 24]], atol=1e-4)
    assert found.classes.tolist() == [0, 1]  # the background is not counted
    turned = np.float32([[0, 0, 0, 0], [-2, 1, 0, 5 * math.log(2)]])
    other = decoder("ssd", outputs, anchors=anchors, outputs=ROLES, order="yxhw").decode([turned, scores], plain)
    np.testing.assert_allclose(other.boxes, found.boxes, atol=1e-5)


def test_ssd_activations(decoder: Make, plain: Geometry) -> None:
    outputs = {"b": (1, 1, 4), "s": (1, 1, 3)}
    logits = np.log(np.float32([[1, 6, 3]]))
    make = lambda **options: decoder(  # noqa: E731
        "ssd", outputs, anchors=[[0.5, 0.5, 1, 1]], outputs=ROLES, **options
    ).decode([np.zeros((1, 4), np.float32), logits], plain)
    np.testing.assert_allclose(make(activation="softmax").scores, [0.6], rtol=1e-5)
    np.testing.assert_allclose(make(activation="sigmoid").scores, [6 / 7], rtol=1e-5)
    assert make(activation="softmax", background=False).classes.tolist() == [1]


def test_ultraface_roles_go_by_name(decoder: Make, letterboxed: Geometry) -> None:
    boxes = np.float32([[0.25, 0.5, 0.5, 0.625], [0, 0, 1, 1]])
    scores = np.float32([[0.1, 0.9], [0.9, 0.1]])
    for order in (("b", "s"), ("s", "b")):
        shapes = {"b": (1, 2, 4), "s": (1, 2, 2)}
        head = decoder("ultraface", {name: shapes[name] for name in order}, labels=("face",), outputs=ROLES)
        found = head.decode([{"b": boxes, "s": scores}[name] for name in order], letterboxed)
        np.testing.assert_allclose(found.boxes, [[50, 50, 100, 75]], atol=1e-4)
        assert found.labels == ("face",)


def test_blazeface_by_hand(decoder: Make, plain: Geometry) -> None:
    """A 64×64 input, strides 16 and twice 32: 4·4·1 + 2·2·2 anchors with one a cell and layer."""
    outputs = {"b": (1, 24, 16), "s": (1, 24, 1)}
    head = decoder("blazeface", outputs, outputs=ROLES, strides=[16, 32, 32], per_cell=1)
    boxes, scores = np.zeros((24, 16), np.float32), np.full((24, 1), -50, np.float32)
    boxes[16 + 5] = [2, -4, 20, 10, *range(12)]  # cell 2 of the coarse grid: row 1, column 0, centre (16, 48)
    scores[16 + 5] = logit(0.75)
    found = head.decode([boxes, scores], plain)
    np.testing.assert_allclose(found.boxes, [[8, 39, 28, 49]], atol=1e-5)
    np.testing.assert_allclose(found.scores, [0.75], rtol=1e-6)
    np.testing.assert_allclose(found.keypoints[0, :, 0], 16 + np.arange(0, 12, 2))
    np.testing.assert_allclose(found.keypoints[0, :, 1], 48 + np.arange(1, 12, 2))
    nobody = head.decode([boxes, np.full((24, 1), -50, np.float32)], plain)
    assert len(nobody) == 0 and nobody.keypoints.shape == (0, 6, 3)
    steady = head.comparable([boxes[None], scores[None]])
    np.testing.assert_array_equal(steady[0], boxes[None])
    assert steady[1].max() == pytest.approx(0.75) and steady[1].min() >= 0


def test_postprocessed_by_hand(decoder: Make, letterboxed: Geometry) -> None:
    head = decoder("ssd-postprocessed", {"b": (), "c": (), "s": (), "n": ()}, outputs=POST, labels=("no", "cat", "dog"))
    boxes = np.float32([[0.5, 0.25, 0.625, 0.5], [0.25, 0, 0.75, 1], [0, 0, 1, 1]])
    found = head.decode([boxes, np.float32([2, 1, 0]), np.float32([0.9, 0.5, 0.8]), np.float32(2)], letterboxed)
    np.testing.assert_allclose(found.boxes, [[50, 50, 100, 75], [0, 0, 200, 100]], atol=1e-4)
    assert found.labels == ("dog", "cat")
    shifted = decoder("ssd-postprocessed", {"b": (), "c": (), "s": (), "n": ()}, outputs=POST, class_offset=-1)
    assert shifted.decode([boxes, np.float32([2, 1, 0]), np.float32([0.9, 0.2, 0.8]), np.float32(2)], letterboxed
                          ).classes.tolist() == [1]  # fmt: skip


def test_postprocessed_lists_are_compared_in_a_steady_form(decoder: Make) -> None:
    """Two detections of nearly one score change places: the lists jump, what is compared hardly moves."""
    head = decoder("ssd-postprocessed", {"b": (), "c": (), "s": (), "n": ()}, outputs=POST)
    assert head.decides
    boxes = np.float32([[[0, 0, 0.5, 0.5], [0.5, 0.5, 1, 1]]])
    one = [boxes, np.float32([[3, 7]]), np.float32([[0.51, 0.50]]), np.float32([2])]
    other = [boxes[:, ::-1], np.float32([[7, 3]]), np.float32([[0.51, 0.50]]), np.float32([2])]
    assert max(np.abs(a - b).max() for a, b in zip(one, other, strict=True)) == 4
    steady = zip(head.comparable(one), head.comparable(other), strict=True)
    assert max(np.abs(a - b).max() for a, b in steady) < 0.011
    moved = [boxes[:, :, ::-1] * 0.3, *one[1:]]  # but another place is another place
    assert np.abs(head.comparable(one)[0] - head.comparable(moved)[0]).max() > 0.2
    other_class = [boxes, np.float32([[4, 7]]), *one[2:]]
    assert np.abs(head.comparable(one)[1] - head.comparable(other_class)[1]).max() > 0.2


def test_centernet_by_hand(decoder: Make, plain: Geometry) -> None:
    outputs = {"h": (1, 4, 4, 2), "w": (1, 4, 4, 2), "o": (1, 4, 4, 2)}
    head = decoder("centernet-like", outputs, outputs={"heat": "h", "size": "w", "offset": "o"})
    heat, size, offset = (np.zeros((4, 4, 2), np.float32) for _ in range(3))
    heat[1, 2, 1], heat[1, 3, 1], heat[3, 0, 0] = 0.9, 0.6, 0.5  # the second is beside a higher one
    size[1, 2], offset[1, 2] = [1, 0.5], [0.5, 0.25]
    size[3, 0], offset[3, 0] = [1, 1], [0.5, 0.5]
    found = head.decode([heat, size, offset], plain)
    np.testing.assert_allclose(found.boxes, [[32, 16, 48, 24], [0, 48, 16, 64]], atol=1e-4)
    assert found.classes.tolist() == [1, 0]


@pytest.mark.parametrize(
    ("name", "outputs", "parameters", "message"),
    [
        ("ultraface", {"b": (1, 2, 4), "s": (1, 2, 2)}, {}, r"needs outputs = \{boxes: NAME, scores: NAME\} of b, s"),
        ("ultraface", {"b": (1, 2, 4), "s": (1, 2, 2)}, {"outputs": {"boxes": "b", "scores": "x"}}, "no output 'x'"),
        ("ultraface", {"b": (1, 2, 4), "s": (1, 3, 2)}, {"outputs": ROLES}, r"must be \(batch, N, 4\)"),
        ("ssd", {"b": (1, 2, 4), "s": (1, 2, 2)}, {"outputs": ROLES}, "needs anchors"),
        ("ssd", {"b": (1, 2, 4), "s": (1, 2, 2)}, {"outputs": ROLES, "anchors": [[0, 0, 1, 1]]}, "2 boxes, 1 anchors"),
        ("blazeface", {"b": (1, 896, 16), "s": (1, 896, 1)}, {"outputs": ROLES}, r"reads \(batch, 224, 4 \+ 2 K\)"),
        ("ssd-postprocessed", {"b": ()}, {"outputs": {"boxes": "b"}}, "boxes: NAME, classes: NAME, scores: NAME"),
        ("centernet-like", {"h": (1, 4, 4, 2)}, {"outputs": {"heat": "h", "size": "h", "offset": "x"}}, "no output"),
    ],
)  # fmt: skip
def test_refused(
    name: str, outputs: dict[str, Any], parameters: dict[str, Any], message: str, decoder: Make, one_line: Any
) -> None:
    with pytest.raises(BundleError, match=message) as caught:
        decoder(name, outputs, **parameters)
    one_line(caught)
