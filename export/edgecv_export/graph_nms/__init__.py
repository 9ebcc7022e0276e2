"""Suppression in the graph: a detector's file decodes and suppresses by itself, and gives a short list of objects."""

from edgecv_export.graph_nms.append import append_suppression, check_suppressible

__all__ = ["append_suppression", "check_suppressible"]
