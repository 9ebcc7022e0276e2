"""The views of a picture that a model is asked about, and the way back from each.

A view is a picture and the affine map that leads from the source's coordinates to the view's, where a pixel covers
[i, i + 1): a flip of a picture W pixels wide is x' = W - x.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecv_runtime.errors import InputError
from edgecv_runtime.images import Image, cv2
from edgecv_runtime.manifest import InputSpec
from edgecv_runtime.preprocess import crop_region

Affine = npt.NDArray[np.float64]

_CROP = 0.875  # of a side: 224 of 256 pixels (Krizhevsky et al. 2012, section 4.1)
_GREY = 114  # beyond the border, where a mirrored object would be found as one more


@dataclass(frozen=True, eq=False)
class View:
    """One view of a picture.

    Attributes
    ----------
    name : str
        As it was asked for.
    image : (h, w, 3) uint8 RGB
    matrix : (3, 3) float64
        From (x, y, 1) of the source to (x, y, 1) of the view.
    """

    name: str
    image: Image
    matrix: Affine

    @property
    def mirrored(self) -> bool:
        """Whether left and right have changed places."""
        return bool(np.linalg.det(self.matrix[:2, :2]) < 0)

    def to_source(self, points: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Map (..., 2) x, y of the view to the source."""
        back = np.linalg.inv(self.matrix)
        mapped: npt.NDArray[np.float64] = np.asarray(points, np.float64) @ back[:2, :2].T + back[:2, 2]
        return mapped

    def map_to_source(self, values: npt.NDArray[Any], size: tuple[int, int], beyond: float) -> npt.NDArray[Any]:
        """A (h, w) or (h, w, C) map of the view for every pixel of a (height, width) source: of the place where the
        pixel's middle lies, `beyond` where the view does not show it."""
        height, width = size
        middles = np.stack(np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5), axis=-1)
        places = np.floor(middles @ self.matrix[:2, :2].T + self.matrix[:2, 2]).astype(np.intp)
        x, y = places[..., 0], places[..., 1]
        there = (x >= 0) & (y >= 0) & (x < values.shape[1]) & (y < values.shape[0])
        mapped: npt.NDArray[Any] = values[y.clip(0, values.shape[0] - 1), x.clip(0, values.shape[1] - 1)]
        mapped[~there] = beyond
        return mapped


def views_of(image: Image, transforms: Sequence[str], spec: InputSpec, *, mirror_border: bool = True) -> list[View]:
    """The views that the transforms name, in their order.

    Parameters
    ----------
    image : (H, W, 3) uint8 RGB
    transforms : sequence of str
        ``"identity"``; ``"hflip"``, ``"vflip"``; ``"shift:DX,DY"`` (fractions of width and height);
        ``"scale:S"`` (about the middle; above 1 things become larger); ``"rotate:DEGREES"`` (counter-clockwise, about
        the middle); ``"five-crop"`` and ``"ten-crop"`` (the corners and the middle, and their mirror images);
        ``"brightness:B"`` (adds B × 255), ``"contrast:C"`` (about mid-grey), ``"gamma:G"``. Several are
        joined by ``+``: ``"hflip+scale:1.2"``.
    spec : InputSpec
        Of the model: where it looks at the middle of a picture only, crops are laid so that it sees just them.
    mirror_border : bool
        Whether what lies beyond the border is the picture mirrored; else it is grey.

    Raises
    ------
    InputError
        An unknown transform, or a number that it does not take.
    """
    if isinstance(transforms, str):
        raise InputError(f"transforms must be a list of names; received the text {transforms!r}")
    if not transforms:
        raise InputError("at least one transform is required, such as 'identity'; received none")
    maker = _Maker(spec, mirror_border)
    return [view for name in transforms for view in maker.make(name, image)]


class _Maker:
    def __init__(self, spec: InputSpec, mirror_border: bool) -> None:
        self.spec, self.mirror_border = spec, mirror_border

    def make(self, name: str, image: Image) -> list[View]:
        views = [View(name, image, np.eye(3))]
        for part in name.split("+"):
            kind, _, given = part.strip().partition(":")
            if kind not in KINDS:
                raise InputError(f"there is no transform {kind!r}; there are {', '.join(KINDS)}")
            step = KINDS[kind]
            numbers = step.numbers(kind, given)
            views = [
                View(name, changed, matrix @ view.matrix)
                for view in views
                for changed, matrix in step.apply(self, view.image, *numbers)
            ]
        return views

    def warp(self, image: Image, matrix: Affine) -> list[tuple[Image, Affine]]:
        """The picture under an affine map, on a canvas of its own size."""
        opencv = cv2("moving and turning a picture")
        # OpenCV counts from the middle of the first pixel.
        centred = _translation(-0.5, -0.5) @ matrix @ _translation(0.5, 0.5)
        border = opencv.BORDER_REFLECT_101 if self.mirror_border else opencv.BORDER_CONSTANT
        moved = opencv.warpAffine(
            image,
            centred[:2],
            (image.shape[1], image.shape[0]),
            flags=opencv.INTER_LINEAR,
            borderMode=border,
            borderValue=(_GREY,) * 3,
        )
        return [(moved, matrix)]

    def about_the_middle(self, image: Image, linear: Affine) -> list[tuple[Image, Affine]]:
        middle = image.shape[1] / 2, image.shape[0] / 2
        return self.warp(image, _translation(*middle) @ linear @ _translation(-middle[0], -middle[1]))


Made = list[tuple[Image, Affine]]


def _identity(maker: _Maker, image: Image) -> Made:
    return [(image, np.eye(3))]


def _hflip(maker: _Maker, image: Image) -> Made:
    return [(np.ascontiguousarray(image[:, ::-1]), np.array([[-1.0, 0, image.shape[1]], [0, 1, 0], [0, 0, 1]]))]


def _vflip(maker: _Maker, image: Image) -> Made:
    return [(np.ascontiguousarray(image[::-1]), np.array([[1.0, 0, 0], [0, -1, image.shape[0]], [0, 0, 1]]))]


def _shift(maker: _Maker, image: Image, right: float, down: float = 0.0) -> Made:
    height, width = image.shape[:2]
    return maker.warp(image, _translation(round(right * width), round(down * height)))


def _zoom(maker: _Maker, image: Image, factor: float) -> Made:
    return maker.about_the_middle(image, np.diag([factor, factor, 1.0]))


def _rotate(maker: _Maker, image: Image, degrees: float) -> Made:
    # Rows count downwards: to the eye this turns counter-clockwise.
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return maker.about_the_middle(image, np.array([[cosine, sine, 0], [-sine, cosine, 0], [0, 0, 1]]))


def _five_crop(maker: _Maker, image: Image) -> Made:
    """The four corners and the middle."""
    size, rule = (image.shape[0], image.shape[1]), maker.spec.resize
    partial = rule.mode == "crop" and rule.crop_fraction < 1
    if partial:
        middle_top, middle_left, height, width = crop_region(size, maker.spec.size, rule.crop_fraction)
    else:
        height, width = (max(1, round(_CROP * side)) for side in size)
        middle_top, middle_left = (size[0] - height) // 2, (size[1] - width) // 2
    bottom, right = size[0] - height, size[1] - width
    made: Made = []
    for top, left in ((0, 0), (0, right), (bottom, 0), (bottom, right), (middle_top, middle_left)):
        if partial:  # the model looks at the middle alone: the corner is moved there
            made += maker.warp(image, _translation(middle_left - left, middle_top - top))
        else:
            cut = np.ascontiguousarray(image[top : top + height, left : left + width])
            made.append((cut, _translation(-left, -top)))
    return made


def _ten_crop(maker: _Maker, image: Image) -> Made:
    crops = _five_crop(maker, image)
    mirrored = [(_hflip(maker, cut)[0], matrix) for cut, matrix in crops]
    return crops + [(flipped, flip @ matrix) for (flipped, flip), matrix in mirrored]


def _brightness(maker: _Maker, image: Image, amount: float) -> Made:
    return [(_rounded(image + np.float32(255 * amount)), np.eye(3))]


def _contrast(maker: _Maker, image: Image, factor: float) -> Made:
    return [(_rounded((image - np.float32(127.5)) * np.float32(factor) + np.float32(127.5)), np.eye(3))]


def _gamma(maker: _Maker, image: Image, exponent: float) -> Made:
    table = _rounded(255 * (np.arange(256, dtype=np.float32) / 255) ** np.float32(exponent))
    return [(table[image], np.eye(3))]


def _rounded(values: npt.NDArray[np.floating[Any]]) -> Image:
    pixels: Image = np.rint(values).clip(0, 255).astype(np.uint8)
    return pixels


def _translation(x: float, y: float) -> Affine:
    return np.array([[1.0, 0, x], [0, 1, y], [0, 0, 1]])


@dataclass(frozen=True)
class Kind:
    """A transform: what it does, and the numbers it takes.

    Attributes
    ----------
    apply : callable
    bounds : tuple of (least, most)
        For each number.
    required : int
        How many of the numbers must be given.
    """

    apply: Callable[..., Made]
    bounds: tuple[tuple[float, float], ...] = ()
    required: int = 0

    def numbers(self, kind: str, given: str) -> list[float]:
        """The numbers behind the colon.

        Raises
        ------
        InputError
        """
        words = given.split(",") if given else []
        try:
            found = [float(word) for word in words]
        except ValueError:
            found = []
        within = all(low <= number <= high for number, (low, high) in zip(found, self.bounds, strict=False))
        if not self.required <= len(found) <= len(self.bounds) or len(found) != len(words) or not within:
            limits = " and ".join(f"{low:g} to {high:g}" for low, high in self.bounds)
            wanted = f"takes {len(self.bounds)} number(s) from {limits}" if self.bounds else "takes no number"
            raise InputError(f"transform {kind!r} {wanted}; received {given!r}")
        return found


KINDS = {
    "identity": Kind(_identity),
    "hflip": Kind(_hflip),
    "vflip": Kind(_vflip),
    "shift": Kind(_shift, ((-0.5, 0.5), (-0.5, 0.5)), 1),
    "scale": Kind(_zoom, ((0.25, 4.0),), 1),
    "rotate": Kind(_rotate, ((-180.0, 180.0),), 1),
    "five-crop": Kind(_five_crop),
    "ten-crop": Kind(_ten_crop),
    "brightness": Kind(_brightness, ((-1.0, 1.0),), 1),
    "contrast": Kind(_contrast, ((0.1, 5.0),), 1),
    "gamma": Kind(_gamma, ((0.1, 5.0),), 1),
}
