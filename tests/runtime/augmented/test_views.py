"""Views of a picture, and the way back."""

from __future__ import annotations

import numpy as np
import pytest

from edgecv_runtime.augmented.views import View, views_of
from edgecv_runtime.errors import InputError
from edgecv_runtime.manifest import InputSpec, Resize
from edgecv_runtime.preprocess import resize


def spec(mode: str = "stretch", fraction: float = 1.0, size: tuple[int, int] = (8, 8)) -> InputSpec:
    return InputSpec("image", (1, *size, 3), "uint8", resize=Resize(mode, crop_fraction=fraction))


def picture(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def one(name: str, image: np.ndarray, **how: bool) -> View:
    (view,) = views_of(image, [name], spec(), **how)
    return view


def test_flips_by_hand() -> None:
    image = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    across, down = one("hflip", image), one("vflip", image)
    assert across.image[0, :, 0].tolist() == [6, 3, 0] and down.image[:, 0, 0].tolist() == [9, 0]
    # A box 0..1 of a picture three pixels wide is 2..3 in its mirror image.
    assert across.to_source([[2, 0], [3, 1]]).tolist() == [[1, 0], [0, 1]]
    assert down.to_source([[0, 0.5]]).tolist() == [[0, 1.5]]
    assert across.mirrored and down.mirrored
    assert not one("hflip+vflip", image).mirrored


@pytest.mark.parametrize("name", ["identity", "hflip", "vflip", "hflip+vflip"])
def test_flips_are_undone_pixel_by_pixel(name: str) -> None:
    image = picture(5, 7)
    view = one(name, image)
    assert (view.map_to_source(view.image, (5, 7), 0) == image).all()


def test_shift_by_hand() -> None:
    image = picture(4, 8)
    view = one("shift:0.25,-0.5", image, mirror_border=False)
    assert (view.image[:2, 2:] == image[2:, :6]).all() and (view.image[:, :2] == 114).all()
    assert view.to_source([[2.0, 0.0]]).tolist() == [[0.0, 2.0]]
    back = view.map_to_source(view.image[..., 0].astype(int), (4, 8), -1)
    assert (back[2:, :6] == image[2:, :6, 0]).all() and (back[:2] == -1).all() and (back[:, 6:] == -1).all()


def test_scale_and_rotation_keep_the_middle() -> None:
    image = picture(20, 30)
    for name in ("scale:1.5", "rotate:90", "rotate:-30"):
        view = one(name, image)
        assert view.image.shape == image.shape
        assert view.to_source([15.0, 10.0]) == pytest.approx([15.0, 10.0])
    # Twice as large: what is 2 right of the middle was 1 right of it.
    assert one("scale:2", image).to_source([17.0, 10.0]) == pytest.approx([16.0, 10.0])
    # A quarter turn counter-clockwise: what was right of the middle is above it.
    assert one("rotate:90", image).to_source([15.0, 5.0]) == pytest.approx([20.0, 10.0])


def test_a_quarter_turn_is_numpys() -> None:
    image = picture(16, 16)
    assert (one("rotate:90", image).image == np.rot90(image)).all()


def test_ten_crops_are_corners_middle_and_their_mirror_images() -> None:
    image = picture(16, 32)
    views = views_of(image, ["ten-crop"], spec())
    assert len(views) == 10 and views[0].image.shape == (14, 28, 3)
    places = [(0, 0), (0, 4), (2, 0), (2, 4), (1, 2)]
    for view, mirror, (top, left) in zip(views[:5], views[5:], places, strict=True):
        cut = image[top : top + 14, left : left + 28]
        assert (view.image == cut).all() and (mirror.image == cut[:, ::-1]).all()
        assert view.to_source([0, 0]).tolist() == [left, top]
        assert mirror.to_source([28, 0]).tolist() == [left, top]


def test_crops_for_a_model_that_looks_at_the_middle() -> None:
    """A model that takes 224 of 256 pixels must be shown each corner where it looks."""
    image, feed = picture(64, 96), spec("crop", 0.875, (28, 28))
    corners = [(0, 0), (0, 40), (8, 0), (8, 40), (4, 20)]
    for view, (top, left) in zip(views_of(image, ["five-crop"], feed), corners, strict=True):
        seen, geometry = resize(view.image, feed.size, feed.resize)
        expected, _ = resize(image[top : top + 56, left : left + 56], feed.size, Resize("stretch"))
        assert (seen == expected).all()
        assert view.to_source(geometry.to_source([[0, 0]])).tolist() == [[left, top]]


def test_colours_by_hand() -> None:
    image = np.array([[[0, 100, 250]]], np.uint8)
    assert one("brightness:0.1", image).image.tolist() == [[[26, 126, 255]]]  # 25.5 rounds to even
    assert one("contrast:2", image).image.tolist() == [[[0, 72, 255]]]  # 127.5 + 2 × (100 - 127.5) = 72.5
    assert one("gamma:2", image).image.tolist() == [[[0, 39, 245]]]  # 255 × (100 / 255)² = 39.2, (250 / 255)² → 245.1
    assert (one("gamma:2", image).matrix == np.eye(3)).all()


@pytest.mark.parametrize(
    ("transforms", "message"),
    [
        (["mirror"], "there is no transform 'mirror'; there are identity, hflip"),
        (["rotate"], r"'rotate' takes 1 number\(s\) from -180 to 180; received ''"),
        (["scale:9"], "'scale' takes .* 0.25 to 4; received '9'"),
        (["scale:big"], "received 'big'"),
        (["hflip:1"], "'hflip' takes no number; received '1'"),
        ([], "at least one transform"),
        ("hflip", "must be a list of names; received the text 'hflip'"),
    ],
)
def test_refused(transforms: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        views_of(picture(4, 4), transforms, spec())
