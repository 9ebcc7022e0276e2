"""RTSP and HTTP through PyAV: frames of their true size, damaged ones left out, time limits that hold."""

from __future__ import annotations

import ctypes
import importlib
import time
from collections.abc import Iterator
from typing import Any

from edgecv_runtime.streams.pixels import DecodedFrame
from edgecv_runtime.streams.sources import OPEN_SECONDS, READ_SECONDS, LiveSource, Picture, SourceLostError
from edgecv_runtime.streams.uri import LiveUri, redacted

_BAD_PACKETS = 1000  # in a row, after which the connection is given up: more than from one key frame to the next

# TCP: a lost packet of UDP would be a smeared picture. No buffering: the newest frame is what is wanted.
_RTSP = {"rtsp_transport": "tcp", "fflags": "nobuffer+discardcorrupt", "flags": "low_delay"}
_HTTP = {"fflags": "nobuffer+discardcorrupt", "flags": "low_delay"}


def _give_back_memory() -> None:
    """Let the C library return what FFmpeg has freed: it would keep tens of MiB, more with each connection."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's; musl has none, and keeps nothing
    if trim is not None:
        trim(0)


class NetworkSource(LiveSource):
    """A server's video, decoded by FFmpeg's libraries.

    A frame that cannot be decoded as a whole is left out: what it would show was never seen by the camera.
    """

    def __init__(self, uri: LiveUri) -> None:
        self.uri = uri
        self._av: Any = importlib.import_module("av")
        self._container: Any = None
        self._frames: Iterator[Any] = iter(())

    def open(self) -> None:
        options = _RTSP if self.uri.scheme.startswith("rtsp") else _HTTP
        try:
            self._container = self._av.open(
                self.uri.address, options=dict(options), timeout=(OPEN_SECONDS, READ_SECONDS)
            )
        except (OSError, ValueError) as error:  # its own errors are of these kinds
            raise SourceLostError(f"{self.uri.name} cannot be opened: {self._words(error)}") from None
        if not self._container.streams.video:
            raise SourceLostError(f"{self.uri.name} has no video")
        stream = self._container.streams.video[0]
        stream.codec_context.options = {"err_detect": "explode"}  # a damaged frame is an error, not a grey half
        stream.thread_type = "SLICE"  # whole frames in parallel would come several frames late
        self._frames = self._decoded(stream)

    def _decoded(self, stream: Any) -> Iterator[Any]:
        bad = 0
        for packet in self._container.demux(stream):
            try:
                frames = packet.decode()
            except ValueError as error:  # invalid data: the next packet may be sound
                bad += 1
                if bad > _BAD_PACKETS:
                    raise SourceLostError(f"{self.uri.name} sends what is no video: {self._words(error)}") from None
                continue
            for frame in frames:
                if not frame.is_corrupt:
                    bad = 0
                    yield frame

    def read(self) -> Picture | None:
        try:
            frame = next(self._frames, None)
        except (OSError, ValueError) as error:
            raise SourceLostError(f"{self.uri.name} is lost: {self._words(error)}") from None
        captured = time.monotonic()
        if frame is None:
            raise SourceLostError(f"{self.uri.name} gives no more frames")
        return Picture(DecodedFrame(frame), captured)

    def close(self) -> None:
        if self._container is not None:
            self._container.close()
            self._container, self._frames = None, iter(())
            _give_back_memory()

    def _words(self, error: Exception) -> str:
        """The library's words without the address, which may hold a password."""
        words = getattr(error, "strerror", None) or str(error)
        return redacted(" ".join(str(words).replace(self.uri.address, self.uri.name).split()))
