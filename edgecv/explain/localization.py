"""A box out of a heat map: localization without boxes to learn from (Zhou et al. 2016, section 3.2)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from edgecv.explain.heatmap import Heatmap
from edgecv_runtime.errors import InputError
from edgecv_runtime.images import cv2

THRESHOLD = 0.2  # of the maximum, as in the paper


def localize(heatmap: Heatmap, size: tuple[int, int], threshold: float = THRESHOLD) -> npt.NDArray[np.float32]:
    """The box around the largest connected part of a heat map above a share of its maximum.

    Parameters
    ----------
    heatmap : Heatmap
    size : (height, width)
        Of the picture, to which the map is interpolated first.
    threshold : float in (0, 1)

    Returns
    -------
    (4,) float32, xyxy in pixels of the picture
        The whole picture where the map is nowhere positive.

    Raises
    ------
    InputError
        A threshold out of range.
    """
    if not 0 < threshold < 1:
        raise InputError(f"threshold must be between 0 and 1; received {threshold}")
    values = heatmap.resized(size)
    if values.max() <= 0:
        return np.array([0, 0, size[1], size[0]], np.float32)
    opencv = cv2("localization")
    above = (values > threshold * values.max()).astype(np.uint8)
    _, _, statistics, _ = opencv.connectedComponentsWithStats(above, connectivity=8)
    areas = statistics[1:, opencv.CC_STAT_AREA]
    left, top, width, height = statistics[1 + int(areas.argmax()), :4].tolist()
    return np.array([left, top, left + width, top + height], np.float32)
