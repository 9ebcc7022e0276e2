"""Two hundred viewers, half of which take nothing, and clients that only want to do harm, from another process."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from edgecv_runtime.health import look
from edgecv_runtime.serve import Limits

pytestmark = pytest.mark.slow

CLIENTS = """
import selectors, socket, sys, time
port, seconds = int(sys.argv[1]), float(sys.argv[2])
chosen = selectors.DefaultSelector()
taken, silent = {}, []
def connect(first):
    one = socket.socket()
    one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    one.connect(("127.0.0.1", port))
    one.sendall(first)
    return one
get = "GET %s HTTP/1.1\\r\\nHost: localhost\\r\\n\\r\\n"
for number in range(200):
    one = connect((get % ("/events" if number % 4 == 3 else "/stream.mjpg")).encode())
    if number % 2:
        one.setblocking(False)
        chosen.register(one, selectors.EVENT_READ)
        taken[one] = 0
    else:
        silent.append(one)  # never reads a byte
slow = [connect(b"GET / HTTP/1.1\\r\\nX: ") for _ in range(50)]
print("there", flush=True)
end, drip = time.monotonic() + seconds, time.monotonic()
while time.monotonic() < end:
    for key, _ in chosen.select(0.1):
        try:
            piece = key.fileobj.recv(1 << 16)
        except OSError:
            piece = b""
        if not piece:
            chosen.unregister(key.fileobj)
            continue
        taken[key.fileobj] += len(piece)
    if time.monotonic() > drip:  # a byte now and then
        drip = time.monotonic() + 0.5
        for place, one in enumerate(slow):
            try:
                one.sendall(b"a")
            except OSError:
                slow[place] = connect(b"GET / HTTP/1.1\\r\\nX: ")
        huge = connect(b"GET / HTTP/1.1\\r\\nX: " + b"y" * 8000)
        try:
            huge.sendall(b"y" * 100000)
        except OSError:
            pass
        huge.close()
print(min(taken.values()), sum(taken.values()), len(taken))
"""


def test_two_hundred_viewers_and_worse(serving: Any, running: Any, scene: Any, ask: Any, tmp_path: Path) -> None:
    scene.size = (360, 640)
    preview = serving(limits=Limits(request_seconds=1.0, write_seconds=2.0))
    running(preview)
    before = look()
    script = tmp_path / "clients.py"
    script.write_text(CLIENTS)
    port = preview.url.rstrip("/").rpartition(":")[2]
    clients = subprocess.Popen([sys.executable, str(script), port, "8"], stdout=subprocess.PIPE, text=True)
    assert clients.stdout is not None and clients.stdout.readline() == "there\n"
    made, healthy, highest, most = scene.made, 0, 0, 0
    while clients.poll() is None:
        assert ask(preview, "/healthz").status == 200
        healthy += 1
        now = look()
        highest, most = max(highest, now.memory), max(most, preview.viewers)
        assert now.threads <= before.threads + 1
        time.sleep(0.2)
    least, total, readers = (int(word) for word in clients.stdout.read().split())
    clients.stdout.close()
    assert clients.returncode == 0 and healthy >= 5
    assert most >= 150  # all were there at first; who takes nothing is dropped when the system's buffers are full
    assert least > 10_000  # every viewer that reads was shown something
    assert scene.made > made + 20  # the scene, which stands for the model, went on
    assert highest - before.memory < 48 << 20, f"{(highest - before.memory) >> 20} MiB more"
    report = f"{total >> 20} MiB to {readers} readers, {most} streams, {scene.made - made} results meanwhile, "
    print(report + f"{(highest - before.memory) / 2**20:.1f} MiB more memory")  # noqa: T201
