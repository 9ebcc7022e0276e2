"""What the two stages learn from a picture: sampled anchors, sampled regions, and their targets. Numpy only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from edgecv.detection.boxes import encode_boxes, iou_matrix, to_centres, to_corners
from edgecv.detection.matching import BACKGROUND, match

Floats = npt.NDArray[np.float32]
Indices = npt.NDArray[np.int64]

IGNORED = -1
"""Label of what is not sampled."""


class Sample(Protocol):
    """A labelled picture, as `edgecv.data.shapes` draws it; ``masks`` and ``keypoints`` only where they are learned."""

    image: npt.NDArray[np.uint8]  # (H, W, 3) RGB
    boxes: Floats  # (n, 4) xyxy pixels
    classes: Indices  # (n,)
    masks: npt.NDArray[np.bool_]  # (n, H, W)
    keypoints: Floats  # (n, K, 3): x, y in pixels, and 1 where it is seen


# -- first stage -------------------------------------------------------------------------------------------------------


def anchor_targets(
    anchors: Floats,
    boxes: npt.ArrayLike,
    size: tuple[int, int],
    generator: np.random.Generator,
    *,
    count: int = 256,
    positive: float = 0.7,
    negative: float = 0.3,
) -> tuple[Indices, Floats]:
    """Labels and offsets of the anchors (Ren et al. 2017, section 3.1.2).

    An anchor is an object where it overlaps one by at least `positive`, or more than every other anchor does; it is
    none where it overlaps all by less than `negative`. Of either kind at most `count` / 2 are drawn; what is missing
    of the first is made up of the second. Anchors that leave the picture are not learned (section 3.3).

    Parameters
    ----------
    anchors : (A, 4) centre x, centre y, width, height, pixels
    boxes : (n, 4) xyxy pixels
    size : (height, width) of the picture
    generator : numpy.random.Generator

    Returns
    -------
    labels : (A,) int64
        1 object, 0 none, `IGNORED`.
    offsets : (A, 4) float32
        Zero where the label is not 1.
    """
    truth = np.asarray(boxes, np.float32).reshape(-1, 4)
    corners = to_corners(anchors)
    limits = np.array([size[1], size[0]], np.float32)
    inside = np.flatnonzero((corners[:, :2] >= 0).all(axis=1) & (corners[:, 2:] <= limits).all(axis=1))
    matched = match(iou_matrix(corners[inside], truth), positive, negative)
    objects, others = inside[matched >= 0], inside[matched == BACKGROUND]
    labels = np.full(len(anchors), IGNORED, np.int64)
    drawn = draw(objects, count // 2, generator)
    labels[drawn] = 1
    labels[draw(others, count - len(drawn), generator)] = 0
    offsets = np.zeros((len(anchors), 4), np.float32)
    box_of = np.zeros(len(anchors), np.int64)
    box_of[inside] = matched
    if len(drawn):
        offsets[drawn] = encode_boxes(truth[box_of[drawn]], anchors[drawn])
    return labels, offsets


def draw(candidates: Indices, count: int, generator: np.random.Generator) -> Indices:
    """At most `count` of them, in order."""
    if len(candidates) <= count:
        return candidates
    return np.sort(generator.choice(candidates, count, replace=False))


# -- second stage ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class RegionTargets:
    """R regions of one picture, objects first, and what is to be learned of them.

    Attributes
    ----------
    regions : (R, 4) float32, xyxy pixels
        Zeros where fewer were found.
    labels : (R,) int64
        0 background, 1 + class, `IGNORED` for rows that stand for nothing.
    offsets : (R, 4) float32
        To the object; zero for the background.
    objects : (R,) int64
        Which object; -1 for none.
    """

    regions: Floats
    labels: Indices
    offsets: Floats
    objects: Indices


def region_targets(
    proposals: npt.ArrayLike,
    boxes: npt.ArrayLike,
    classes: npt.ArrayLike,
    generator: np.random.Generator,
    *,
    count: int = 128,
    share: float = 0.25,
    positive: float = 0.5,
    add_truth: bool = True,
) -> RegionTargets:
    """Draw regions, one object to three of background (Girshick 2015, section 2.3, "Mini-batch sampling").

    A region is an object where it overlaps one by at least `positive`; else it is background.

    Parameters
    ----------
    proposals : (P, 4) xyxy pixels
        Rows without an area are left out.
    boxes : (n, 4) xyxy pixels
    classes : (n,) int
    generator : numpy.random.Generator
    count : int
        R.
    share : float
        Of objects, at most.
    positive : float
    add_truth : bool
        The true boxes are proposals too, so that the second stage learns from objects before the first finds any.
    """
    found = np.asarray(proposals, np.float32).reshape(-1, 4)
    truth, kinds = np.asarray(boxes, np.float32).reshape(-1, 4), np.asarray(classes, np.int64)
    found = found[((found[:, 2:] - found[:, :2]) > 0).all(axis=1)]
    if add_truth:
        found = np.concatenate([truth, found])
    # no `every_box`: a region that overlaps little is no example of its object
    matched = match(iou_matrix(found, truth), positive, every_box=False)
    objects = draw(np.flatnonzero(matched >= 0), int(count * share), generator)
    others = draw(np.flatnonzero(matched == BACKGROUND), count - len(objects), generator)
    chosen = np.concatenate([objects, others])
    regions, offsets = np.zeros((count, 4), np.float32), np.zeros((count, 4), np.float32)
    labels, which = np.full(count, IGNORED, np.int64), np.full(count, -1, np.int64)
    regions[: len(chosen)] = found[chosen]
    labels[: len(chosen)] = 0
    if len(objects):
        which[: len(objects)] = matched[objects]
        labels[: len(objects)] = 1 + kinds[matched[objects]]
        offsets[: len(objects)] = encode_boxes(truth[matched[objects]], to_centres(found[objects]))
    return RegionTargets(regions, labels, offsets, which)


# -- masks and keypoints -----------------------------------------------------------------------------------------------


def mask_targets(masks: npt.NDArray[np.bool_], regions: Floats, size: int) -> Floats:
    """(F, size, size) float32: each region's mask, at the middles of size × size cells of the region.

    Parameters
    ----------
    masks : (F, H, W) bool
        That of the object of each region.
    regions : (F, 4) xyxy pixels
    size : int
    """
    height, width = masks.shape[1:]
    middles = (np.arange(size) + 0.5) / size
    x = regions[:, :1] + middles * (regions[:, 2:3] - regions[:, :1])
    y = regions[:, 1:2] + middles * (regions[:, 3:] - regions[:, 1:2])
    columns = np.floor(x).astype(int).clip(0, width - 1)
    rows = np.floor(y).astype(int).clip(0, height - 1)
    which = np.arange(len(masks))[:, None, None]
    return masks[which, rows[:, :, None], columns[:, None, :]].astype(np.float32)


def keypoint_targets(keypoints: Floats, regions: Floats, size: int) -> Indices:
    """(F, K) int64: the cell of a size × size map over the region that each keypoint lies in (row · size + column).

    `IGNORED` where it is not seen or lies outside the region (He et al. 2017, section 5).

    Parameters
    ----------
    keypoints : (F, K, 3) x, y in pixels, and whether it is seen
    regions : (F, 4) xyxy pixels
    size : int
    """
    sides = np.maximum(regions[:, 2:] - regions[:, :2], 1e-6)
    shares = (keypoints[..., :2] - regions[:, None, :2]) / sides[:, None]
    # A point on the far edge belongs to the last cell.
    cells = np.where(shares == 1, size - 1, np.floor(shares * size)).astype(np.int64)
    inside = ((shares >= 0) & (shares <= 1)).all(axis=-1) & (keypoints[..., 2] > 0)
    return np.where(inside, cells[..., 1] * size + cells[..., 0], IGNORED)
