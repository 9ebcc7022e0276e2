"""OpenSSH as it is installed: a conversation with the agent on a device, and copies to it."""

from __future__ import annotations

import contextlib
import json
import re
import shlex
import shutil
import subprocess
import tarfile
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from edgecv_runtime.errors import BackendError, InputError, MissingPackageError

_BEAT = 5.0  # seconds between signs of life
_NAME = re.compile(r"(?:[A-Za-z0-9_][\w.-]*@)?[A-Za-z0-9_\[:][\w.:%\]-]*")
_LOADER = "import sys; exec(compile(sys.stdin.buffer.read({size}), 'edgecv-agent', 'exec'), {{'__name__': '__main__'}})"


@dataclass(frozen=True)
class Host:
    """A device, and how to reach it.

    Attributes
    ----------
    name : str
        ``user@host``, or a name from the configuration of SSH.
    port : int, optional
    identity : str, optional
        File of a private key.
    config : str, optional
        Configuration of SSH, instead of the user's own.

    Raises
    ------
    InputError
        A name that SSH would take for an option, or a port that is none.
    MissingPackageError
        There is no ssh on this machine.
    """

    name: str
    port: int | None = None
    identity: str | None = None
    config: str | None = None

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise InputError(f"a device is named user@host; received {self.name!r}")
        if self.port is not None and not 0 < self.port < 65536:
            raise InputError(f"a port is 1 to 65535; received {self.port}")
        if self.identity is not None and not Path(self.identity).is_file():
            raise InputError(f"there is no key at {self.identity}")
        if shutil.which("ssh") is None:
            raise MissingPackageError("deploying needs OpenSSH's ssh, which is not on this machine")

    def words(self) -> list[str]:
        """``ssh`` and its options: never a question, and a lost connection is noticed within 20 seconds."""
        found = ["ssh", "-T", "-o", "BatchMode=yes", "-o", "ConnectTimeout=15"]
        found += ["-o", "ServerAliveInterval=5", "-o", "ServerAliveCountMax=3"]
        if self.config is not None:
            found += ["-F", self.config]
        if self.identity is not None:
            found += ["-i", self.identity, "-o", "IdentitiesOnly=yes"]
        if self.port is not None:
            found += ["-p", str(self.port)]
        return found

    def copy(self, sources: Sequence[Path], folder: str, *, rsync: bool) -> str:
        """Copy files and folders into a folder of the device; returns what did it.

        Raises
        ------
        BackendError
            The copy broke off.
        """
        if rsync and shutil.which("rsync") is not None:
            # In the folder, not to it: rsync would make again what the device has removed after a lost connection.
            there = f"cd {shlex.quote(folder)} && rsync"
            words = ["rsync", "--archive", "--no-owner", "--no-group", "--timeout=60", f"--rsync-path={there}"]
            words += ["-e", shlex.join(self.words()), "--", *(str(path) for path in sources), f"{self.name}:./"]
            ran = subprocess.run(words, capture_output=True, text=True, errors="replace", check=False)
            if ran.returncode != 0:
                raise BackendError(f"the copy to {self.name} broke off: {last_line(ran.stderr)}")
            return "rsync"
        self._copy_by_tar(sources, folder)
        return "tar"

    def _copy_by_tar(self, sources: Sequence[Path], folder: str) -> None:
        remote = f"cd {shlex.quote(folder)} && tar xf -"
        words = [*self.words(), "--", self.name, remote]
        with subprocess.Popen(words, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as child:
            assert child.stdin is not None and child.stderr is not None  # as asked for
            with contextlib.suppress(BrokenPipeError), tarfile.open(fileobj=child.stdin, mode="w|") as archive:
                for path in sources:
                    archive.add(path, path.name, filter=_as_anyone)
            with contextlib.suppress(BrokenPipeError):
                child.stdin.close()
            said = child.stderr.read().decode(errors="replace")
        if child.returncode != 0:
            raise BackendError(f"the copy to {self.name} broke off: {last_line(said)}")


def _as_anyone(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member


class Conversation:
    """Orders to the agent on a device and its answers; closing it before the switch undoes everything.

    Parameters
    ----------
    host : Host
    python : str
        Of the device.
    """

    def __init__(self, host: Host, python: str) -> None:
        self._host = host
        source = files("edgecv_export.deploy").joinpath("agent.py").read_bytes()
        remote = shlex.join([python, "-u", "-c", _LOADER.format(size=len(source))])
        self.process = subprocess.Popen(
            [*host.words(), "--", host.name, remote],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self._lock, self._over = threading.Lock(), threading.Event()
        self._said: list[bytes] = []
        self._reader = threading.Thread(target=self._hear, daemon=True)
        self._reader.start()
        self._send(source)
        self._beat = threading.Thread(target=self._keep_alive, daemon=True)
        self._beat.start()

    def __enter__(self) -> Conversation:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def ask(self, what: str, **values: Any) -> dict[str, Any]:
        """Give an order and wait for the answer.

        Raises
        ------
        BackendError
            The connection is lost, or the device refuses.
        """
        self._send(json.dumps({"do": what, **values}).encode() + b"\n")
        assert self.process.stdout is not None  # as asked for
        line = self.process.stdout.readline()
        if not line.endswith(b"\n"):
            raise self._lost()
        try:
            answer = json.loads(line)
        except ValueError:
            raise BackendError(
                f"{self._host.name} answers {line[:80].decode(errors='replace')!r}, which is no answer: its shell must "
                "print nothing at a login without a terminal"
            ) from None
        if "error" in answer:
            raise BackendError(f"{self._host.name}: {answer['error']}")
        return answer

    def close(self) -> None:
        """End the conversation; the agent cleans up where nothing was switched."""
        if self._over.is_set():
            return
        self._over.set()
        if self.process.stdin is not None:
            with self._lock, contextlib.suppress(OSError):
                self.process.stdin.close()
        try:
            self.process.wait(timeout=20)  # the agent removes what it made
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._beat.join(timeout=2 * _BEAT)
        self._reader.join(timeout=2 * _BEAT)
        for stream in (self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()

    def _send(self, content: bytes) -> None:
        assert self.process.stdin is not None  # as asked for
        try:
            with self._lock:
                self.process.stdin.write(content)
                self.process.stdin.flush()
        except (OSError, ValueError):
            raise self._lost() from None

    def _keep_alive(self) -> None:
        while not self._over.wait(_BEAT):
            with contextlib.suppress(BackendError):
                self._send(b"\n")

    def _hear(self) -> None:
        assert self.process.stderr is not None  # as asked for
        for line in self.process.stderr:
            self._said.append(line)

    def _lost(self) -> BackendError:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout=2)
        self._reader.join(timeout=2)
        said = last_line(b"".join(self._said).decode(errors="replace"))
        return BackendError(f"the connection to {self._host.name} is lost: {said}")


def last_line(said: str) -> str:
    """The last line with something on it."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return lines[-1] if lines else "without a word"
