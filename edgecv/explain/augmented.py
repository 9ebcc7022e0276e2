"""Augmented Grad-CAM: a heat map finer than the network's last layer, out of many pictures moved by known amounts.

Morbidelli, Carrera, Rossi, Fragneto, Boracchi 2020, "Augmented Grad-CAM: Heat-maps Super Resolution through
Augmentation" (ICASSP). Every Grad-CAM g_l of a rotated and shifted picture is a coarse view of one fine map h:
g_l ≈ D A_l h, with A_l the movement and D the average over each coarse cell. The map is

    argmin_h  ½ Σ_l ‖D A_l h − g_l‖²  +  λ TV(h)  +  μ/2 ‖h‖²                                    (eq. 4)
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from edgecv.explain.activation_maps import grad_cams
from edgecv.explain.heatmap import Heatmap
from edgecv.explain.network import Network
from edgecv.receptive_field import receptive_fields
from edgecv_runtime.errors import InputError
from edgecv_runtime.images import cv2

if TYPE_CHECKING:
    import keras

Array = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Movement:
    """A rotation about the middle, then a shift.

    Attributes
    ----------
    angle : float
        Degrees, counter-clockwise as one sees it.
    shift : (y, x)
        Down and to the right, as a share of the side.
    """

    angle: float = 0.0
    shift: tuple[float, float] = (0.0, 0.0)

    def matrix(self, height: int, width: int) -> npt.NDArray[np.float64]:
        """(2, 3): source pixel (x, y) to moved pixel, pixel 0 having its middle at 0 (as OpenCV's warpAffine)."""
        cosine, sine = math.cos(math.radians(self.angle)), math.sin(math.radians(self.angle))
        turn = np.array([[cosine, sine], [-sine, cosine]])  # y points down
        middle = np.array([(width - 1) / 2, (height - 1) / 2])
        target = middle + np.array([self.shift[1] * width, self.shift[0] * height])
        return np.concatenate([turn, (target - turn @ middle)[:, None]], axis=1)


def movements(count: int, angle: float = 30.0, shift: float = 0.15, seed: int = 0) -> list[Movement]:
    """`count` movements: none at all, and then random ones up to `angle` degrees and `shift` of the side.

    Raises
    ------
    InputError
        Fewer than one.
    """
    if count < 1:
        raise InputError(f"the number of movements must be at least 1; received {count}")
    draw = np.random.default_rng(seed).uniform(-1, 1, (count - 1, 3))
    return [Movement(), *(Movement(float(a * angle), (float(y * shift), float(x * shift))) for a, y, x in draw)]


def move(image: Array, movement: Movement, border: float = 0.0) -> Array:
    """A (H, W, C) float picture moved; `border` where nothing of it is left."""
    height, width = image.shape[:2]
    opencv = cv2("moving a picture")
    moved: Array = opencv.warpAffine(
        image, movement.matrix(height, width), (width, height), flags=opencv.INTER_LINEAR, borderValue=(border,) * 4
    )
    return moved.reshape(image.shape)


def coarse_view(
    movement: Movement, coarse: tuple[int, int], factor: int, offset: tuple[float, float] = (0.0, 0.0)
) -> Array:
    """The matrix D A_l: (h·w, factor·h · factor·w), from a fine map to what a coarse one sees after the movement.

    Each coarse cell is the mean of factor² fine positions, each interpolated bilinearly in the map before the
    movement; outside of it the map is 0.

    Parameters
    ----------
    movement : Movement
    coarse : (h, w)
    factor : int
    offset : (y, x)
        How far the cells lie below and to the right of equal shares of the picture, in cells: `cell_offset`.
    """
    height, width = coarse[0] * factor, coarse[1] * factor
    rows, columns = (axis.ravel().astype(np.float64) for axis in np.mgrid[:height, :width])
    forward = movement.matrix(height, width)
    turn, target = forward[:, :2], forward[:, 2]
    x, y = np.linalg.inv(turn) @ (np.stack([columns + offset[1] * factor, rows + offset[0] * factor]) - target[:, None])
    cell = (rows // factor * coarse[1] + columns // factor).astype(np.int64)
    view = np.zeros((coarse[0] * coarse[1], height * width), np.float32)
    left, top = np.floor(x), np.floor(y)
    for down, right in ((0, 0), (0, 1), (1, 0), (1, 1)):
        row, column = top + down, left + right
        weight = (1 - np.abs(y - row)) * (1 - np.abs(x - column)) / factor**2
        inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
        place = (row * width + column).astype(np.int64)
        np.add.at(view, (cell[inside], place[inside]), weight[inside].astype(np.float32))
    return view


def cell_offset(model: keras.Model, layer: str, coarse: tuple[int, int]) -> tuple[float, float]:
    """How far the receptive fields of a map lie below and to the right of equal shares of the picture, in cells.

    A network that pads strided layers on one side only (MobileNet does, on the right and below) has its fields moved by
    nearly half a cell. Where pictures are turned, one must know about which cell. (0, 0) where no field is known.
    """
    field = receptive_fields(model).get(layer)
    if field is None:
        return (0.0, 0.0)
    shares = [length / cells for length, cells in zip(model.input_shape[1:3], coarse, strict=True)]
    down, right = ((center - (share - 1) / 2) / share for center, share in zip(field.center, shares, strict=True))
    return down, right


def super_resolve(
    views: npt.ArrayLike, maps: npt.ArrayLike, shape: tuple[int, int], *, tv: float, ridge: float, steps: int = 300
) -> Array:
    """Equation 4 for known views D A_l, by the primal-dual method of Condat and Vũ (2013).

    Parameters
    ----------
    views : (n, height · width)
        All rows of all D A_l.
    maps : (n,)
        The values g_l they should give.
    shape : (height, width)
        Of the result.
    tv, ridge : float
        λ (isotropic total variation, forward differences) and μ.
    steps : int

    Returns
    -------
    (height, width) float32
    """
    matrix = np.asarray(views, np.float32)
    values = np.asarray(maps, np.float32).ravel()
    if matrix.shape != (len(values), shape[0] * shape[1]):
        raise InputError(f"views must be ({len(values)}, {shape[0] * shape[1]}); received {matrix.shape}")
    if tv < 0 or ridge < 0:
        raise InputError(f"λ and μ must not be negative; received {tv} and {ridge}")
    gram, seen = matrix.T @ matrix, matrix.T @ values
    # Half of the step sizes' budget for the smooth part, half for the differences, whose norm is at most √8.
    lipschitz = _largest_eigenvalue(gram) + ridge
    sigma = lipschitz / 16 if lipschitz > 0 else 1.0
    tau = 1 / (lipschitz / 2 + 8 * sigma)
    fine = np.zeros(shape, np.float32)
    dual = np.zeros((2, *shape), np.float32)
    for _ in range(steps):
        slope = (gram @ fine.ravel() - seen).reshape(shape) + ridge * fine
        moved = fine - tau * (slope + _transposed_differences(dual))
        dual = dual + sigma * _differences(2 * moved - fine)
        dual = dual / np.maximum(1, np.sqrt((dual**2).sum(axis=0)) / max(tv, 1e-12))
        fine = moved
    return fine.astype(np.float32)


def _largest_eigenvalue(gram: Array) -> float:
    vector = np.ones(len(gram), np.float32)
    for _ in range(30):
        vector = gram @ (vector / max(float(np.linalg.norm(vector)), 1e-30))
    return 1.05 * float(np.linalg.norm(vector))  # a margin: the method approaches from below


def _differences(fine: Array) -> Array:
    found = np.zeros((2, *fine.shape), np.float32)
    found[0, :-1] = fine[1:] - fine[:-1]
    found[1, :, :-1] = fine[:, 1:] - fine[:, :-1]
    return found


def _transposed_differences(dual: Array) -> Array:
    result = np.zeros(dual.shape[1:], np.float32)
    result[1:] += dual[0, :-1]
    result[:-1] -= dual[0, :-1]
    result[:, 1:] += dual[1, :, :-1]
    result[:, :-1] -= dual[1, :, :-1]
    return result


def augmented_grad_cam(
    model: keras.Model,
    inputs: Any,
    class_index: int | None = None,
    layer: str | None = None,
    *,
    count: int = 32,
    factor: int = 4,
    angle: float = 30.0,
    shift: float = 0.15,
    tv: float = 0.015,
    ridge: float = 0.01,
    border: float = 0.0,
    seed: int = 0,
) -> Heatmap:
    """A Grad-CAM of `factor` times the resolution of the feature map, along each side.

    Parameters
    ----------
    model, inputs, class_index, layer
        As in `edgecv.explain.activation_maps.cam`.
    count : int
        Pictures that are moved; the network runs once on each.
    factor : int
        At least 2.
    angle, shift : float
        Largest rotation, degrees, and shift, as a share of the side.
    tv, ridge : float
        λ and μ for one picture at the coarse resolution, of maps whose largest value is 1.
    border : float
        Value of the input where a moved picture leaves nothing; 0 is mid-grey for a normalised input.
    seed : int

    Returns
    -------
    Heatmap

    Raises
    ------
    InputError
        A factor below 2, or an input, layer or class that does not fit the model.
    UnsupportedError
        Keras's back end has no gradients.
    """
    if factor < 2:
        raise InputError(f"factor must be at least 2; received {factor}")
    network = Network(model, layer)
    image = network.check(np.asarray(inputs, np.float32)[None])[0]
    moves = movements(count, angle, shift, seed)
    if class_index is None:
        class_index = int(network.scores(image[None])[0].argmax())
    batch = np.stack([move(image, movement, border) for movement in moves])
    maps, scores = grad_cams(network, batch, network.check_class(class_index))
    peak = float(maps.max())
    coarse = (maps.shape[1], maps.shape[2])
    offset = cell_offset(model, network.layer, coarse)
    views = np.concatenate([coarse_view(movement, coarse, factor, offset) for movement in moves])
    fine = super_resolve(
        views,
        maps.ravel() / (peak or 1.0),
        (coarse[0] * factor, coarse[1] * factor),
        # A finer map has `factor` times the edge positions and factor² times the positions of a coarse one.
        tv=tv * count / factor,
        ridge=ridge * count / factor**2,
    )
    return Heatmap(fine * peak, class_index, float(scores[0]), "augmented-grad-cam")
