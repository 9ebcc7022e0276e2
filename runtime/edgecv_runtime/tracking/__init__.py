"""Objects keep their number from frame to frame; still scenes need no inference."""

from __future__ import annotations

from edgecv_runtime.tracking.motion import MotionGate
from edgecv_runtime.tracking.tracker import Tracker

__all__ = ["Tracker", "MotionGate"]
