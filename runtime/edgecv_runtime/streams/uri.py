"""What a source's name says."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qsl

from edgecv_runtime.errors import InputError, UnsupportedError

SCHEMES = ("rtsp", "rtsps", "http", "https", "csi", "gst", "test")

_CREDENTIALS = re.compile(r"(?<=://)[^/?#]*@")
_SECRET = re.compile(r"((?:^|[?&;])[^=&?;]*(?:pass|pwd|token|secret|key|auth|user)[^=&;]*=)[^&;#\s]*", re.IGNORECASE)


def redacted(source: str) -> str:
    """A source without user, password and anything that looks like one: for logs, errors and `repr`.

    >>> redacted("rtsp://admin:secret@10.0.0.7/live?token=abc&channel=1")
    'rtsp://***@10.0.0.7/live?token=***&channel=1'
    """
    return _SECRET.sub(r"\1***", _CREDENTIALS.sub("***@", source))


@dataclass(frozen=True)
class LiveUri:
    """A live source, taken apart.

    Attributes
    ----------
    scheme : str
        One of `SCHEMES`, or ``"v4l2"``.
    address : str
        What the library that reads it is given: a URL, a device, a pipeline, a name.
    size : (width, height) or None
        Pixels, where asked for.
    fps : float or None
    options : mapping
        What else stands behind the ``?``.
    name : str
        Without credentials.
    """

    scheme: str
    address: str
    name: str
    size: tuple[int, int] | None = None
    fps: float | None = None
    options: dict[str, str] = field(default_factory=dict)


def parse_live(source: str | Path) -> LiveUri | None:
    """A live source, or None for files.

    ``0``, ``/dev/video0`` (V4L2, with ``?size=1280x720&fps=30``), ``rtsp://``, ``http://``, ``csi://0``,
    ``gst://PIPELINE``, ``test://bars?size=640x480&fps=30``.

    Raises
    ------
    UnsupportedError
        A scheme that is not known.
    InputError
        A size or rate that is none.
    """
    text = str(source)
    bare, _, query = text.partition("?")
    if bare.isdecimal() or bare.startswith("/dev/video"):
        device = f"/dev/video{int(bare)}" if bare.isdecimal() else bare
        return _with_options("v4l2", device, query, text)
    scheme, there, rest = text.partition("://")
    if not there:
        return None
    if scheme == "file":
        return None
    if scheme not in SCHEMES:
        raise UnsupportedError(
            f"a source must be a file, a folder, a camera or one of {', '.join(f'{one}://' for one in SCHEMES)}; "
            f"received {scheme!r}://"
        )
    if scheme == "gst":
        return LiveUri("gst", rest, redacted(text))
    if scheme in ("csi", "test"):
        address, _, query = rest.partition("?")
        return _with_options(scheme, address, query, text)
    if not rest or rest.startswith(("/", "?")):
        raise InputError(f"{scheme}:// needs a host: {scheme}://HOST/PATH; received {redacted(text)}")
    return LiveUri(scheme, text, redacted(text))


def _with_options(scheme: str, address: str, query: str, text: str) -> LiveUri:
    options = dict(parse_qsl(query, keep_blank_values=True))
    size = options.pop("size", None)
    fps = options.pop("fps", None)
    return LiveUri(scheme, address, redacted(text), _size(size, text), _fps(fps, text), options)


def _size(value: str | None, text: str) -> tuple[int, int] | None:
    if value is None:
        return None
    match = re.fullmatch(r"(\d{1,5})x(\d{1,5})", value)
    if match is None or not all(0 < int(side) <= 16384 for side in match.groups()):
        raise InputError(f"size must be WIDTHxHEIGHT, such as 1280x720; received {value!r} in {redacted(text)}")
    return int(match[1]), int(match[2])


def _fps(value: str | None, text: str) -> float | None:
    if value is None:
        return None
    try:
        rate = float(value)
    except ValueError:
        rate = -1.0
    if not 0 <= rate <= 1000:
        raise InputError(f"fps must be from 0 to 1000; received {value!r} in {redacted(text)}")
    return rate
