"""From a face in a picture to the crop that an embedder was trained on.

Embedders in the manner of ArcFace see every face the same way: turned, scaled and shifted so that eyes, nose and mouth
lie at fixed places. Which landmarks a detector gives, and which places they belong to, is written in `SCHEMES`;
for detectors without landmarks a `BoxCrop` cuts a square around the box, upright as it is.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecv_runtime.errors import InputError
from edgecv_runtime.images import Image, as_rgb, cv2

Matrix = npt.NDArray[np.float64]
Points = npt.NDArray[np.float64]

REFERENCE_SIZE = 112  # pixels of the square crop that `REFERENCE_POINTS` are given for
CROP_PER_FACE = 1.3  # side of an aligned crop per side (geometric mean) of the box that detectors draw around a face

# Left eye, right eye, nose tip, left and right corner of the mouth, x and y in pixels; left is left in the picture.
# The template of ArcFace (Deng et al. 2019) for 112×112: that of SphereFace for 96×112, moved 8 pixels to the right.
REFERENCE_POINTS: Points = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
)
REFERENCE_POINTS.setflags(write=False)


@dataclass(frozen=True)
class Scheme:
    """The landmarks of one kind of detector.

    Attributes
    ----------
    name : str
    count : int
        Landmarks that the detector gives: left eye, right eye and nose first.
    template : tuple of (x, y)
        Where the first of them belong in a 112×112 crop. Landmarks after those are not used.
    mouth : tuple of int
        The landmarks whose middle is the middle of the mouth.
    """

    name: str
    count: int
    template: tuple[tuple[float, float], ...]
    mouth: tuple[int, ...]

    def places(self, size: tuple[int, int]) -> Points:
        """(len(template), 2): where the landmarks used belong in a crop of (height, width)."""
        return _scaled(np.array(self.template), size)


# The order that MTCNN, RetinaFace, SCRFD and YuNet share: eyes, nose, corners of the mouth, the picture's left first.
FIVE_POINT = Scheme("five-point", 5, tuple((x, y) for x, y in REFERENCE_POINTS.tolist()), (3, 4))

# BlazeFace: eyes, nose, middle of the mouth, ears; the ears are too unsteady to align by. Its places are the means over
# 320 faces aligned to the template above, made symmetric: it marks eyes and nose up to two pixels lower. With them, the
# same faces turned and scaled at random give TAR 0.976 (back model) and 0.971 (short range) at FAR 0.001, with the
# template's own eyes, nose and middle of the mouth 0.975 and 0.954.
BLAZEFACE = Scheme("blazeface", 6, ((38.2, 53.0), (73.5, 53.0), (55.9, 74.0), (55.9, 90.9)), (3,))

# Decoder -> the landmarks of its detectors. Detectors of another decoder that give five have the usual five.
SCHEMES: Mapping[str, Scheme] = {"blazeface": BLAZEFACE}


@dataclass(frozen=True)
class BoxCrop:
    """A square around a box, for detectors without landmarks: defined, but blind to how the head is turned.

    The price, on 320 faces turned up to 20° either way: TAR 0.71 to 0.76 at FAR 0.001, where landmarks give 0.97.

    Attributes
    ----------
    scale : float
        Side of the square per geometric mean of the box's sides.
    rise : float
        How far the square's middle lies above the box's, in heights of the box.
    """

    scale: float
    rise: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.scale) and 0 < self.scale <= 10):
            raise InputError(f"scale must be in (0, 10]; received {self.scale}")
        if not (math.isfinite(self.rise) and -2 <= self.rise <= 2):
            raise InputError(f"rise must be in [-2, 2]; received {self.rise}")

    def transform(self, box: npt.ArrayLike, size: tuple[int, int]) -> Matrix:
        """(2, 3) float64: from the picture to a crop of (height, width).

        Raises
        ------
        InputError
            The box has no area.
        """
        left, top, right, bottom = np.asarray(box, np.float64).tolist()
        if not (right > left and bottom > top):
            raise InputError(f"a face's box must have an area; received {[left, top, right, bottom]}")
        side = self.scale * math.sqrt((right - left) * (bottom - top))
        scale = min(size) / side
        middle = (left + right) / 2, (top + bottom) / 2 - self.rise * (bottom - top)
        matrix: Matrix = np.array([
            [scale, 0, size[1] / 2 - scale * middle[0]],
            [0, scale, size[0] / 2 - scale * middle[1]],
        ])  # fmt: skip
        return matrix


# Decoder -> the crop that lies, in the mean over real faces, where alignment by landmarks puts it: what a detector
# calls a face differs from one to the next (UltraFace's box has the forehead, BlazeFace's begins at the brows).
BOX_CROPS: Mapping[str, BoxCrop] = {
    "ultraface": BoxCrop(CROP_PER_FACE, 0.04),
    "blazeface": BoxCrop(CROP_PER_FACE, 0.19),
}


def reference_points(size: tuple[int, int]) -> Points:
    """(5, 2): the template in a crop of (height, width), scaled by the height and centred.

    For 112×96 this is SphereFace's own, for 112×112 ArcFace's.
    """
    return _scaled(REFERENCE_POINTS, size)


def _scaled(template: Points, size: tuple[int, int]) -> Points:
    scale = size[0] / REFERENCE_SIZE
    places: Points = template * scale + np.array([(size[1] - REFERENCE_SIZE * scale) / 2, 0.0])
    return places


def similarity_transform(source: npt.ArrayLike, target: npt.ArrayLike) -> Matrix:
    """Rotation, scale and shift that bring points nearest to others, in the least squares.

    Umeyama (1991), eq. 40 to 42, for two dimensions. There the rotation and the scale together are one complex number
    a, and min Σ |a p + b - q|² over points p and q about their means has the closed form a = Σ p̄ q / Σ |p|²; as a turn
    and a scale are all that a can be, it never mirrors, as Umeyama's S makes sure of.

    Parameters
    ----------
    source, target : (N, 2) x, y
        At least two points.

    Returns
    -------
    (2, 3) float64
        ``target ≈ matrix[:, :2] @ source + matrix[:, 2]``

    Raises
    ------
    InputError
        Other shapes, values that are not finite, or points that all lie in one place.
    """
    p, q = np.asarray(source, np.float64), np.asarray(target, np.float64)
    if p.shape != q.shape or p.ndim != 2 or p.shape[1] != 2 or len(p) < 2:
        raise InputError(f"source and target must be (N, 2), N at least 2; received shapes {p.shape} and {q.shape}")
    if not (np.isfinite(p).all() and np.isfinite(q).all()):
        raise InputError("landmarks must be finite numbers; received NaN or infinity")
    mean_p, mean_q = p.mean(axis=0), q.mean(axis=0)
    p, q = p - mean_p, q - mean_q
    spread = float((p * p).sum())
    if spread < 1e-12:
        raise InputError("landmarks must not all lie in one place")
    a = float((p * q).sum()) / spread
    b = float((p[:, 0] * q[:, 1] - p[:, 1] * q[:, 0]).sum()) / spread
    turn = np.array([[a, -b], [b, a]])
    return np.concatenate([turn, (mean_q - turn @ mean_p)[:, None]], axis=1)


def apply(matrix: Matrix, points: npt.ArrayLike) -> Points:
    """(N, 2) points moved by a (2, 3) matrix."""
    moved: Points = np.asarray(points, np.float64) @ matrix[:, :2].T + matrix[:, 2]
    return moved


def warp(image: Any, matrix: Matrix, size: tuple[int, int] = (REFERENCE_SIZE, REFERENCE_SIZE)) -> Image:
    """The crop that a similarity transform takes out of a picture; black where the picture ends.

    Parameters
    ----------
    image : (H, W, 3) uint8 RGB
    matrix : (2, 3)
        From the picture to the crop, where a pixel covers [i, i + 1).
    size : (height, width) of the crop

    Returns
    -------
    (height, width, 3) uint8 RGB
    """
    opencv = cv2("aligning a face")
    picture, matrix = as_rgb(image), np.asarray(matrix, np.float64)
    shrink = int(1 / max(math.sqrt(abs(float(np.linalg.det(matrix[:, :2])))), 1e-6))
    if shrink >= 2:
        # Bilinear sampling would leave out most of a large face's pixels, and take its noise for sharpness.
        picture, matrix = _shrunk(opencv, picture, matrix, size, shrink)
    # OpenCV counts from the middle of the first pixel, we from its edge.
    index = matrix.copy()
    index[:, 2] += 0.5 * matrix[:, :2].sum(axis=1) - 0.5
    crop: Image = opencv.warpAffine(picture, index, (size[1], size[0]), flags=opencv.INTER_LINEAR)
    return crop


def _shrunk(opencv: Any, picture: Image, matrix: Matrix, size: tuple[int, int], by: int) -> tuple[Image, Matrix]:
    """The part of a picture that a crop shows, a whole number of times smaller, and the matrix from there."""
    height, width = picture.shape[:2]
    corners = np.array([[0, 0], [size[1], 0], [0, size[0]], [size[1], size[0]]], np.float64)
    seen = (corners - matrix[:, 2]) @ np.linalg.inv(matrix[:, :2]).T
    left, top = (max(0, math.floor(value) - by) for value in seen.min(axis=0).tolist())
    right, bottom = (math.ceil(value) + by for value in seen.max(axis=0).tolist())
    right, bottom = min(width, right), min(height, bottom)
    columns, rows = (right - left) // by, (bottom - top) // by
    if columns < 1 or rows < 1:
        return picture, matrix
    part = picture[top : top + rows * by, left : left + columns * by]
    smaller: Image = opencv.resize(part, (columns, rows), interpolation=opencv.INTER_AREA)
    moved = matrix.copy()
    moved[:, :2] *= by
    moved[:, 2] += matrix[:, :2] @ np.array([left, top], np.float64)
    return smaller, moved
