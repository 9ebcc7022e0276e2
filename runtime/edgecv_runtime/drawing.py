"""Draw what a model found into a copy of the picture: boxes, masks, skeletons and their labels."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from edgecv_runtime.errors import InputError
from edgecv_runtime.images import Image, as_rgb, cv2
from edgecv_runtime.results import Anomaly, Classification, Detections, Pose, Segmentation
from edgecv_runtime.results_picture import Picture

Color = tuple[int, int, int]

_OPACITY = 0.5  # of a mask over the picture
_RED: Color = (230, 30, 30)
_POINT_SCORE = 0.3  # keypoints below it are not drawn


def palette(index: int) -> Color:
    """The colour of a class, RGB: a different hue each time, the next one far from the last.

    Hues step by the golden ratio, so that any first few lie well apart; neither black nor white ever comes up.
    """
    hue = (index * 0.618033988749895 + 0.07) % 1.0 * 6
    x = round(205 * (1 - abs(hue % 2 - 1)))
    red, green, blue = [(205, x, 0), (x, 205, 0), (0, 205, x), (0, x, 205), (x, 0, 205), (205, 0, x)][int(hue) % 6]
    return red + 40, green + 40, blue + 40


def draw(image: Any, result: Any) -> Image:
    """A copy of a picture with a result drawn into it.

    Parameters
    ----------
    image : (H, W, 3) uint8 RGB
        The picture the model was given.
    result : Classification, Detections, Segmentation, Pose, Anomaly or Picture
        A `Picture` takes the place of the other.

    Returns
    -------
    (H, W, 3) uint8 RGB

    Raises
    ------
    InputError
        There is nothing to draw of such a result, or it belongs to a picture of another size.
    """
    canvas = as_rgb(image).copy()
    if isinstance(result, Detections):
        _draw_detections(canvas, result)
    elif isinstance(result, Segmentation):
        _draw_segmentation(canvas, result)
    elif isinstance(result, Pose):
        points = np.concatenate([result.keypoints, result.scores[:, None]], axis=1)
        _draw_skeleton(canvas, points, result.skeleton, palette(0))
    elif isinstance(result, Anomaly):
        _draw_anomaly(canvas, result)
    elif isinstance(result, Picture):
        return as_rgb(result.image).copy()
    elif isinstance(result, Classification):
        for row, (_, score, label) in enumerate(result.top(5)):
            _write(canvas, f"{label} {score:.2f}", (0, _line(canvas) * row), palette(row), below=True)
    else:
        raise InputError(f"a {type(result).__name__} cannot be drawn: it has no place in the picture")
    return canvas


def _draw_detections(canvas: Image, result: Detections) -> None:
    opencv = cv2("drawing")
    if result.masks is not None:
        for mask, index in zip(result.masks, result.classes.tolist(), strict=True):
            _tint(canvas, mask, palette(index))
    thickness = max(1, round(min(canvas.shape[:2]) / 300))
    for row in reversed(range(len(result))):  # the best comes last, on top
        number = None if result.ids is None else int(result.ids[row])
        color = palette(int(result.classes[row]) if number is None else number)
        left, top, right, bottom = (round(value) for value in result.boxes[row].tolist())
        opencv.rectangle(canvas, (left, top), (max(left, right - 1), max(top, bottom - 1)), color, thickness)
        if result.keypoints is not None:
            _draw_skeleton(canvas, result.keypoints[row], result.skeleton, color)
        title = result.labels[row] if number is None else f"{result.labels[row]} #{number}"
        _write(canvas, f"{title} {float(result.scores[row]):.2f}", (left, top), color)


def _draw_segmentation(canvas: Image, result: Segmentation) -> None:
    for index in np.unique(result.mask).tolist():
        if index not in (0, result.UNKNOWN):  # class 0 is the background by custom
            _tint(canvas, result.mask == index, palette(index))
    line = 0
    for index, share, label in result:
        if index != 0:
            _write(canvas, f"{label} {100 * share:.0f}%", (0, _line(canvas) * line), palette(index), below=True)
            line += 1


def _draw_anomaly(canvas: Image, result: Anomaly) -> None:
    """Red where the score is high: full at the threshold, or at the map's own maximum where there is none."""
    if result.map.shape != canvas.shape[:2]:
        raise InputError(f"a map must have the picture's size {canvas.shape[:2]}; received {result.map.shape}")
    full = max(float(result.map.max()) if result.threshold is None else result.threshold, 1e-12)
    share = (_OPACITY * np.clip(result.map / full, 0, 1))[:, :, None]
    canvas[:] = ((1 - share) * canvas + share * np.array(_RED)).astype(np.uint8)
    _write(canvas, result.summary, (0, 0), _RED if result.anomalous else palette(1), below=True)


def _tint(canvas: Image, mask: npt.NDArray[np.bool_], color: Color) -> None:
    if mask.shape != canvas.shape[:2]:
        raise InputError(f"a mask must have the picture's size {canvas.shape[:2]}; received {mask.shape}")
    canvas[mask] = ((1 - _OPACITY) * canvas[mask] + _OPACITY * np.array(color)).astype(np.uint8)


def _draw_skeleton(
    canvas: Image, points: npt.NDArray[np.float32], skeleton: tuple[tuple[int, int], ...], color: Color
) -> None:
    opencv = cv2("drawing")
    radius = max(2, round(min(canvas.shape[:2]) / 150))
    places = [(round(x), round(y)) for x, y in points[:, :2].tolist()]
    seen = (points[:, 2] >= _POINT_SCORE).tolist()
    for a, b in skeleton:
        if seen[a] and seen[b]:
            opencv.line(canvas, places[a], places[b], color, max(1, radius // 2), opencv.LINE_AA)
    for place, there in zip(places, seen, strict=True):
        if there:
            opencv.circle(canvas, place, radius, color, -1, opencv.LINE_AA)


def _line(canvas: Image) -> int:
    """Height of a line of text."""
    return max(14, round(int(min(canvas.shape[:2])) / 30))


def _write(canvas: Image, text: str, place: tuple[int, int], color: Color, *, below: bool = False) -> None:
    """Text on a filled strip above a point, or below it where there is no room; within the picture."""
    opencv = cv2("drawing")
    height = _line(canvas)
    scale = height / 30
    shown = text.encode("ascii", "replace").decode()  # OpenCV's own font has no other letters
    (width, _), _ = opencv.getTextSize(shown, opencv.FONT_HERSHEY_SIMPLEX, scale, 1)
    left = max(0, min(place[0], canvas.shape[1] - width - 4))
    top = place[1] if below or place[1] < height else place[1] - height
    top = max(0, min(top, canvas.shape[0] - height))
    opencv.rectangle(canvas, (left, top), (left + width + 4, top + height), color, -1)
    ink = (0, 0, 0) if sum(color) > 330 else (255, 255, 255)
    spot = (left + 2, top + height - round(0.3 * height))
    opencv.putText(canvas, shown, spot, opencv.FONT_HERSHEY_SIMPLEX, scale, ink, 1, opencv.LINE_AA)
