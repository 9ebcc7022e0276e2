"""From cameras to results: one model, several sources, everything bounded."""

from __future__ import annotations

from edgecv_runtime.pipeline.answering import Answering
from edgecv_runtime.pipeline.governor import Governor, Level, ladder
from edgecv_runtime.pipeline.outcome import CameraReport, Outcome, Sink
from edgecv_runtime.pipeline.pipeline import Pipeline

__all__ = ["Pipeline", "Answering", "Outcome", "Sink", "CameraReport", "Governor", "Level", "ladder"]
