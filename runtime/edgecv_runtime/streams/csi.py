"""Cameras on a ribbon cable: Picamera2 on a Raspberry Pi, the Argus GStreamer element on a Jetson."""

from __future__ import annotations

import importlib
import importlib.util
import time
from pathlib import Path
from typing import Any

from edgecv_runtime.errors import InputError, UnsupportedError
from edgecv_runtime.streams.sources import LiveSource, OpenCVSource, Picture, SourceLostError
from edgecv_runtime.streams.uri import LiveUri

_SIZE, _FPS = (1280, 720), 30.0
_TEGRA = Path("/etc/nv_tegra_release")


def make_csi_source(uri: LiveUri) -> LiveSource:
    """The board's own way to its camera.

    Raises
    ------
    InputError
        Not a camera's number.
    UnsupportedError
        Neither Picamera2 nor a Jetson.
    """
    if not uri.address.isdecimal():
        raise InputError(f"csi:// needs a camera's number, such as csi://0; received {uri.name}")
    if importlib.util.find_spec("picamera2") is not None:
        return Picamera2Source(uri)
    if _TEGRA.exists():
        return OpenCVSource(LiveUri("gst", argus_pipeline(uri), uri.name))
    raise UnsupportedError(
        "csi:// needs Picamera2 (Raspberry Pi: apt install python3-picamera2, in an environment made with "
        "--system-site-packages) or a Jetson; neither is here"
    )


def argus_pipeline(uri: LiveUri) -> str:
    """The Jetson's camera, through its image processor, to the newest BGR frame."""
    (width, height), fps = uri.size or _SIZE, uri.fps or _FPS
    return (
        f"nvarguscamerasrc sensor-id={int(uri.address)} ! "
        f"video/x-raw(memory:NVMM), width={width}, height={height}, framerate={round(fps)}/1 ! "
        "nvvidconv ! video/x-raw, format=BGRx ! videoconvert ! video/x-raw, format=BGR ! "
        "appsink drop=true max-buffers=1 sync=false"
    )


class Picamera2Source(LiveSource):
    """libcamera through Picamera2."""

    def __init__(self, uri: LiveUri) -> None:
        self.uri = uri
        self._camera: Any = None

    def open(self) -> None:
        picamera2 = importlib.import_module("picamera2")
        fps = self.uri.fps or _FPS
        try:
            self._camera = picamera2.Picamera2(int(self.uri.address))
            # Its "BGR888" is red, green, blue in memory.
            chosen = self._camera.create_video_configuration(
                main={"size": self.uri.size or _SIZE, "format": "BGR888"}, controls={"FrameRate": fps}, buffer_count=3
            )
            self._camera.configure(chosen)
            self._camera.start()
        except (RuntimeError, IndexError) as error:
            self.close()
            raise SourceLostError(f"{self.uri.name} cannot be opened: {' '.join(str(error).split())}") from None

    def read(self) -> Picture | None:
        try:
            image = self._camera.capture_array("main")
        except RuntimeError as error:
            raise SourceLostError(f"{self.uri.name} gives no more frames: {' '.join(str(error).split())}") from None
        return Picture(image, time.monotonic())

    def close(self) -> None:
        if self._camera is not None:
            self._camera.close()
            self._camera = None
