"""Frames from pictures, videos and cameras: never stale without saying so, never invented, never lost for good."""

from __future__ import annotations

from edgecv_runtime.streams.files import VIDEO_SUFFIXES
from edgecv_runtime.streams.frame import Frame
from edgecv_runtime.streams.live import LiveStream
from edgecv_runtime.streams.opening import open_stream
from edgecv_runtime.streams.states import Backoff, State, StreamEvent
from edgecv_runtime.streams.stream import Stream

__all__ = ["open_stream", "Stream", "LiveStream", "Frame", "State", "StreamEvent", "Backoff", "VIDEO_SUFFIXES"]
