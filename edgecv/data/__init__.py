"""Data that edgecv makes or reads itself."""

from __future__ import annotations

from edgecv.data.digits import DIGIT_SIZE, draw_digits

__all__ = ["DIGIT_SIZE", "draw_digits"]
