"""Fetch a published file once: resumed where it was cut, checked against its hash, kept in a cache folder."""

from __future__ import annotations

import base64
import contextlib
import fcntl
import hashlib
import http.client
import os
import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from edgecv_runtime.errors import InputError, MissingFileError, OutputError
from edgecv_runtime.progress import Progress

_CHUNK = 1 << 18
_TIMEOUT = 30.0  # seconds without a byte
_ATTEMPTS = 3  # a cut connection is taken up again where it was cut


def cache_folder() -> Path:
    """``EDGECV_CACHE``, or ``~/.cache/edgecv``. Not created here."""
    chosen = os.environ.get("EDGECV_CACHE")
    return Path(chosen).expanduser() if chosen else Path.home() / ".cache" / "edgecv"


def fetch(
    address: str,
    path: Path,
    *,
    sha256: str | None = None,
    md5: str | None = None,
    timeout: float = _TIMEOUT,
) -> Path:
    """Bring the file at `address` to `path`, unless it is there.

    What has arrived stays in ``<path>.part`` until it is complete and proven, so that the next call goes on
    where this one was cut. Proof is the published hash, the length the server states, and the md5 with which
    Google's storage labels its answers.

    Parameters
    ----------
    address : str
        http or https.
    path : Path
        Its folder is created.
    sha256, md5 : str, optional
        As published, in hexadecimal. A file that is at `path` already is checked against them too.
    timeout : float
        Seconds without an answer or a byte.

    Returns
    -------
    Path
        `path`.

    Raises
    ------
    MissingFileError
        No network, no such file there, or the connection was cut again and again.
    InputError
        What came, or what is at `path`, is not the published file.
    OutputError
        The folder cannot be written, the disk is full, or another process is fetching the same file.
    """
    if path.exists():
        _check_hashes(path, path, sha256, md5, "delete it, and it is fetched anew")
        return path
    part = path.with_name(f"{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("ab") as file, _exclusive(file, part):
            try:
                stated = _receive(address, file, path, timeout)
            except MissingFileError:
                if file.seek(0, os.SEEK_END) == 0:
                    part.unlink()  # nothing came: leave nothing
                raise
            file.flush()
            os.fsync(file.fileno())
            try:
                _check_hashes(part, path, sha256, md5, f"received from {address}; nothing was kept")
                _check_hashes(part, path, None, stated, f"damaged on its way from {address}; nothing was kept")
            except InputError:
                part.unlink()
                raise
            part.replace(path)
    except (MissingFileError, InputError, OutputError):
        raise
    except OSError as error:
        raise OutputError(
            f"{path} cannot be written: {error.strerror or error}. Set EDGECV_CACHE to another folder"
        ) from None
    return path


@contextlib.contextmanager
def _exclusive(file: BinaryIO, part: Path) -> Iterator[None]:
    """Two processes that append to one file would spoil it."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise OutputError(f"another process is fetching {part}: wait for it") from None
    yield  # closing the file releases the lock


def _receive(address: str, file: BinaryIO, path: Path, timeout: float) -> str | None:
    """Append to `file` until it is complete; returns the md5 the server states, if any."""
    by_hand = f"By hand: fetch {address} and save it as {path}"
    reason = ""
    for _ in range(_ATTEMPTS):
        have = file.seek(0, os.SEEK_END)
        request = urllib.request.Request(address, headers={"Range": f"bytes={have}-"} if have else {})
        try:
            with urllib.request.urlopen(request, timeout=timeout) as answer:
                have, total = _position(answer, have)
                file.truncate(have)
                file.seek(have)
                _copy(answer, file, have, total, path.name)
                if total is None or file.tell() == total:
                    return _stated_md5(answer.headers.get_all("x-goog-hash") or [])
                reason = f"the connection was cut after {file.tell():,} of {total:,} bytes"
        except urllib.error.HTTPError as error:
            error.close()
            if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and have:
                file.truncate(0)  # the partial file is longer than the whole: begin anew
                continue
            raise MissingFileError(f"{address} answers {error.code} {error.reason}. {by_hand}") from None
        except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError) as error:
            cause = getattr(error, "reason", None) or error
            reason = str(getattr(cause, "strerror", None) or cause or type(error).__name__)
            if file.seek(0, os.SEEK_END) == have:
                break  # nothing came: trying again at once will not help
    kept = file.seek(0, os.SEEK_END)
    resumed = f"; {kept:,} bytes are kept and the next try goes on from there" if kept else ""
    raise MissingFileError(f"{path.name} cannot be fetched: {reason}{resumed}. {by_hand}")


def _position(answer: http.client.HTTPResponse, have: int) -> tuple[int, int | None]:
    """Where this answer's bytes belong, and the length of the whole file."""
    if answer.status == http.HTTPStatus.PARTIAL_CONTENT:
        place = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", answer.headers.get("Content-Range", ""))
        if place is not None and int(place[1]) == have:
            return have, None if place[2] == "*" else int(place[2])
        raise http.client.HTTPException(f"the server sent another range than bytes {have}-")
    length = answer.headers.get("Content-Length")
    return 0, None if length is None else int(length)


def _copy(answer: http.client.HTTPResponse, file: BinaryIO, have: int, total: int | None, name: str) -> None:
    with Progress(total, f"fetching {name}", unit="B") as bar:
        bar.advance(have)
        while chunk := answer.read(_CHUNK):
            file.write(chunk)
            bar.advance(len(chunk))


def _stated_md5(labels: list[str]) -> str | None:
    """Google storage labels an answer with ``x-goog-hash: md5=<base64>``, one or several to a line."""
    for label in ",".join(labels).split(","):
        kind, _, value = label.strip().partition("=")
        if kind == "md5":
            with contextlib.suppress(ValueError):
                return base64.b64decode(value, validate=True).hex()
    return None


def _check_hashes(file: Path, path: Path, sha256: str | None, md5: str | None, remark: str) -> None:
    for algorithm, wanted in (("sha256", sha256), ("md5", md5)):
        if wanted is None:
            continue
        with file.open("rb") as opened:
            found = hashlib.file_digest(opened, algorithm).hexdigest()
        if found != wanted.lower():
            raise InputError(f"{path} has not the published {algorithm} {wanted} but {found}: {remark}")
