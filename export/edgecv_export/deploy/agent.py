"""What runs on the device while `edgecv deploy` works: this file's text is sent there and given to its Python.

It needs nothing but the standard library of Python 3.8. It reads one JSON object a line from stdin and answers each
with one on stdout; an empty line only says that the other end is still there. When stdin ends, or nothing has come for
a while, before the order to switch, whatever is running is stopped and the new release is removed: a connection that
drops, or a cable that is pulled, leaves the device as it was.
"""

from __future__ import annotations

import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

SILENCE = 60.0  # seconds after which the other end is taken for gone
KEPT = 3  # releases, the current one among them
_ABANDONED = 24 * 3600.0  # seconds: the age of a release without a mark at which no deployment can be at work on it
_MARK = "complete"


class GoneError(Exception):
    """The other end is no longer there."""


class RefusedError(Exception):
    """What was asked for cannot be done; the message says why."""


class Agent:
    """One deployment."""

    def __init__(self) -> None:
        self.orders: queue.Queue[dict[str, Any]] = queue.Queue()
        self.heard = time.monotonic()
        self.gone = threading.Event()
        self.base = Path()
        self.release: Path | None = None
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        for line in sys.stdin.buffer:
            self.heard = time.monotonic()
            if line.strip():
                self.orders.put(json.loads(line))
        self.gone.set()

    def _check(self) -> None:
        if self.gone.is_set() or time.monotonic() - self.heard > SILENCE:
            raise GoneError

    def serve(self) -> None:
        """Follow orders until nobody gives any more."""
        try:
            while True:
                self._check()
                try:
                    order = self.orders.get(timeout=0.2)
                except queue.Empty:
                    continue
                self._obey(order)
        finally:
            self.remove()

    def _obey(self, order: dict[str, Any]) -> None:
        what = order.pop("do")
        try:
            answer = getattr(self, "do_" + what)(**order)
        except (RefusedError, OSError) as error:
            answer = {"error": str(error)}
        with suppress(BrokenPipeError):
            sys.stdout.write(json.dumps(answer) + "\n")
            sys.stdout.flush()

    def remove(self) -> None:
        """Take the new release away, unless it was switched to."""
        if self.release is not None:
            # A copy that was cut off may still write its last blocks.
            for _ in range(20):
                shutil.rmtree(str(self.release), ignore_errors=True)
                if not self.release.exists():
                    break
                time.sleep(0.1)
            self.release = None

    def do_begin(self, path: str, name: str, need: int) -> dict[str, Any]:
        """Make the folder of the new release, and tell what this machine is."""
        self.base = Path(path).expanduser().absolute()
        releases = self.base / "releases"
        releases.mkdir(parents=True, exist_ok=True)
        for old in releases.iterdir():
            if not (old / _MARK).exists() and time.time() - old.stat().st_mtime > _ABANDONED:
                shutil.rmtree(str(old), ignore_errors=True)
        free = shutil.disk_usage(str(releases)).free
        if free < need:
            raise RefusedError(
                f"{need / 1e6:,.0f} MB are needed on the device; {free / 1e6:,.0f} MB are free in {releases}"
            )
        release = releases / name
        release.mkdir()
        self.release = release
        machine = os.uname()
        return {
            "release": str(release),
            "machine": machine.machine,
            "system": machine.sysname,
            "python": ".".join(str(part) for part in sys.version_info[:3]),
            "rsync": shutil.which("rsync") is not None,
            "before": self._current(),
        }

    def do_run(self, words: list[str]) -> dict[str, Any]:
        """Run a program in the release's folder; ``{python}`` stands for this Python."""
        words = [sys.executable if word == "{python}" else word for word in words]
        out, err = self._folder() / ".out", self._folder() / ".err"
        with out.open("wb") as standard, err.open("wb") as error:
            child = subprocess.Popen(
                words,
                cwd=str(self._folder()),
                stdin=subprocess.DEVNULL,
                stdout=standard,
                stderr=error,
                start_new_session=True,
            )
            try:
                while child.poll() is None:
                    self._check()
                    time.sleep(0.05)
            finally:
                if child.poll() is None:
                    with suppress(ProcessLookupError):
                        os.killpg(child.pid, signal.SIGKILL)
                    child.wait()
        answer = {
            "status": child.returncode,
            "out": out.read_text(errors="replace"),
            "err": err.read_text(errors="replace")[-4000:],
        }
        out.unlink()
        err.unlink()
        return answer

    def do_switch(self) -> dict[str, Any]:
        """Let ``current`` lead to the new release: in one step, and on the disk before the answer."""
        release = self._folder()
        self._check()
        (release / _MARK).write_text(time.strftime("%Y-%m-%dT%H:%M:%SZ\n", time.gmtime()))
        os.sync()
        link = self.base / (".current." + release.name)
        link.symlink_to(Path("releases") / release.name)
        link.replace(self.base / "current")
        self.release = None  # from here on it is the device's
        folder = os.open(str(self.base), os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        return {"current": self._current(), "removed": self._prune(release)}

    def _prune(self, current: Path) -> list[str]:
        done = [path for path in (self.base / "releases").iterdir() if (path / _MARK).exists() and path != current]
        done.sort(key=lambda path: (path / _MARK).stat().st_mtime)
        old = done[: max(0, len(done) - (KEPT - 1))]
        for path in old:
            shutil.rmtree(str(path), ignore_errors=True)
        return [path.name for path in old]

    def _current(self) -> str | None:
        link = self.base / "current"
        return os.readlink(str(link)) if link.is_symlink() else None  # noqa: PTH115  new in Python 3.9

    def _folder(self) -> Path:
        if self.release is None:
            raise RefusedError("there is no release at work")
        return self.release


if __name__ == "__main__":
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # stdin tells, and there is something to clean up
    with suppress(GoneError):
        Agent().serve()
    os._exit(0)  # the thread that listens may hold stdin, which a normal end would wait for
