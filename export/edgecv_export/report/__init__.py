"""What became of a network: the error of every layer, and a page that shows it."""

from __future__ import annotations

from edgecv_export.report.layers import LayerError, layer_report
from edgecv_export.report.page import render_page

__all__ = ["LayerError", "layer_report", "render_page"]
