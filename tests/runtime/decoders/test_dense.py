"""Segmentation, pose and embedding."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from edgecv_runtime.errors import BundleError
from edgecv_runtime.manifest import Resize
from edgecv_runtime.preprocess import Geometry, resize
from edgecv_runtime.results import Segmentation

Make = Callable[..., Any]


def test_masks_of_every_layout(decoder: Make, plain: Geometry) -> None:
    classes = np.arange(16).reshape(4, 4) % 3
    scores = np.eye(3, dtype=np.float32)[classes]
    whole = classes.repeat(16, axis=0).repeat(16, axis=1)
    for layout, shape, output in (
        ("NHWC", (1, 4, 4, 3), scores),
        ("NCHW", (1, 3, 4, 4), scores.transpose(2, 0, 1)),
        ("indices", (1, 4, 4), classes.astype(np.float32)),
        ("indices", (1, 4, 4, 1), classes.astype(np.float32)[..., None]),
    ):
        found = decoder("segmentation", {"o": shape}, layout=layout).decode([output], plain)
        np.testing.assert_array_equal(found.mask, whole)


def test_one_channel_is_a_threshold(decoder: Make, plain: Geometry) -> None:
    output = np.float32([[-1, 1], [0.4, 0.6]])
    for layout, shape in (("NHWC", (2, 2, 1)), ("NCHW", (1, 2, 2))):
        head = decoder("segmentation", {"o": (1, *shape)}, layout=layout, threshold=0.5, labels=("no", "yes"))
        mask = head.decode([output.reshape(shape)], plain).mask
        assert mask[::32, ::32].tolist() == [[0, 1], [0, 1]]


def test_letterbox_and_crop_are_undone(decoder: Make) -> None:
    """Colour halves of a picture come back where they were."""
    picture = np.zeros((60, 120, 3), np.uint8)
    picture[:, 70:] = 255
    for rule in (
        Resize("letterbox"),
        Resize("letterbox", align="top-left"),
        Resize("crop", crop_fraction=1.0),
        Resize(),
    ):
        resized, geometry = resize(picture, (64, 64), rule)
        head = decoder("segmentation", {"o": (1, 64, 64)}, layout="indices")
        mask = head.decode([(resized[..., 0] > 127).astype(np.float32)], geometry).mask
        seen = mask != Segmentation.UNKNOWN
        wanted = picture[..., 0] > 127
        if rule.mode == "crop":
            assert not seen[:, :30].any() and not seen[:, 90:].any() and seen[:, 30:90].all()
        else:
            assert seen.all()
        wrong = (mask == 1)[seen] != wanted[seen]
        assert wrong.mean() < 0.02  # the column at the edge


def test_indices_are_compared_as_shares(decoder: Make) -> None:
    head = decoder("segmentation", {"o": (1, 64, 64)}, layout="indices")
    assert head.decides
    one = np.zeros((1, 64, 64), np.float32)
    one[:, :32] = 15
    few = one.copy()
    few[0, 32, :3] = 15  # three pixels along the edge
    many = one.copy()
    many[0, :32] = 14
    steady = head.comparable([one])[0]
    assert steady.shape == (1, 16, 16, 64) and steady[0, 0, 0, 15] == 1 and steady[0, 15, 0, 0] == 1
    assert np.abs(head.comparable([few])[0] - steady).max() == pytest.approx(3 / 16)
    assert np.abs(head.comparable([many])[0] - steady).max() == 1
    assert not decoder("segmentation", {"o": (1, 4, 4, 3)}).decides


def test_pose_by_hand(decoder: Make, letterboxed: Geometry) -> None:
    maps = np.zeros((8, 8, 2), np.float32)
    maps[3, 2, 0], maps[3, 3, 0] = 0.9, 0.4  # leans to the right
    maps[5, 6, 1], maps[4, 6, 1] = 0.7, 0.2  # leans up
    head = decoder("heatmap-pose", {"o": (1, 8, 8, 2)}, labels=("nose", "tail"), skeleton=[[0, 1]])
    found = head.decode([maps], letterboxed)
    # Cells of 8 input pixels: (2.75, 3.5) and (6.5, 5.25) cells; times 8, times 3.125, and 50 up.
    np.testing.assert_allclose(found.keypoints, [[68.75, 37.5], [162.5, 81.25]], atol=1e-4)
    np.testing.assert_allclose(found.scores, [0.9, 0.7])
    assert found.labels == ("nose", "tail") and found.skeleton == ((0, 1),)
    turned = decoder("heatmap-pose", {"o": (1, 2, 8, 8)}, layout="NCHW").decode([maps.transpose(2, 0, 1)], letterboxed)
    np.testing.assert_array_equal(turned.keypoints, found.keypoints)


def test_embedding(decoder: Make, plain: Geometry) -> None:
    for shape in ((1, 2), (1, 1, 1, 2)):
        vector = decoder("embedding", {"o": shape}).decode([np.float32([3, 4]).reshape(shape[1:])], plain).vector
        np.testing.assert_allclose(vector, [0.6, 0.8])
    assert decoder("embedding", {"o": (1, 2)}, normalize=False).decode([np.float32([3, 4])], plain).vector.tolist() == [
        3,
        4,
    ]
    assert decoder("embedding", {"o": (1, 2)}).decode([np.zeros(2, np.float32)], plain).vector.tolist() == [0, 0]


@pytest.mark.parametrize(
    ("name", "outputs", "parameters", "message"),
    [
        ("segmentation", {"o": (1, 4, 4)}, {}, r"with layout NHWC reads \(batch, H, W, C\)"),
        ("segmentation", {"o": (1, 4, 4, 3)}, {"layout": "indices"}, r"with layout indices reads \(batch, H, W\)"),
        ("segmentation", {"o": (1, 4, 4, 3)}, {"labels": ("a", "b")}, "3 classes, 2 labels"),
        ("segmentation", {"o": (1, 4, 4, 1)}, {"labels": ("a",)}, "2 classes, 1 labels"),
        ("heatmap-pose", {"o": (1, 4, 4)}, {}, r"reads \(batch, H, W, K\)"),
        ("heatmap-pose", {"o": (1, 4, 4, 3)}, {"skeleton": [[0, 3]]}, "skeleton must join keypoints 0..2"),
        ("embedding", {"o": (1, 4, 4)}, {}, r"reads \(batch, D\)"),
        ("embedding", {"o": (1, 4)}, {"normalize": "yes"}, "normalize of decoder 'embedding' must be true or false"),
    ],
)
def test_refused(
    name: str, outputs: dict[str, Any], parameters: dict[str, Any], message: str, decoder: Make, one_line: Any
) -> None:
    with pytest.raises(BundleError, match=message) as caught:
        decoder(name, outputs, **parameters)
    one_line(caught)


def test_what_the_device_finishes_of_a_segmentation(decoder: Make, plain: Geometry) -> None:
    """The best class is the same before and after; scores and thresholds are those of the float model."""
    logits = np.random.default_rng(0).normal(0, 2, (4, 4, 3)).astype(np.float32)
    powers = np.exp(logits)
    head = decoder("segmentation", {"o": (1, 4, 4, 3)}, activation="softmax")
    usual = decoder("segmentation", {"o": (1, 4, 4, 3)})
    np.testing.assert_array_equal(head.decode([logits], plain).mask, usual.decode([logits], plain).mask)
    scores, seen = head.score_map([logits], plain)
    np.testing.assert_allclose(scores[::16, ::16], powers / powers.sum(-1, keepdims=True), rtol=1e-5)
    assert seen.all()
    one = decoder("segmentation", {"o": (1, 2, 2, 1)}, activation="sigmoid", threshold=0.5)
    mask = one.decode([np.float32([-0.1, 0.1, 3, -3]).reshape(2, 2, 1)], plain).mask
    assert mask[::32, ::32].tolist() == [[0, 1], [1, 0]]
    with pytest.raises(BundleError, match="class indices take no activation"):
        decoder("segmentation", {"o": (1, 4, 4)}, layout="indices", activation="softmax")
