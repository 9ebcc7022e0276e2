from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from edgecv_runtime.contact_sheet import GREEN, RED, Cell, Line, contact_sheet, write_picture
from edgecv_runtime.errors import OutputError
from edgecv_runtime.images import read_image

# A cell is 240 wide and 240 + 2 lines · 18 + 2 · 12 high, the margins 12, the title's strip 2 · 12 + 18.
WIDTH, HEIGHT, TOP = 252, 300, 42


@pytest.fixture
def red(tmp_path: Path) -> Path:
    """Twice as wide as high."""
    path = tmp_path / "red.png"
    assert cv2.imwrite(str(path), np.full((20, 40, 3), (0, 0, 200), np.uint8))
    return path


@pytest.mark.parametrize(("count", "columns", "rows"), [(0, 3, 0), (1, 3, 1), (5, 5, 1), (6, 5, 2)])
def test_layout(red: Path, count: int, columns: int, rows: int) -> None:
    caption = (Line("first"), Line("second"))
    sheet = contact_sheet("title", [Cell(red, caption)] * count)
    height = HEIGHT if count else 264
    assert sheet.shape == (TOP + rows * height, 12 + columns * WIDTH, 3) and sheet.dtype == np.uint8
    for index in range(count):
        left, above = 12 + index % columns * WIDTH, TOP + index // columns * HEIGHT
        # 40 × 20 becomes 240 × 120, in the middle of the square.
        assert (sheet[above + 60 : above + 180, left : left + 240] == (200, 0, 0)).all()
        assert (sheet[above : above + 60, left : left + 240] == 255).all()


def test_captions_have_their_colours(red: Path) -> None:
    sheet = contact_sheet("", [Cell(red, (Line("right", GREEN), Line("wrong", RED)))])
    below = sheet[TOP + 240 :, 12:252].astype(int)
    greener, redder = below[..., 1] - below[..., 0] > 60, below[..., 0] - below[..., 1] > 60  # letters have soft edges
    assert greener[:18].any() and not redder[:18].any()
    assert redder[18:36].any() and not greener[18:36].any()


def test_long_and_foreign_text_stays_in_its_cell(red: Path) -> None:
    plain = Cell(red, (Line("short"),))
    sheet = contact_sheet("ä" * 500, [Cell(red, (Line("W" * 200),)), plain, Cell(red, (Line("猫 🐈"),))])
    assert sheet.shape[1] == 12 + 3 * WIDTH
    assert (sheet[TOP:, -12:] == 255).all()


def test_file(red: Path, tmp_path: Path) -> None:
    sheet = contact_sheet("title", [Cell(red, (Line("one"),))])
    write_picture(tmp_path / "new" / "deep" / "a.png", sheet)
    np.testing.assert_array_equal(read_image(tmp_path / "new" / "deep" / "a.png"), sheet)
    with pytest.raises(OutputError, match="cannot make the folder"):
        write_picture(red / "a.png", sheet)
