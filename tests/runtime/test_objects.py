"""Results with a place in the picture: what they hold, refuse and draw."""

from __future__ import annotations

import json
from itertools import pairwise

import numpy as np
import pytest

import edgecv_runtime as ert
from edgecv_runtime.drawing import draw, palette
from edgecv_runtime.errors import InputError
from edgecv_runtime.results import Classification, Detections, Embedding, Pose, Segmentation


def three() -> Detections:
    return Detections(
        np.float32([[0, 0, 10, 20], [5, 5, 30, 30], [40, 2, 50, 9]]),
        np.float32([0.9, 0.6, 0.3]),
        np.array([1, 0, 1]),
        ("cat", "dog"),
        masks=np.stack([np.eye(4, dtype=bool)] * 3),
        keypoints=np.zeros((3, 2, 3), np.float32),
        skeleton=((0, 1),),
    )


def test_detections() -> None:
    found = three()
    assert len(found) == 3 and found.labels == ("dog", "cat", "dog")
    assert next(iter(found)) == ((0, 0, 10, 20), pytest.approx(0.9), 1, "dog")
    assert len(found.top(2)) == 2 and found.top(9).scores.tolist() == found.scores.tolist()
    assert found.above(0.6).labels == ("dog", "cat")
    dogs = found.of("dog")
    assert dogs.scores.tolist() == pytest.approx([0.9, 0.3]) and dogs.masks.shape == (2, 4, 4)
    assert found.of(0).labels == ("cat",) and dogs.keypoints.shape == (2, 2, 3) and dogs.skeleton == ((0, 1),)
    assert len(found.of("bird")) == 0
    assert repr(found.top(2)) == "<Detections 2: dog 0.90, cat 0.60>"
    assert found.top(1).summary == "dog 0.90 [0 0 10 20]"
    nothing = Detections.none()
    assert (len(nothing), repr(nothing), nothing.summary, list(nothing)) == (0, "<Detections 0>", "nothing", [])
    assert Detections(np.zeros((1, 4), np.float32), np.zeros(1, np.float32), np.array([7]), ("a",)).labels == (
        "class 7",
    )
    with pytest.raises(InputError, match="k must be at least 1"):
        found.top(0)


def test_detections_as_json() -> None:
    document = json.loads(json.dumps(three().top(1).to_dict()))
    assert document["boxes"] == [[0, 0, 10, 20]] and document["labels"] == ["dog"] and document["classes"] == [1]
    # The diagonal of 4×4: nothing before it, then one pixel and four more to the next.
    assert document["masks"] == [{"size": [4, 4], "runs": [0, 1, 4, 1, 4, 1, 4, 1]}]
    assert sum(document["masks"][0]["runs"]) == 16


ONE = np.zeros((1, 4)), np.zeros(1), np.zeros(1, int)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.zeros((2, 4)), np.zeros(3), np.zeros(3, int)), r"received shapes \(2, 4\), \(3,\) and \(3,\)"),
        ((*ONE, None, np.zeros((2, 3, 3), bool)), r"masks must be \(1, H, W\)"),
        ((*ONE, None, None, np.zeros((1, 5, 2))), r"keypoints must be \(1, K, 3\)"),
    ],
)  # fmt: skip
def test_detections_are_validated(arguments: tuple[object, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Detections(*arguments)  # type: ignore[arg-type]


def test_segmentation() -> None:
    mask = np.array([[0, 0, 1], [0, 255, 1]], np.uint8)
    found = Segmentation(mask, ("sky", "sea"))
    assert found.labels == ("sky", "sea") and len(found) == 2
    assert [(index, round(share, 3)) for index, share, _ in found] == [(0, 0.5), (1, 0.333)]
    assert found.of("sea").tolist() == [[False, False, True], [False, False, True]]
    assert found.top(1) is found and found.summary == "sky 50.0 %, sea 33.3 %"
    assert found.to_dict()["runs"] == [[0, 2], [1, 1], [0, 1], [255, 1], [1, 1]]
    with pytest.raises(InputError, match="no class 'land'; there are sky, sea"):
        found.of("land")
    with pytest.raises(InputError, match=r"\(H, W\) class indices; received shape \(2,\)"):
        Segmentation(np.zeros(2, np.uint8))


def test_pose_and_embedding() -> None:
    pose = Pose(np.float32([[1, 2], [3, 4]]), np.float32([0.5, 0.25]), ("nose", "tail"))
    assert list(pose)[1] == ((3, 4), 0.25, "tail") and pose.summary == "nose 0.50 [1 2], tail 0.25 [3 4]"
    assert Pose(np.zeros((1, 2), np.float32), np.zeros(1, np.float32)).labels == ("point 0",)
    with pytest.raises(InputError, match=r"must be \(K, 2\) and \(K,\)"):
        Pose(np.zeros((2, 3), np.float32), np.zeros(2, np.float32))
    a, b = Embedding(np.float32([3, 4])), Embedding(np.float32([4, 3]))
    assert a.similarity(b) == pytest.approx(0.96) and a.similarity(np.zeros(2)) == 0
    assert a.similarity(a) == pytest.approx(1) and len(a) == 2 and a.to_dict() == {"vector": [3, 4]}
    with pytest.raises(InputError, match="embeddings must have one length"):
        a.similarity(np.zeros(3))
    with pytest.raises(InputError, match="must be a vector"):
        Embedding(np.zeros((1, 2), np.float32))


# -- drawing -------------------------------------------------------------------------------------------------------

GREY = np.full((60, 80, 3), 100, np.uint8)


def test_boxes_are_drawn_where_they_are() -> None:
    found = Detections(np.float32([[10, 30, 40, 50]]), np.float32([0.5]), np.array([3]))
    drawn = draw(GREY, found)
    assert drawn.shape == GREY.shape and (GREY == 100).all()
    for y, x in ((30, 10), (49, 39), (40, 10), (40, 39), (49, 20)):
        assert tuple(drawn[y, x].tolist()) == palette(3)
    assert (drawn[32:48, 12:38] == 100).all() and (drawn[52:] == 100).all()  # within and below: as it was
    assert ert.draw is draw


def test_masks_skeletons_and_text() -> None:
    mask = np.zeros((60, 80), bool)
    mask[40:50, 60:70] = True
    points = np.float32([[[5, 55, 1], [40, 55, 1], [70, 5, 0.1]]])
    found = Detections(
        np.float32([[60, 40, 70, 50]]), np.float32([0.5]), np.array([0]), None, mask[None], points, ((0, 1), (1, 2))
    )
    drawn = draw(GREY, found)
    assert tuple(drawn[55, 5].tolist()) == palette(0) and drawn[55, 20, 2] < 60
    assert (drawn[3:9, 66:74] == 100).all()  # the unsure point is not drawn
    assert (drawn[45, 65] == [(100 + c) // 2 for c in palette(0)]).all()
    pose = draw(GREY, Pose(np.float32([[5, 55], [40, 55]]), np.ones(2, np.float32), None, ((0, 1),)))
    assert pose[55, 20, 2] < 60 < pose[45, 20, 2]  # orange on grey
    segmented = draw(GREY, Segmentation(mask.astype(np.uint8) * 2))
    assert (segmented[45, 65] == [(100 + c) // 2 for c in palette(2)]).all() and (segmented[58, 40] == 100).all()
    named = draw(GREY, Classification.from_scores(np.float32([0.1, 0.9]), ("a", "b")))
    assert (named != 100).any()


def test_what_cannot_be_drawn() -> None:
    with pytest.raises(InputError, match="a Embedding cannot be drawn"):
        draw(GREY, Embedding(np.zeros(3, np.float32)))
    with pytest.raises(InputError, match=r"must have the picture's size \(60, 80\); received \(5, 5\)"):
        draw(GREY, Segmentation(np.ones((5, 5), np.uint8)))


def test_colours_of_neighbouring_classes_differ() -> None:
    colors = [np.array(palette(index)) for index in range(20)]
    assert min(np.abs(a - b).max() for a, b in pairwise(colors)) > 60
    assert all(40 <= value <= 245 for color in colors for value in color)
