"""Handwritten-looking digits, drawn on the spot: test images that need no download and carry no licence.

A digit is a set of pen strokes, each a chain of cubic Bézier curves written down below as an SVG path.
Every drawing takes one of several hands for its digit, moves the control points a little, slants, turns,
stretches and warps the strokes, and inks them with a pen whose pressure varies. The elastic warp follows
the idea of Simard, Steinkraus and Platt, "Best Practices for Convolutional Neural Networks Applied to Visual
Document Analysis", ICDAR 2003, applied here to the strokes instead of the pixels, so that nothing is resampled.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt

from edgecv_runtime.errors import InputError
from edgecv_runtime.images import cv2

DIGIT_SIZE = 32
"""Side of a drawn digit in pixels: the input of LeNet-5, a 28×28 MNIST image with a border of two."""

_WRITTEN = 20.0  # the longer side of the ink in pixels, as in MNIST: a 20×20 box inside 28×28
_OVERSAMPLING = 8  # strokes are inked on a finer raster, then averaged down to grey levels
_STEPS = 12  # straight pieces per Bézier curve
_FRACTION_BITS = 4  # cv2 draws at 1/16 pixel of the fine raster

# Absolute SVG path commands (M, L, C) in a box 60 wide and 100 tall, y pointing down. One string is one hand;
# a further M lifts the pen.
_HANDS: tuple[tuple[str, ...], ...] = (
    (  # 0
        "M 32 0 C 10 0 0 25 0 52 C 0 80 12 100 30 100 C 50 100 60 78 60 48 C 60 20 50 0 30 0",
        "M 42 6 C 16 -4 0 28 2 58 C 4 86 18 100 32 100 C 52 98 60 70 58 44 C 56 16 44 2 24 8",
        "M 20 4 C 6 14 0 40 4 66 C 8 92 26 104 40 96 C 58 86 62 48 54 24 C 48 4 32 -4 16 8",
    ),
    (  # 1
        "M 30 0 C 30 33 30 67 30 100",
        "M 33 0 C 32 30 28 66 26 100",
        "M 12 24 C 20 18 28 10 33 0 C 33 33 32 67 32 100",
        "M 10 24 L 32 0 L 32 100 M 8 100 C 24 98 40 99 56 100",
    ),
    (  # 2
        "M 4 24 C 8 6 20 0 32 0 C 50 0 58 14 56 28 C 53 50 24 72 2 100 C 20 98 40 98 60 99",
        "M 6 22 C 14 4 26 0 36 2 C 54 6 56 24 50 40 C 42 62 26 82 12 94 C 2 100 -4 88 6 82"
        " C 16 76 28 90 40 96 C 48 100 54 98 62 90",
        "M 4 10 C 20 0 40 -2 50 6 C 60 20 34 56 4 98 C 24 92 44 94 60 98",
        "M 2 30 C 2 8 20 -2 34 2 C 52 8 54 30 44 48 C 34 66 18 82 4 96 C 22 86 40 100 60 92",
    ),
    (  # 3
        "M 6 12 C 14 2 26 0 34 0 C 50 0 56 12 54 24 C 52 38 38 46 22 47 C 42 47 58 56 58 72"
        " C 58 90 42 100 28 100 C 16 100 6 94 2 84",
        "M 6 2 C 22 3 38 3 54 2 C 46 14 36 27 26 40 C 46 38 60 52 58 70 C 56 90 40 100 26 100 C 14 100 6 94 2 86",
        "M 4 16 C 10 2 30 -4 44 4 C 58 14 52 36 32 46 C 22 52 16 44 26 43 C 46 44 60 58 56 76"
        " C 52 94 36 102 22 100 C 12 98 4 92 0 84",
    ),
    (  # 4
        "M 12 2 C 8 20 5 36 2 54 C 20 57 40 56 60 53 M 46 0 C 44 33 42 67 40 100",
        "M 42 100 C 42 66 42 33 42 0 C 28 22 14 45 0 67 C 20 67 40 67 62 66",
        "M 6 2 C 0 30 0 50 14 53 C 32 56 48 34 54 2 C 52 36 46 70 42 100",
        "M 34 0 C 24 22 12 44 0 64 C 20 66 42 64 62 60 M 44 34 C 43 56 41 78 38 100",
    ),
    (  # 5
        "M 14 2 C 12 16 10 30 8 44 C 20 36 30 34 38 36 C 52 40 60 54 58 70 C 56 90 42 100 26 100"
        " C 14 100 6 94 0 86 M 13 2 C 28 3 42 2 58 0",
        "M 56 2 C 42 3 30 4 16 4 C 14 18 12 30 10 44 C 24 34 40 34 50 46 C 62 62 54 88 36 98 C 24 104 10 98 2 88",
        "M 58 2 C 44 6 32 6 20 4 C 16 16 12 26 10 36 C 26 40 48 46 54 64 C 58 84 40 100 24 100 C 14 100 4 96 0 90",
    ),
    (  # 6
        "M 48 0 C 24 10 4 40 4 70 C 4 90 16 100 30 100 C 46 100 56 88 56 74 C 56 60 44 52 32 52 C 18 52 8 62 4 74",
        "M 30 0 C 14 24 2 50 4 74 C 6 92 18 100 30 100 C 44 100 54 90 54 76 C 54 62 42 54 30 56 C 18 58 10 68 8 82",
        "M 54 6 C 40 -4 22 10 12 34 C 2 58 0 82 14 94 C 28 104 50 98 54 80 C 58 62 40 52 26 58 C 14 62 8 72 6 80",
    ),
    (  # 7
        "M 2 4 C 20 3 40 3 58 2 C 44 34 32 64 24 100",
        "M 2 4 C 20 5 40 4 58 2 C 46 34 34 66 26 100 M 16 52 C 28 50 40 50 52 48",
        "M 4 22 C 4 16 4 10 5 4 C 24 9 42 6 58 0 C 54 28 34 56 28 100",
        "M 0 8 C 14 -2 44 4 58 6 C 50 30 40 54 36 100",
    ),
    (  # 8
        "M 50 14 C 42 0 12 -4 8 18 C 4 42 56 46 56 74 C 56 94 42 100 30 100 C 14 100 2 90 4 74"
        " C 8 46 54 42 52 18 C 52 12 50 8 45 5",
        "M 30 0 C 14 0 8 12 8 24 C 8 38 18 46 30 46 C 42 46 52 36 52 22 C 52 8 44 0 28 0"
        " M 30 46 C 12 46 2 58 2 74 C 2 90 14 100 30 100 C 46 100 58 90 58 72 C 58 56 46 46 29 46",
        "M 30 46 C 12 38 6 22 12 10 C 20 -4 46 -4 50 12 C 54 30 20 46 8 64 C -2 82 10 100 28 100"
        " C 48 100 60 84 54 68 C 50 56 40 52 28 45",
    ),
    (  # 9
        "M 54 18 C 48 4 36 0 26 0 C 10 2 2 16 4 32 C 6 46 18 52 30 48 C 44 44 54 30 55 12 C 54 40 52 70 46 100",
        "M 52 6 C 40 -4 10 -2 4 24 C 0 46 20 56 36 46 C 48 38 52 22 52 6 C 51 37 50 68 48 100",
        "M 52 24 C 50 6 38 0 28 0 C 12 0 4 14 4 28 C 4 44 16 52 28 50 C 42 48 52 36 53 16"
        " C 56 50 54 84 38 96 C 28 104 14 98 8 90",
    ),
)


def draw_digits(count: int, seed: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Draw digits that look handwritten.

    Every run of ten images holds each digit once, in random order. A longer call begins with the images of
    a shorter one with the same seed.

    Parameters
    ----------
    count : int
        Number of images, at least 1.
    seed : int
        Any non-negative number; the same seed gives the same images.

    Returns
    -------
    images : (count, 32, 32) uint8, grey, 0..255
        White ink on black, as in MNIST.
    labels : (count,) int64, 0..9

    Raises
    ------
    InputError
        `count` is below 1 or `seed` is negative.
    MissingPackageError
        OpenCV is not installed.

    Examples
    --------
    >>> images, labels = draw_digits(10, seed=0)
    >>> images.shape, sorted(labels.tolist())
    ((10, 32, 32), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
    """
    if count < 1:
        raise InputError(f"count must be at least 1; received {count}")
    if seed < 0:
        raise InputError(f"seed must not be negative; received {seed}")
    # Two streams: the labels do not depend on how many numbers the pen drew, so prefixes stay equal.
    order, pen = np.random.default_rng(seed).spawn(2)
    labels = np.concatenate([order.permutation(10) for _ in range(-(-count // 10))])[:count].astype(np.int64)
    images = np.stack([_draw(int(label), pen) for label in labels])
    return images, labels


def _draw(digit: int, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """One (32, 32) uint8 image."""
    hands = _HANDS[digit]
    strokes = _place(_move_pen(_strokes(hands[rng.integers(len(hands))]), rng), rng)
    ink = _ink(strokes, rng)
    return _develop(ink, rng)


@cache
def _strokes(path: str) -> tuple[npt.NDArray[np.float64], ...]:
    """Strokes of an SVG path, each (1 + 3 K, 2) control points of K cubic Béziers; lines become curves."""
    strokes: list[list[tuple[float, float]]] = []
    numbers: list[float] = []
    command = ""
    for token in path.split():
        if token.isalpha():
            command = token
            continue
        numbers.append(float(token))
        if len(numbers) < (6 if command == "C" else 2):
            continue
        points = list(zip(numbers[::2], numbers[1::2], strict=True))
        numbers.clear()
        if command == "M":
            strokes.append(points)
        elif command == "L":
            (x0, y0), (x1, y1) = strokes[-1][-1], points[0]
            strokes[-1] += [(x0 + t * (x1 - x0), y0 + t * (y1 - y0)) for t in (1 / 3, 2 / 3, 1.0)]
        else:
            strokes[-1] += points
    return tuple(np.array(stroke) for stroke in strokes)


def _move_pen(strokes: tuple[npt.NDArray[np.float64], ...], rng: np.random.Generator) -> list[npt.NDArray[np.float64]]:
    """Points along each stroke, (P, 2), after the control points moved a little."""
    t = np.linspace(0.0, 1.0, _STEPS, endpoint=False)[:, None]
    basis = ((1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3)
    unsteadiness = rng.uniform(0.5, 3.4)
    moved = []
    for stroke in strokes:
        control = stroke + rng.normal(0.0, unsteadiness, stroke.shape)
        # A joint moves together with its two handles, so that the line stays as smooth there as it was.
        shift = control[::3] - stroke[::3]
        control[1::3] = stroke[1::3] + shift[:-1] + 0.5 * (control[1::3] - stroke[1::3])
        control[2::3] = stroke[2::3] + shift[1:] + 0.5 * (control[2::3] - stroke[2::3])
        pieces = [
            sum(weight * point for weight, point in zip(basis, control[i : i + 4], strict=True))
            for i in range(0, len(control) - 1, 3)
        ]
        moved.append(np.concatenate([*pieces, control[-1:]]))
    return moved


def _place(strokes: list[npt.NDArray[np.float64]], rng: np.random.Generator) -> list[npt.NDArray[np.float64]]:
    """Warp, stretch, slant, turn, scale and centre: from the 60×100 box to pixels of the image."""
    ends = np.cumsum([len(stroke) for stroke in strokes])[:-1]
    points = (np.concatenate(strokes) - (30.0, 50.0)) / 100.0

    # Elastic warp: one slow wave per axis and direction, at most 4 % of the height each.
    phase = rng.uniform(0.0, 2 * np.pi, (2, 2))
    slowness = rng.uniform(3.0, 7.0, (2, 2))
    swing = rng.uniform(0.0, 0.04, (2, 2))
    wave = swing * np.sin(points[:, :, None] * slowness + phase)  # (P, source axis, moved axis)
    points = points + wave.sum(axis=1)

    width = rng.uniform(0.75, 1.35)
    slant = np.clip(rng.normal(0.12, 0.16), -0.25, 0.5)
    angle = np.deg2rad(np.clip(rng.normal(0.0, 6.0), -14.0, 14.0))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    points = points @ (turn @ np.array([[width, -slant], [0.0, 1.0]])).T

    low, high = points.min(axis=0), points.max(axis=0)
    points *= _WRITTEN * rng.uniform(0.82, 1.08) / (high - low).max()
    # MNIST centres the mass of the ink, not its box; the points are spread evenly enough to stand for it.
    points += DIGIT_SIZE / 2 - points.mean(axis=0) + rng.uniform(-1.2, 1.2, 2)
    return np.split(points, ends)


def _ink(strokes: list[npt.NDArray[np.float64]], rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """Draw the strokes with a round pen: (32, 32) uint8."""
    opencv = cv2("drawing digits")
    fine = np.zeros((DIGIT_SIZE * _OVERSAMPLING,) * 2, np.uint8)
    pen = np.clip(rng.normal(2.4, 0.6), 1.3, 3.8)
    pressure = rng.uniform(0.0, 0.25)
    for stroke in strokes:
        along = np.linspace(0.0, 2 * np.pi * rng.uniform(0.5, 1.5), len(stroke)) + rng.uniform(0.0, 2 * np.pi)
        thickness = np.rint(pen * (1 + pressure * np.sin(along)) * _OVERSAMPLING).astype(int)
        # Pixel centres lie at half coordinates; cv2 puts them at whole ones.
        at = np.rint((stroke * _OVERSAMPLING - 0.5) * (1 << _FRACTION_BITS)).astype(int)
        for start, end, weight in zip(at[:-1].tolist(), at[1:].tolist(), thickness.tolist(), strict=False):
            opencv.line(fine, start, end, 255, weight, opencv.LINE_8, _FRACTION_BITS)
    return opencv.resize(fine, (DIGIT_SIZE, DIGIT_SIZE), interpolation=opencv.INTER_AREA)


def _develop(ink: npt.NDArray[np.uint8], rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """Blur, contrast and noise of a camera or scanner."""
    opencv = cv2("drawing digits")
    blurred = opencv.GaussianBlur(ink, (0, 0), rng.uniform(0.3, 0.7))
    level = blurred.astype(np.float32) * rng.uniform(0.8, 1.25)
    level += rng.normal(0.0, 1.0, ink.shape).astype(np.float32) * rng.uniform(0.0, 8.0)
    return np.clip(np.rint(level), 0, 255).astype(np.uint8)
