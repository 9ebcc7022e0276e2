"""Where results go: files, a folder, a window, a function, a broker. Each is a `Sink` of the pipeline."""

from __future__ import annotations

from edgecv_runtime.sinks.callback import CallbackSink
from edgecv_runtime.sinks.jsonlines import JsonLinesSink
from edgecv_runtime.sinks.mqtt import MqttSink
from edgecv_runtime.sinks.opening import open_sink
from edgecv_runtime.sinks.pictures import PictureSink
from edgecv_runtime.sinks.video import VideoSink
from edgecv_runtime.sinks.window import WindowSink

__all__ = ["open_sink", "VideoSink", "JsonLinesSink", "PictureSink", "WindowSink", "CallbackSink", "MqttSink"]
