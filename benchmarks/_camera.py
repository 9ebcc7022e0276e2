"""A camera on loopback: an MJPEG server whose frames say when they were taken.

The time, in thirtieths of a second since the Epoch modulo 2²⁰, stands in twenty black and white stripes.
"""

from __future__ import annotations

import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import cv2
import numpy as np

BITS, TICKS = 20, 1000  # one tick: a millisecond
WIDTH, HEIGHT = 640, 480


def frame_of(tick: int) -> np.ndarray:
    row = np.repeat([255 * (tick >> bit & 1) for bit in range(BITS)], WIDTH // BITS).astype(np.uint8)
    return np.repeat(np.broadcast_to(row, (HEIGHT, WIDTH))[..., None], 3, axis=2)


def tick_now() -> int:
    return int(time.time() * TICKS) % 2**BITS


def age_of(image: np.ndarray) -> float:
    """Seconds since a frame was taken."""
    stripes = image.shape[1] / BITS
    row = image[image.shape[0] // 2, [int((bit + 0.5) * stripes) for bit in range(BITS)], 1]
    tick = int(((row > 127).astype(np.int64) << np.arange(BITS)).sum())
    return ((tick_now() - tick) % 2**BITS) / TICKS


class Camera:
    """The server in a process of its own; use it with ``with``."""

    def __init__(self, fps: float, lose: int = 0) -> None:
        """With `lose`, each connection is cut after so many frames."""
        self._process = subprocess.Popen(
            [sys.executable, __file__, str(fps), str(lose)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self._process.stdout is not None
        self.url = f"http://127.0.0.1:{self._process.stdout.readline().strip()}/camera.mjpg"

    def __enter__(self) -> Camera:
        return self

    def __exit__(self, *error: Any) -> None:
        self._process.kill()
        self._process.wait()


def serve(fps: float, lose: int) -> None:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
            self.end_headers()
            begun, sent = time.monotonic(), 0
            while not lose or sent < lose:
                coded = cv2.imencode(".jpg", frame_of(tick_now()))[1].tobytes()
                self.wfile.write(b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(coded))
                self.wfile.write(coded + b"\r\n")
                sent += 1
                time.sleep(max(0.0, begun + sent / fps - time.monotonic()))

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    print(server.server_address[1], flush=True)
    server.serve_forever()


if __name__ == "__main__":
    serve(float(sys.argv[1]), int(sys.argv[2]))
