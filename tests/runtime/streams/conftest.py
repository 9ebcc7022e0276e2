"""An MJPEG server on loopback with numbered frames and bad manners on request."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import cv2
import numpy as np
import pytest

STRIPES = 16


def picture(number: int, size: tuple[int, int]) -> np.ndarray:
    """The number in sixteen black and white stripes, the lowest bit on the left."""
    width, height = size
    row = np.repeat([255 * (number >> bit & 1) for bit in range(STRIPES)], width // STRIPES)
    return np.repeat(np.broadcast_to(row, (height, len(row)))[..., None], 3, axis=2).astype(np.uint8)


def number_in(image: np.ndarray) -> int:
    """The number of a frame; refuses what is neither black nor white."""
    stripes = image.shape[1] / STRIPES
    middle = image[:, [int((bit + 0.5) * stripes) for bit in range(STRIPES)]].mean(axis=2)
    assert ((middle < 60) | (middle > 195)).all(), "a frame that nobody sent"
    assert (np.ptp(middle, axis=0) < 60).all(), "a frame put together from two"
    return int(((middle[0] > 127).astype(np.int64) << np.arange(STRIPES)).sum())


class MJPEGServer:
    """Frames of the time: number = thirtieths of a second since the Epoch, modulo 65536.

    Attributes
    ----------
    mode : str
        ``"good"``, ``"silent"`` (the connection stays open, nothing comes), ``"garbage"`` (noise between and within
        frames).
    size : (width, height)
    """

    def __init__(self, port: int = 0, fps: float = 30.0) -> None:
        self.mode, self.size, self.fps = "good", (320, 240), fps
        self._chance = np.random.default_rng(0)
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
                self.end_headers()
                try:
                    while not outer._stopped.is_set():
                        outer._send(self.wfile)
                        time.sleep(1 / outer.fps)
                except OSError:
                    return

            def log_message(self, *words: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            allow_reuse_address = True
            daemon_threads = True

            def handle_error(self, request: Any, address: Any) -> None:
                pass

        self._stopped = threading.Event()
        self._server = Server(("127.0.0.1", port), Handler)
        self.port: int = self._server.server_address[1]
        self._connections: list[Any] = []
        original = self._server.process_request

        def remember(request: Any, address: Any) -> None:
            self._connections.append(request)
            original(request, address)

        self._server.process_request = remember  # type: ignore[method-assign]
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def _send(self, out: Any) -> None:
        if self.mode == "silent":
            return
        number = int(time.time() * 30) % 65536
        coded = bytearray(cv2.imencode(".jpg", picture(number, self.size), [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes())
        if self.mode == "garbage":
            if self._chance.random() < 0.5:
                out.write(self._chance.bytes(self._chance.integers(1, 3000)))
            if self._chance.random() < 0.3:
                coded = coded[: len(coded) // 2]
        out.write(b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(coded) + coded + b"\r\n")

    def stop(self) -> None:
        """As a crash would: open connections are cut."""
        self._stopped.set()
        self._server.shutdown()
        self._server.server_close()
        for connection in self._connections:
            connection.close()


@pytest.fixture(scope="session")
def mjpeg_server() -> type[MJPEGServer]:
    return MJPEGServer


@pytest.fixture(scope="session")
def read_number() -> Callable[[np.ndarray], int]:
    return number_in
