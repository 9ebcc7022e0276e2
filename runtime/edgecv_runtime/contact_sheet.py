"""A contact sheet: small pictures in rows, with lines of text below each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgecv_runtime.bundle import write_atomically
from edgecv_runtime.errors import InputError, OutputError
from edgecv_runtime.images import Image, cv2, read_image

_CELL = 240  # pixels: a picture's square, and the width of its caption
_MARGIN = 12
_LINE = 18  # height of a line of text
_SCALE = 0.4  # of OpenCV's font: about 34 characters in a cell
_CHARACTERS = 33
_COLUMNS = 5

INK, GREEN, RED = (32, 32, 32), (0, 128, 0), (192, 0, 0)


@dataclass(frozen=True)
class Line:
    """A line of a caption, in RGB."""

    text: str
    color: tuple[int, int, int] = INK


@dataclass(frozen=True)
class Cell:
    """A picture file and its caption."""

    path: Path
    caption: tuple[Line, ...]


def contact_sheet(title: str, cells: Sequence[Cell]) -> Image:
    """Draw pictures and captions on white.

    Parameters
    ----------
    title : str
        Above everything.
    cells : sequence of Cell
        All captions with the same number of lines, or fewer than the longest.

    Returns
    -------
    (H, W, 3) uint8, RGB

    Raises
    ------
    MissingPackageError
        OpenCV is not installed.
    """
    lines = max((len(cell.caption) for cell in cells), default=0)
    step_x, step_y = _CELL + _MARGIN, _CELL + lines * _LINE + 2 * _MARGIN
    columns = min(_COLUMNS, max(3, len(cells)))
    rows = -(-len(cells) // columns)
    top = 2 * _MARGIN + _LINE
    sheet = np.full((top + rows * step_y, _MARGIN + columns * step_x, 3), 255, np.uint8)
    _write(sheet, Line(title), _MARGIN, _MARGIN, characters=_CHARACTERS * columns)
    for index, cell in enumerate(cells):
        x, y = _MARGIN + index % columns * step_x, top + index // columns * step_y
        picture = _fitted(read_image(cell.path))
        height, width = picture.shape[:2]
        left, above = x + (_CELL - width) // 2, y + (_CELL - height) // 2
        sheet[above : above + height, left : left + width] = picture
        for number, line in enumerate(cell.caption):
            _write(sheet, line, x, y + _CELL + number * _LINE)
    return sheet


def write_picture(path: Path, image: Image) -> None:
    """Write an RGB picture as PNG, in one step.

    Raises
    ------
    OutputError
        It cannot be written; nothing is left behind.
    """
    opencv = cv2("writing a picture")
    done, content = opencv.imencode(".png", opencv.cvtColor(image, opencv.COLOR_RGB2BGR))
    if not done:
        raise InputError(f"a picture of shape {image.shape} cannot be written as PNG")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot make the folder {path.parent}: {error.strerror or error}") from None
    write_atomically(path, content.tobytes())


def _fitted(image: Image) -> Image:
    """The whole picture, as large as fits into a cell."""
    opencv = cv2("drawing a contact sheet")
    factor = _CELL / max(image.shape[:2])
    size = max(1, round(image.shape[1] * factor)), max(1, round(image.shape[0] * factor))
    fitted: Image = opencv.resize(image, size, interpolation=opencv.INTER_AREA if factor < 1 else opencv.INTER_LINEAR)
    return fitted


def _write(sheet: Image, line: Line, x: int, y: int, characters: int = _CHARACTERS) -> None:
    opencv = cv2("drawing a contact sheet")
    text = line.text if len(line.text) <= characters else f"{line.text[: characters - 3]}..."
    shown = text.encode("ascii", "replace").decode()  # OpenCV's own font has no other letters
    place = x, y + _LINE - 5
    opencv.putText(sheet, shown, place, opencv.FONT_HERSHEY_SIMPLEX, _SCALE, line.color, 1, opencv.LINE_AA)
