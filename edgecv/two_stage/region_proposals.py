"""Regions of a picture that may hold an object, from its colours alone (Uijlings et al. 2013, selective search).

OpenCV's implementation serves where it is installed (it comes with opencv-contrib-python); else ours: a segmentation
by a spanning forest (Felzenszwalb & Huttenlocher 2004) whose regions are then joined, the most alike first, until one
is left. The box of every region on the way is a proposal.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgecv_runtime.errors import InputError
from edgecv_runtime.images import Image, as_rgb, cv2

Floats = npt.NDArray[np.float32]

_WORKING_SIDE = 160  # pixels: larger pictures are reduced first, boxes enlarged again
_SCALES = (100.0, 300.0)  # the constant k of the segmentation: the larger, the larger its regions
_SMALLEST = 20  # pixels of a region
_BINS = 16  # of a colour's histogram
_SMALLEST_SIDE = 4.0  # of a proposal, pixels


def propose_regions(image: npt.ArrayLike, count: int | None = None, method: str = "auto") -> Floats:
    """Boxes that may hold an object, the most promising kinds of region first.

    Parameters
    ----------
    image : (H, W, 3) uint8 RGB
    count : int, optional
        Exactly so many rows: the first ones, or rows of zeros at the end. Default: all that were found.
    method : {"auto", "opencv", "own"}
        ``"opencv"`` needs the contributed modules; ``"auto"`` takes them where they are.

    Returns
    -------
    (P, 4) float32 xyxy, pixels

    Raises
    ------
    InputError
        No such method, a count below 1, no picture, or OpenCV has no selective search.
    """
    if method not in ("auto", "opencv", "own"):
        raise InputError(f"method must be auto, opencv or own; received {method!r}")
    if count is not None and count < 1:
        raise InputError(f"count must be at least 1; received {count}")
    picture = as_rgb(image)
    contributed = getattr(cv2("region proposals"), "ximgproc", None)
    if method == "opencv" and contributed is None:
        raise InputError("OpenCV has no selective search here: install opencv-contrib-python, or take method='own'")
    boxes = _own_search(picture) if method == "own" or contributed is None else _opencv_search(picture)
    if count is None:
        return boxes
    rows = np.zeros((count, 4), np.float32)
    rows[: len(boxes)] = boxes[:count]
    return rows


def _opencv_search(image: Image) -> Floats:
    search = cv2("region proposals").ximgproc.segmentation.createSelectiveSearchSegmentation()
    search.setBaseImage(np.ascontiguousarray(image[:, :, ::-1]))
    search.switchToSelectiveSearchFast()
    found = np.asarray(search.process(), np.float32).reshape(-1, 4)
    return np.concatenate([found[:, :2], found[:, :2] + found[:, 2:]], axis=1)


def _own_search(image: Image) -> Floats:
    opencv = cv2("region proposals")
    height, width = image.shape[:2]
    scale = max(1.0, max(height, width) / _WORKING_SIDE)
    small = image
    if scale > 1:
        size = (max(1, round(width / scale)), max(1, round(height / scale)))
        small = opencv.resize(image, size, interpolation=opencv.INTER_AREA)
    smooth = opencv.GaussianBlur(small, (0, 0), 0.8).astype(np.float32)
    rounds = [_grouped(_regions(smooth, segment(smooth, k, _SMALLEST))) for k in _SCALES]
    # The last joined of every round first: whole objects come late, parts of them early.
    longest = max(len(boxes) for boxes in rounds)
    ordered = [boxes[-1 - place] for place in range(longest) for boxes in rounds if place < len(boxes)]
    unit = np.array([width / small.shape[1], height / small.shape[0]] * 2, np.float32)
    boxes = np.array(ordered, np.float32).reshape(-1, 4) * unit
    _, first = np.unique(boxes, axis=0, return_index=True)
    boxes = boxes[np.sort(first)]
    kept: Floats = boxes[((boxes[:, 2:] - boxes[:, :2]) >= _SMALLEST_SIDE).all(axis=1)]
    return kept


# -- segmentation ------------------------------------------------------------------------------------------------------


def segment(image: npt.NDArray[np.float32], k: float, smallest: int) -> npt.NDArray[np.int64]:
    """Regions of like colour (Felzenszwalb & Huttenlocher 2004, section 3).

    Neighbouring pixels are joined in order of the difference of their colours, as long as it is no larger than the
    largest within either region plus k over its size; regions that stay below `smallest` are joined to a neighbour.

    Parameters
    ----------
    image : (H, W, C) float32, 0..255
    k : float
    smallest : int
        Pixels.

    Returns
    -------
    (H, W) int64
        Region numbers, from 0 on without gaps.
    """
    height, width = image.shape[:2]
    number = np.arange(height * width).reshape(height, width)
    steps = ((0, 1), (1, 0), (1, 1), (1, -1))
    starts, ends, weights = [], [], []
    for down, across in steps:
        here = (slice(0, height - down), slice(max(0, -across), width - max(0, across)))
        there = (slice(down, height), slice(max(0, across), width + min(0, across)))
        starts.append(number[here].ravel())
        ends.append(number[there].ravel())
        weights.append(np.sqrt(((image[here] - image[there]) ** 2).sum(axis=-1)).ravel())
    a, b, w = np.concatenate(starts), np.concatenate(ends), np.concatenate(weights)
    order = np.argsort(w, kind="stable")
    forest = _Forest(height * width)
    edges = list(zip(a[order].tolist(), b[order].tolist(), w[order].tolist(), strict=True))
    for first, second, weight in edges:
        one, two = forest.root(first), forest.root(second)
        if one != two and weight <= min(
            forest.inside[one] + k / forest.size[one], forest.inside[two] + k / forest.size[two]
        ):
            forest.join(one, two, weight)
    for first, second, weight in edges:
        one, two = forest.root(first), forest.root(second)
        if one != two and min(forest.size[one], forest.size[two]) < smallest:
            forest.join(one, two, weight)
    roots = np.array([forest.root(pixel) for pixel in range(height * width)])
    labels: npt.NDArray[np.int64] = np.unique(roots, return_inverse=True)[1].reshape(height, width).astype(np.int64)
    return labels


class _Forest:
    """Disjoint sets, each with its size and the largest weight within."""

    def __init__(self, count: int) -> None:
        self.parent = list(range(count))
        self.size = [1] * count
        self.inside = [0.0] * count

    def root(self, item: int) -> int:
        parent = self.parent
        while parent[item] != item:
            parent[item] = parent[parent[item]]
            item = parent[item]
        return item

    def join(self, one: int, two: int, weight: float) -> None:
        if self.size[one] < self.size[two]:
            one, two = two, one
        self.parent[two] = one
        self.size[one] += self.size[two]
        self.inside[one] = weight  # edges come in order: this is the largest so far


# -- grouping ----------------------------------------------------------------------------------------------------------


@dataclass(eq=False)
class _Region:
    size: int
    box: tuple[int, int, int, int]
    colours: npt.NDArray[np.float64]  # histogram of all channels, each summing to 1
    neighbours: set[int]


def _regions(image: npt.NDArray[np.float32], labels: npt.NDArray[np.int64]) -> dict[int, _Region]:
    count = int(labels.max()) + 1
    flat, channels = labels.ravel(), image.shape[2]
    sizes = np.bincount(flat, minlength=count)
    histograms = []
    for channel in range(channels):
        bins = (image[:, :, channel].ravel() * (_BINS / 256)).astype(np.int64).clip(0, _BINS - 1)
        counts = np.bincount(flat * _BINS + bins, minlength=count * _BINS).reshape(count, _BINS)
        histograms.append(counts / sizes[:, None])
    colours = np.concatenate(histograms, axis=1)
    rows, columns = np.indices(labels.shape)
    low, high = (np.full((count, 2), fill) for fill in (10**9, -1))
    for axis, values in enumerate((columns.ravel(), rows.ravel())):
        np.minimum.at(low[:, axis], flat, values)
        np.maximum.at(high[:, axis], flat, values)
    pairs = np.concatenate(
        [
            np.stack([labels[:, :-1].ravel(), labels[:, 1:].ravel()], axis=1),
            np.stack([labels[:-1].ravel(), labels[1:].ravel()], axis=1),
        ]
    )
    neighbours: list[set[int]] = [set() for _ in range(count)]
    for one, two in np.unique(pairs[pairs[:, 0] != pairs[:, 1]], axis=0).tolist():
        neighbours[one].add(two)
        neighbours[two].add(one)
    return {
        index: _Region(
            int(sizes[index]),
            (int(low[index, 0]), int(low[index, 1]), int(high[index, 0]) + 1, int(high[index, 1]) + 1),
            colours[index],
            neighbours[index],
        )
        for index in range(count)
    }


def _grouped(regions: dict[int, _Region]) -> list[tuple[int, int, int, int]]:
    """Boxes of all regions, and of those that joining the most alike neighbours gives, in order of their making."""
    boxes = [region.box for region in regions.values()]
    total = sum(region.size for region in regions.values())
    alike = {
        (one, two): _similarity(regions[one], regions[two], total)
        for one in regions
        for two in regions[one].neighbours
        if one < two
    }
    following = len(regions)
    while alike:
        one, two = max(alike, key=lambda pair: (alike[pair], -pair[0], -pair[1]))
        joined = _joined(regions[one], regions[two], one, two)
        for old in (one, two):
            for other in regions[old].neighbours:
                alike.pop((min(old, other), max(old, other)), None)
                regions[other].neighbours.discard(old)
            del regions[old]
        regions[following] = joined
        for other in joined.neighbours:
            regions[other].neighbours.add(following)
            alike[other, following] = _similarity(regions[other], joined, total)
        boxes.append(joined.box)
        following += 1
    return boxes


def _joined(a: _Region, b: _Region, one: int, two: int) -> _Region:
    size = a.size + b.size
    box = (min(a.box[0], b.box[0]), min(a.box[1], b.box[1]), max(a.box[2], b.box[2]), max(a.box[3], b.box[3]))
    colours = (a.size * a.colours + b.size * b.colours) / size
    return _Region(size, box, colours, (a.neighbours | b.neighbours) - {one, two})


def _similarity(a: _Region, b: _Region, total: int) -> float:
    """Colour, size and fill (Uijlings et al. 2013, eq. 1, 5 and 6): small regions and those that fit go first."""
    left, top = min(a.box[0], b.box[0]), min(a.box[1], b.box[1])
    right, bottom = max(a.box[2], b.box[2]), max(a.box[3], b.box[3])
    around = (right - left) * (bottom - top)
    colour = float(np.minimum(a.colours, b.colours).sum())
    return colour + (1 - (a.size + b.size) / total) + (1 - (around - a.size - b.size) / total)
