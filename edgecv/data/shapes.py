"""Pictures of circles, squares and triangles with boxes, masks and keypoints: detectors train without a download.

Every picture has a cluttered background of its own, one or more filled shapes in colours that stand out from it, a
little overlap, and the noise of a camera.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecv_runtime.errors import InputError
from edgecv_runtime.images import cv2

SHAPE_CLASSES = ("circle", "square", "triangle")
"""Names by class index."""

SHAPE_KEYPOINTS = ("top", "right", "bottom", "left")
"""Names by keypoint index; see `ShapesSample`."""

_SMALLEST = 12.0  # the least side or diameter, pixels
_TURN = 15.0  # squares and triangles turn by up to so many degrees: top stays top
_TRIES = 40  # places tried for one shape before it is left out
_VISIBLE = 0.75  # the share of a shape that others must leave to be seen
_CONTRAST = 90.0  # least distance of a shape's colour from what is behind it, in RGB

_Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ShapesSample:
    """One picture and all that is known of its n shapes, those behind first.

    Attributes
    ----------
    image : (S, S, 3) uint8, RGB
    boxes : (n, 4) float32
        xyxy in pixels, tight around what is seen of each shape: a box ends where its last pixel ends.
    classes : (n,) int64
        Index into `SHAPE_CLASSES`.
    masks : (n, S, S) bool
        The pixels in which the shape is seen.
    keypoints : (n, 4, 3) float32
        x, y in pixels and 1 where the point is seen, 0 where another shape covers it: of a circle its top, right,
        bottom and left; of a square the middles of those sides; of a triangle the tip, the right corner, the middle of
        the base and the left corner. They turn with the shape. Pixel centres lie at half coordinates.
    """

    image: npt.NDArray[np.uint8]
    boxes: npt.NDArray[np.float32]
    classes: npt.NDArray[np.int64]
    masks: npt.NDArray[np.bool_]
    keypoints: npt.NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.classes)


def generate_shapes(count: int, size: int = 96, seed: int = 0, max_shapes: int = 3) -> list[ShapesSample]:
    """Draw pictures with shapes.

    A longer call begins with the pictures of a shorter one with the same seed.

    Parameters
    ----------
    count : int
        Number of pictures, at least 1.
    size : int
        Side of a picture in pixels, at least 32. Shapes measure from 12 pixels to half of it.
    seed : int
        Not negative; the same seed gives the same pictures.
    max_shapes : int
        Most shapes in a picture; the number is drawn from 1 on. A shape that finds no place is left out.

    Returns
    -------
    list of ShapesSample

    Raises
    ------
    InputError
        A number out of range.
    MissingPackageError
        OpenCV is not installed.

    Examples
    --------
    >>> sample = generate_shapes(1, size=64)[0]
    >>> sample.image.shape, sample.masks.shape[1:], sample.keypoints.shape[1:]
    ((64, 64, 3), (64, 64), (4, 3))
    """
    for name, value, least in (
        ("count", count, 1),
        ("size", size, 32),
        ("seed", seed, 0),
        ("max_shapes", max_shapes, 1),
    ):
        if value < least:
            raise InputError(f"{name} must be at least {least}; received {value}")
    return [_sample(size, max_shapes, np.random.default_rng([seed, index])) for index in range(count)]


@dataclass(frozen=True)
class _Shape:
    """A shape before it is drawn: its class, its keypoints, and how far every pixel lies outside of it."""

    kind: int
    points: _Floats  # (4, 2)
    outside: _Floats  # (S, S) signed distance in pixels, negative inside

    @property
    def mask(self) -> npt.NDArray[np.bool_]:
        return self.outside < 0


def _sample(size: int, max_shapes: int, rng: np.random.Generator) -> ShapesSample:
    shapes: list[_Shape] = []
    for _ in range(int(rng.integers(1, max_shapes + 1))):
        for _ in range(_TRIES):
            shape = _draw_shape(size, rng)
            if _fits(shape, shapes):
                shapes.append(shape)
                break
    image = _background(size, rng)
    for shape in shapes:
        _paint(image, shape, rng)
    masks = _seen(shapes)
    keypoints = np.stack([_keypoints(shape, mask) for shape, mask in zip(shapes, masks, strict=True)])
    return ShapesSample(
        image=_develop(image, rng),
        boxes=np.stack([_box(mask) for mask in masks]),
        classes=np.array([shape.kind for shape in shapes], np.int64),
        masks=masks,
        keypoints=keypoints,
    )


# -- geometry ----------------------------------------------------------------------------------------------------------


def _draw_shape(size: int, rng: np.random.Generator) -> _Shape:
    """A shape of random class, size, turn and place, wholly within the picture."""
    kind = int(rng.integers(len(SHAPE_CLASSES)))
    # Uniform in the logarithm: as many small ones as large ones.
    side = float(np.exp(rng.uniform(np.log(_SMALLEST), np.log(size / 2))))
    angle = np.deg2rad(0.0 if kind == 0 else rng.uniform(-_TURN, _TURN))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    outline = _OUTLINES[kind] * side @ turn.T
    reach = np.abs(outline).max(axis=0)
    centre = rng.uniform(reach + 1, size - reach - 1)
    points = _KEYPOINTS[kind] * side @ turn.T + centre
    pixels = np.stack(np.meshgrid(np.arange(size) + 0.5, np.arange(size) + 0.5), axis=-1) - centre
    outside = np.linalg.norm(pixels, axis=-1) - side / 2 if kind == 0 else _outside_polygon(pixels, outline)
    return _Shape(kind, points, outside)


# Corners (of a circle: its extreme points) and keypoints at size 1 around the middle, y pointing down.
_CROSS = np.array([[0.0, -0.5], [0.5, 0.0], [0.0, 0.5], [-0.5, 0.0]])
_OUTLINES: tuple[_Floats, ...] = (
    _CROSS,
    np.array([[-0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [-0.5, 0.5]]),
    np.array([[0.0, -0.5], [0.5, 0.5], [-0.5, 0.5]]),
)
_KEYPOINTS: tuple[_Floats, ...] = (
    _CROSS,
    _CROSS,
    np.array([[0.0, -0.5], [0.5, 0.5], [0.0, 0.5], [-0.5, 0.5]]),
)


def _outside_polygon(pixels: _Floats, corners: _Floats) -> _Floats:
    """Largest distance beyond a side of a convex polygon whose corners go clockwise on the screen."""
    sides = np.roll(corners, -1, axis=0) - corners
    normals = np.stack([sides[:, 1], -sides[:, 0]], axis=1) / np.linalg.norm(sides, axis=1, keepdims=True)
    distances: _Floats = (pixels @ normals.T - (corners * normals).sum(axis=1)).max(axis=-1)
    return distances


def _fits(shape: _Shape, others: list[_Shape]) -> bool:
    """Whether enough of every shape stays in sight with this one in front."""
    seen = _seen([*others, shape])
    return all(
        mask.sum() >= _VISIBLE * each.mask.sum() for mask, each in zip(seen, [*others, shape], strict=True)
    ) and not any((shape.mask & other.mask).sum() > (1 - _VISIBLE) * shape.mask.sum() for other in others)


def _seen(shapes: list[_Shape]) -> npt.NDArray[np.bool_]:
    """(n, S, S): each shape less those in front of it, which come later."""
    masks = np.stack([shape.mask for shape in shapes])
    for index in range(len(shapes) - 1):
        masks[index] &= ~masks[index + 1 :].any(axis=0)
    return masks


def _box(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.float32]:
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], np.float32)


def _keypoints(shape: _Shape, seen: npt.NDArray[np.bool_]) -> npt.NDArray[np.float32]:
    """(4, 3); a point is covered where a pixel of the shape beside it is not seen."""
    covered = shape.mask & ~seen
    last = len(seen) - 1
    visible = [
        not covered[
            max(0, int(y - 1.5)) : min(last, int(y + 0.5)) + 1, max(0, int(x - 1.5)) : min(last, int(x + 0.5)) + 1
        ].any()
        for x, y in shape.points
    ]
    return np.column_stack([shape.points, visible]).astype(np.float32)


# -- paint -------------------------------------------------------------------------------------------------------------


def _background(size: int, rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """(S, S, 3) float32 0..255: soft patches of colour, crossed by thin lines."""
    opencv = cv2("drawing shapes")
    base = rng.uniform(40, 215, 3)
    image = np.zeros((size, size, 3), np.float32)
    for cells, swing in ((3, 40.0), (8, 18.0), (24, 9.0)):
        patches = rng.uniform(-swing, swing, (cells, cells, 3)).astype(np.float32)
        image += opencv.resize(patches, (size, size), interpolation=opencv.INTER_CUBIC)
    image += base.astype(np.float32)
    for _ in range(int(rng.integers(0, 7))):
        ends = rng.integers(0, size, 4).tolist()
        colour = (base + rng.normal(0, 45, 3)).clip(0, 255).tolist()
        opencv.line(image, ends[:2], ends[2:], colour, int(rng.integers(1, 3)), opencv.LINE_AA)
    return image


def _paint(image: npt.NDArray[np.float32], shape: _Shape, rng: np.random.Generator) -> None:
    """Fill a shape, edges smoothed, in a colour that stands out from what is behind and around it."""
    behind = image[shape.outside < 3].mean(axis=0)
    colour: Any = rng.uniform(0, 255, 3)
    while np.linalg.norm(colour - behind) < _CONTRAST:
        colour = rng.uniform(0, 255, 3)
    cover = np.clip(0.5 - shape.outside, 0, 1)[:, :, None]
    shade = rng.normal(0, 12, 2) @ np.mgrid[-0.5 : 0.5 : len(image) * 1j, -0.5 : 0.5 : len(image) * 1j].reshape(2, -1)
    image += cover * (colour + shade.reshape(len(image), -1, 1) - image)


def _develop(image: npt.NDArray[np.float32], rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """A slight blur, and the noise of a camera."""
    blurred = cv2("drawing shapes").GaussianBlur(image, (0, 0), rng.uniform(0.3, 0.7))
    noisy = blurred + rng.normal(0, rng.uniform(1, 7), image.shape)
    return np.clip(np.rint(noisy), 0, 255).astype(np.uint8)
