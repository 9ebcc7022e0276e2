"""Boxes, masks and keypoints go where the pixels go: worked by hand, and against the runtime's views."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edgecv.augment import Affine, Elastic, GridWarp, Mirror, QuarterTurns, Sample, Warp, crop, ten_crop, warp
from edgecv.augment.crops import RandomCrop, ResizedCrop
from edgecv.augment.warp import about_the_middle, box_of, rotation, translation
from edgecv_runtime.augmented.views import views_of
from edgecv_runtime.errors import InputError
from edgecv_runtime.manifest import InputSpec


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def smooth(height: int, width: int) -> np.ndarray:
    """A picture that interpolation changes little."""
    y, x = np.mgrid[:height, :width]
    waves = [128 + 100 * np.sin(x / 9), 128 + 100 * np.cos(y / 11), 128 + 90 * np.sin((x + y) / 13)]
    return np.stack(waves, -1).astype(np.uint8)


def one_object(height: int = 20, width: int = 30) -> Sample:
    """A rectangle of columns 2..11 and rows 3..12, with a keypoint at its left upper corner."""
    mask = np.zeros((1, height, width), np.bool_)
    mask[0, 3:13, 2:12] = True
    return Sample(picture(height, width), [[2, 3, 12, 13]], [4], mask, [[[2, 3, 1], [29.5, 19.5, 2]]])


def test_mirror_by_hand() -> None:
    sample = one_object()
    flipped = Mirror(pairs=((0, 1),)).apply(sample)
    assert np.array_equal(flipped.image, sample.image[:, ::-1])
    assert flipped.boxes.tolist() == [[18, 3, 28, 13]]  # 30 - 12, 30 - 2
    assert flipped.keypoints.tolist() == [[[0.5, 19.5, 2], [28, 3, 1]]]  # 30 - x, and the two have changed places
    assert box_of(flipped.masks[0]).tolist() == [18, 3, 28, 13]
    fallen = Mirror(vertical=True).apply(sample)
    assert fallen.boxes.tolist() == [[2, 7, 12, 17]]
    assert box_of(fallen.masks[0]).tolist() == [2, 7, 12, 17]
    twice = Mirror().apply(Mirror().apply(sample))
    assert np.array_equal(twice.image, sample.image) and twice.boxes.tolist() == sample.boxes.tolist()


def test_a_quarter_turn_by_hand() -> None:
    # Counter-clockwise to the eye, (x, y) of a picture 30 wide goes to (y, 30 - x) of one 20 wide and 30 high.
    turned = QuarterTurns.apply(one_object(), 1)
    assert turned.size == (30, 20)
    assert turned.boxes.tolist() == [[3, 18, 13, 28]]
    assert turned.keypoints[0, :, :2].tolist() == [[3, 28], [19.5, 0.5]]
    assert box_of(turned.masks[0]).tolist() == [3, 18, 13, 28]
    assert np.array_equal(turned.image, np.rot90(one_object().image))
    back = QuarterTurns.apply(turned, 3)
    assert np.array_equal(back.image, one_object().image)
    assert back.boxes.tolist() == [[2, 3, 12, 13]] and back.keypoints.tolist() == one_object().keypoints.tolist()


def test_the_general_warp_agrees_with_the_exact_turn() -> None:
    sample = Sample(picture(24, 24), [[2, 3, 12, 13]], [0], np.arange(576).reshape(24, 24) % 7)
    turned = warp(sample, Warp(about_the_middle((24, 24), rotation(90)), (24, 24)))
    exact = QuarterTurns.apply(sample, 1)
    assert np.array_equal(turned.image, exact.image)
    assert np.array_equal(turned.masks, exact.masks)
    assert turned.boxes == pytest.approx(exact.boxes)


def test_a_shift_by_hand() -> None:
    moved = warp(one_object(), Warp(translation(5, -4), (20, 30)), minimum_visible=0.0)
    assert moved.boxes.tolist() == [[7, 0, 17, 9]]  # rows -1..9, cut at 0
    assert moved.keypoints.tolist() == [[[7, -1, 0], [34.5, 15.5, 0]]]  # both have left the picture
    assert (moved.image[:, :5] == 114).all()  # an object would be seen twice in a mirror
    assert np.array_equal(moved.image[:16, 5:], one_object().image[4:, :25])


def test_objects_that_leave_are_left_out() -> None:
    sample = Sample(picture(20, 20), [[0, 0, 10, 10], [12, 0, 20, 8]], [1, 2], np.ones((2, 20, 20), np.bool_))
    kept = warp(sample, Warp(translation(8, 0), (20, 20)))  # the second keeps nothing, the first all
    assert kept.boxes.tolist() == [[8, 0, 18, 10]] and kept.classes.tolist() == [1] and len(kept.masks) == 1
    # 2 of 10 columns are a fifth: below a quarter. 3 are more than one.
    assert len(warp(Sample(picture(20, 20), [[0, 0, 10, 10]], [1]), Warp(translation(18, 0), (20, 20))).boxes) == 0
    assert len(warp(Sample(picture(20, 20), [[0, 0, 10, 10]], [1]), Warp(translation(17, 0), (20, 20))).boxes) == 1


def test_maps_of_classes_and_borders() -> None:
    classes = np.full((8, 8), 3, np.uint8)
    sample = Sample(picture(8, 8), masks=classes)
    assert (warp(sample, Warp(translation(3, 0), (8, 8)), border="grey").masks[:, :3] == 255).all()
    assert (warp(sample, Warp(translation(3, 0), (8, 8))).masks == 3).all()  # mirrored, as the picture is
    with pytest.raises(InputError, match="border must be auto, reflect, edge or grey; received 'wrap'"):
        warp(sample, Warp(np.eye(3), (8, 8)), border="wrap")  # type: ignore[arg-type]


def test_affine_there_and_back() -> None:
    # Rows 20..76 of a smooth picture come back as they were, up to two interpolations.
    how = Affine(rotation=20, shear=0.2, zoom=(0.8, 1.2), stretch=0.1, shift=(0.1, 0.1)).draw(
        (96, 96), np.random.default_rng(3)
    )
    points = np.random.default_rng(1).uniform(0, 96, (50, 2))
    assert how.to_source(how.to_result(points)) == pytest.approx(points, abs=1e-9)
    sample = Sample(smooth(96, 96), keypoints=np.dstack([points[None], np.ones((1, 50, 1))]))
    there = warp(sample, how)
    assert np.abs(there.image.astype(int) - sample.image).mean() > 20
    back = warp(there, Warp(np.linalg.inv(how.matrix), (96, 96)))
    inner = (slice(30, 66), slice(30, 66))
    assert np.abs(back.image[inner].astype(int) - sample.image[inner]).max() <= 4
    assert back.keypoints[..., :2] == pytest.approx(sample.keypoints[..., :2], abs=1e-3)


@pytest.mark.parametrize("step", [Elastic(2.0, 8.0, "edge"), GridWarp(3, 3.0, "edge")])
def test_a_bent_field_moves_everything_alike(step: Any) -> None:
    # Two masks in the colours of the picture, and keypoints in the middle of small dots.
    image = np.zeros((64, 80, 3), np.uint8)
    image[10:40, 12:50] = (250, 0, 0)
    dots = np.array([[60.5, 20.5], [66.5, 50.5], [30.5, 55.5]])
    for x, y in dots:
        image[int(y) - 1 : int(y) + 2, int(x) - 1 : int(x) + 2] = (0, 250, 0)
    masks = (image[..., 0] > 100)[None]
    sample = Sample(image, [[12, 10, 50, 40]], [1], masks, np.dstack([dots[None], np.ones((1, 3, 1))]))
    field = step.field((64, 80), np.random.default_rng(4))
    how = Warp(np.eye(3), (64, 80), field)
    assert np.abs(field).max() > 2  # it does bend
    assert how.to_source(how.to_result(dots)) == pytest.approx(dots, abs=1e-3)
    bent = warp(sample, how)
    red = bent.image[..., 0] > 125
    assert (red != bent.masks[0]).mean() < 0.005  # the outline's rounding only
    assert (red != masks[0]).mean() > 0.01  # and not because nothing moved
    assert bent.boxes[0] == pytest.approx(box_of(red), abs=1)
    rows, columns = np.nonzero(bent.image[..., 1] > 60)
    for x, y, _ in bent.keypoints[0]:
        near = np.hypot(columns + 0.5 - x, rows + 0.5 - y) < 5
        assert near.any() and np.hypot((columns[near] + 0.5).mean() - x, (rows[near] + 0.5).mean() - y) < 0.7


def test_without_masks_a_bent_box_is_around_its_outline() -> None:
    # Turned by 45 degrees about its middle, a square of side 10 is √200 = 14.14 wide.
    turned = warp(
        Sample(picture(40, 40), [[15, 15, 25, 25]], [0]), Warp(about_the_middle((40, 40), rotation(45)), (40, 40))
    )
    half = np.sqrt(200) / 2
    assert turned.boxes[0] == pytest.approx([20 - half, 20 - half, 20 + half, 20 + half], abs=1e-4)
    # A mask of the square says the same, but for the pixels that its corners half cover.
    mask = np.zeros((1, 40, 40), np.bool_)
    mask[0, 15:25, 15:25] = True
    masked = warp(
        Sample(picture(40, 40), [[15, 15, 25, 25]], [0], mask), Warp(about_the_middle((40, 40), rotation(45)), (40, 40))
    )
    assert masked.boxes[0] == pytest.approx(turned.boxes[0], abs=1.01)


def test_the_ten_crops_are_the_runtimes() -> None:
    image = picture(64, 96)
    spec = InputSpec(name="x", shape=(1, 32, 32, 3), dtype="float32")
    expected = [view.image for view in views_of(image, ["ten-crop"], spec)]  # 0.875 of 64 and 96: 56 and 84
    found = [part.image for part in ten_crop(Sample(image), 56, 84)]
    assert len(found) == len(expected) == 10
    assert all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True))


def test_crops() -> None:
    cut = crop(one_object(), 5, 4, 10, 20)
    assert cut.boxes.tolist() == [[0, 0, 8, 8]]  # 2-4 and 3-5 cut at 0; 12-4, 13-5
    assert cut.keypoints[0, 0].tolist() == [-2, -2, 0]
    assert box_of(cut.masks[0]).tolist() == [0, 0, 8, 8]
    with pytest.raises(InputError, match="a crop must lie inside the picture of 20x30; received 10x20 at row 15"):
        crop(one_object(), 15, 0, 10, 20)
    with pytest.raises(InputError, match="a crop of 30x30 does not fit a picture of 20x30"):
        RandomCrop(30, 30)(one_object(), np.random.default_rng(0))
    for seed in range(5):
        sample = Sample(picture(12, 12), masks=np.arange(144).reshape(12, 12))
        padded = RandomCrop(padding=4)(sample, np.random.default_rng(seed))
        assert padded.size == (12, 12)
        # Every pixel carries its own number along.
        assert np.array_equal(padded.image.reshape(-1, 3), picture(12, 12).reshape(-1, 3)[padded.masks.ravel()])
        assert RandomCrop(8, 6)(sample, np.random.default_rng(seed)).size == (8, 6)


def test_a_resized_crop_has_the_area_it_draws() -> None:
    sample = Sample(picture(60, 90), keypoints=[[[0, 0, 1], [90, 0, 1], [0, 60, 1]]])
    for seed in range(20):
        corners = ResizedCrop((0.2, 0.5))(sample, np.random.default_rng(seed)).keypoints[0, :, :2].astype(float)
        wide, high = (corners[1] - corners[0])[0] / 90, (corners[2] - corners[0])[1] / 60
        assert 0.2 <= 1 / (wide * high) <= 0.5
        assert 3 / 4 - 1e-6 <= high / wide <= 4 / 3 + 1e-6


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"image": np.zeros((4, 4), np.uint8)}, r"an image must be \(H, W, C\) uint8; received \(4, 4\)"),
        ({"boxes": [[1, 2, 3]]}, r"boxes must be \(n, 4\) xyxy pixels; received shape \(1, 3\)"),
        ({"masks": np.zeros((5, 4))}, r"masks must be \(H, W\) or \(n, H, W\) of the picture's \(4, 4\)"),
        ({"keypoints": [[1, 2, 3]]}, r"keypoints must be \(n, K, 3\)"),
        ({"boxes": [[1, 2, 3, 4]], "classes": [1, 2]}, "every object needs one of each; received 1 boxes, 2 classes"),
    ],
)
def test_samples_are_checked(wrong: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Sample(**{"image": np.zeros((4, 4, 3), np.uint8), **wrong})


def test_a_picture_without_objects_stays_without() -> None:
    empty = Sample(picture(8, 8), boxes=[], classes=[], masks=np.zeros((0, 8, 8), np.bool_))
    turned = Affine(rotation=30)(Mirror().apply(empty), np.random.default_rng(0))
    assert turned.boxes.shape == (0, 4) and turned.classes.shape == (0,) and turned.masks.shape == (0, 8, 8)
