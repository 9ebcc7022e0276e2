"""Fetching against a server on this machine that cuts, lies, refuses and labels."""

from __future__ import annotations

import base64
import hashlib
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from edgecv.download import cache_folder, fetch
from edgecv_runtime.errors import InputError, MissingFileError, OutputError

CONTENT = bytes(range(256)) * 4000  # 1,024,000 bytes: several chunks
MD5 = hashlib.md5(CONTENT).hexdigest()
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Server(ThreadingHTTPServer):
    """Serves CONTENT under any path; the attributes make it misbehave."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.status = 200
        self.content = CONTENT
        self.cut_after: list[int] = []  # one entry per answer: send only so many bytes
        self.ranges = True
        self.wrong_range = False
        self.length = True
        self.label: str | None = None
        self.stall = threading.Event()
        self.stalls = False
        self.asked: list[str | None] = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/weights.h5"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        server = self.server
        wanted = self.headers.get("Range")
        server.asked.append(wanted)
        if server.status != 200:
            self.send_error(server.status)
            return
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted and server.ranges else 0
        if start >= len(server.content):
            self.send_error(416)
            return
        body = server.content[start:]
        self.send_response(206 if start else 200)
        if server.length:
            self.send_header("Content-Length", str(len(body)))
        if start:
            place = start + server.wrong_range
            self.send_header("Content-Range", f"bytes {place}-{len(server.content) - 1}/{len(server.content)}")
        if server.label is not None:
            self.send_header("x-goog-hash", "crc32c=AAAAAA==")
            self.send_header("x-goog-hash", server.label)
        self.end_headers()
        if server.stalls:
            server.stall.wait(10)
            return
        self.wfile.write(body[: server.cut_after.pop(0)] if server.cut_after else body)

    def log_message(self, *_: object) -> None:
        """Keep the test output quiet."""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.stall.set()
        running.shutdown()
        thread.join()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "weights.h5"


def part_of(path: Path) -> Path:
    return path.with_name("weights.h5.part")


def test_fetches_checks_and_keeps(server: Server, path: Path) -> None:
    assert fetch(server.address, path, md5=MD5, sha256=SHA256.upper()) == path
    assert path.read_bytes() == CONTENT
    assert [item.name for item in path.parent.iterdir()] == ["weights.h5"]
    fetch(server.address, path, md5=MD5)
    assert server.asked == [None]  # the second call asked nobody


def test_a_cut_connection_is_taken_up_where_it_was_cut(server: Server, path: Path) -> None:
    server.cut_after = [300_000, 200_000]
    fetch(server.address, path, sha256=SHA256)
    assert path.read_bytes() == CONTENT
    assert server.asked == [None, "bytes=300000-", "bytes=500000-"]


def test_the_next_call_goes_on_where_the_last_one_stopped(server: Server, path: Path) -> None:
    server.cut_after = [100_000, 100_000, 100_000]
    with pytest.raises(MissingFileError, match=r"300,000 of 1,024,000 bytes; 300,000 bytes are kept and the next try"):
        fetch(server.address, path, md5=MD5)
    assert part_of(path).stat().st_size == 300_000
    assert not path.exists()
    fetch(server.address, path, md5=MD5)
    assert server.asked[-1] == "bytes=300000-"
    assert path.read_bytes() == CONTENT
    assert not part_of(path).exists()


def test_a_server_without_ranges_starts_anew(server: Server, path: Path) -> None:
    path.parent.mkdir()
    part_of(path).write_bytes(b"old bytes")
    server.ranges = False
    fetch(server.address, path, md5=MD5)
    assert path.read_bytes() == CONTENT


def test_a_partial_file_that_is_too_long_starts_anew(server: Server, path: Path) -> None:
    path.parent.mkdir()
    part_of(path).write_bytes(CONTENT + b"more")
    fetch(server.address, path, md5=MD5)
    assert server.asked == [f"bytes={len(CONTENT) + 4}-", None]
    assert path.read_bytes() == CONTENT


def test_another_range_than_asked_for_is_refused(server: Server, path: Path) -> None:
    path.parent.mkdir()
    part_of(path).write_bytes(CONTENT[:1000])
    server.wrong_range = True
    with pytest.raises(MissingFileError, match="the server sent another range than bytes 1000-"):
        fetch(server.address, path)
    assert part_of(path).read_bytes() == CONTENT[:1000]


def test_without_a_stated_length(server: Server, path: Path) -> None:
    server.length = False
    fetch(server.address, path, md5=MD5)
    assert path.read_bytes() == CONTENT


@pytest.mark.parametrize("hashes", [{"md5": "0" * 32}, {"sha256": "0" * 64}])
def test_a_wrong_hash_keeps_nothing(server: Server, path: Path, hashes: dict[str, str]) -> None:
    kind, value = next(iter(hashes.items()))
    with pytest.raises(
        InputError, match=f"has not the published {kind} {value} but [0-9a-f]+: received from .*nothing was kept"
    ):
        fetch(server.address, path, **hashes)
    assert list(path.parent.iterdir()) == []


def test_the_servers_own_label_is_checked(server: Server, path: Path) -> None:
    server.label = "md5=" + base64.b64encode(bytes.fromhex(MD5)).decode()
    fetch(server.address, path)
    path.unlink()
    server.label = "md5=" + base64.b64encode(bytes(16)).decode()
    with pytest.raises(InputError, match=r"damaged on its way from http://127\.0\.0\.1"):
        fetch(server.address, path)
    assert list(path.parent.iterdir()) == []


def test_a_label_that_is_no_hash_is_ignored(server: Server, path: Path) -> None:
    server.label = "md5=!!"
    assert fetch(server.address, path) == path


def test_a_file_put_there_by_hand_is_checked_too(server: Server, path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"something else")
    with pytest.raises(InputError, match=r"has not the published md5 .*: delete it, and it is fetched anew"):
        fetch(server.address, path, md5=MD5)
    assert path.read_bytes() == b"something else"
    assert server.asked == []


def test_not_found(server: Server, path: Path) -> None:
    server.status = 404
    with pytest.raises(MissingFileError) as caught:
        fetch(server.address, path)
    assert str(caught.value) == (
        f"{server.address} answers 404 Not Found. By hand: fetch {server.address} and save it as {path}"
    )
    assert server.asked == [None]
    assert list(path.parent.iterdir()) == []


def test_no_server(path: Path) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))  # bound but not listening: nobody answers
        address = f"http://127.0.0.1:{listener.getsockname()[1]}/weights.h5"
        with pytest.raises(MissingFileError) as caught:
            fetch(address, path, timeout=2)
    message = str(caught.value)
    assert message.startswith("weights.h5 cannot be fetched: Connection refused. By hand: fetch ")
    assert address in message
    assert str(path) in message
    assert "\n" not in message


def test_unknown_host(path: Path) -> None:
    with pytest.raises(
        MissingFileError, match=r"weights\.h5 cannot be fetched: .*By hand: fetch https://no-such-host\.invalid/w"
    ):
        fetch("https://no-such-host.invalid/w", path, timeout=2)


def test_a_server_that_falls_silent(server: Server, path: Path) -> None:
    server.stalls = True
    with pytest.raises(MissingFileError, match="cannot be fetched: timed out"):
        fetch(server.address, path, timeout=0.2)


def test_two_processes_do_not_write_one_file(server: Server, path: Path) -> None:
    import fcntl

    path.parent.mkdir()
    with part_of(path).open("ab") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(OutputError, match="another process is fetching"):
            fetch(server.address, path)
    fetch(server.address, path, md5=MD5)


def test_cache_folder_that_cannot_be_made(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match=r"cannot be written: .*Set EDGECV_CACHE to another folder"):
        fetch(server.address, tmp_path / "file" / "weights.h5")


def test_cache_folder_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("EDGECV_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.delenv("EDGECV_CACHE")
    assert cache_folder() == Path.home() / ".cache" / "edgecv"
