"""As much of HTTP/1.1 as the preview needs, read strictly: one request a connection, everything bounded.

A request that is ambiguous is refused, never repaired: what two programs read differently is how requests are smuggled
past a proxy.
"""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl

_REQUEST_LINE = re.compile(rb"([A-Z]{1,16}) (/[!-~]{0,2047}) HTTP/1\.[01]")
_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}")
_VALUE = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")
_ONCE = ("host", "content-length", "content-type", "authorization", "origin")  # two of them would be ambiguous

REASONS = {
    200: "OK", 204: "No Content", 303: "See Other", 400: "Bad Request", 401: "Unauthorized", 403: "Forbidden",
    404: "Not Found", 405: "Method Not Allowed", 408: "Request Timeout", 411: "Length Required",
    413: "Content Too Large", 415: "Unsupported Media Type", 431: "Request Header Fields Too Large",
    500: "Internal Server Error", 501: "Not Implemented", 503: "Service Unavailable",
}  # fmt: skip

# The page uses its own files alone, nothing may frame it or read it from elsewhere, and no address leaves with a token.
SECURITY: Mapping[str, str] = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


@dataclass(frozen=True)
class Limits:
    """What a client may take.

    Attributes
    ----------
    head_bytes, body_bytes : int
        Of a request.
    head_lines : int
    request_seconds : float
        Until the whole request must be there: a client that sends a byte now and then is cut off.
    write_seconds : float
        In which a client must take one picture or answer.
    connections, streams : int
        At a time; of the connections some stay free for short requests when streams have taken all they may.
    """

    head_bytes: int = 8192
    head_lines: int = 64
    body_bytes: int = 4096
    request_seconds: float = 5.0
    write_seconds: float = 10.0
    connections: int = 480
    streams: int = 448


class RefusedError(Exception):
    """A request that gets an error for an answer.

    Attributes
    ----------
    status : int
    headers : mapping
    """

    def __init__(self, status: int, reason: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(reason)
        self.status, self.headers = status, dict(headers or {})


@dataclass(frozen=True)
class Request:
    """A request that has been read.

    Attributes
    ----------
    method, path : str
        The path as it was sent: nothing in it is decoded, for it is only compared with a table.
    query : mapping of str to str
    headers : mapping of str to str
        Names in lower case.
    body : bytes
    """

    method: str
    path: str
    query: dict[str, str] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def cookies(self) -> dict[str, str]:
        pairs = (part.strip().partition("=") for part in self.headers.get("cookie", "").split(";"))
        return {name: value for name, there, value in pairs if there}


@dataclass(frozen=True)
class Response:
    """An answer that is whole before it is sent."""

    body: bytes = b""
    kind: str = "text/plain; charset=utf-8"
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)

    def encoded(self, *, without_body: bool = False) -> bytes:
        headers = {"Content-Type": self.kind, "Content-Length": str(len(self.body)), **self.headers}
        return head(self.status, headers) + (b"" if without_body else self.body)


def head(status: int, headers: Mapping[str, str]) -> bytes:
    """The first lines of an answer; every connection is closed after it."""
    lines = [f"HTTP/1.1 {status} {REASONS[status]}"]
    lines += [f"{name}: {value}" for name, value in {**SECURITY, **headers, "Connection": "close"}.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


async def read_request(connection: socket.socket, limits: Limits) -> Request | None:
    """The request of a connection; None where it was closed without one.

    Raises
    ------
    RefusedError
        It is too large, too slow or not clear.
    """
    try:
        return await asyncio.wait_for(_read(connection, limits), limits.request_seconds)
    except asyncio.TimeoutError:
        raise RefusedError(408, "the request took too long") from None


async def _read(connection: socket.socket, limits: Limits) -> Request | None:
    loop = asyncio.get_running_loop()
    received = b""
    while b"\r\n\r\n" not in received:
        if len(received) > limits.head_bytes:
            raise RefusedError(431, f"a request's head may have {limits.head_bytes} bytes")
        piece = await loop.sock_recv(connection, 4096)
        if not piece:
            return None
        received += piece
    top, _, body = received.partition(b"\r\n\r\n")
    if len(top) > limits.head_bytes:
        raise RefusedError(431, f"a request's head may have {limits.head_bytes} bytes")
    request = parse_head(top, limits)
    length = _body_length(request, limits)
    while len(body) < length:
        piece = await loop.sock_recv(connection, 4096)
        if not piece:
            return None
        body += piece
    return Request(request.method, request.path, request.query, request.headers, body[:length])


def parse_head(top: bytes, limits: Limits) -> Request:
    """Take apart what stands before the empty line.

    Raises
    ------
    RefusedError
    """
    first, *lines = top.split(b"\r\n")
    match = _REQUEST_LINE.fullmatch(first)
    if match is None:
        raise RefusedError(400, "the request line is not GET /PATH HTTP/1.1")
    if len(lines) > limits.head_lines:
        raise RefusedError(431, f"a request may have {limits.head_lines} header lines")
    headers: dict[str, str] = {}
    for line in lines:
        before, colon, after = line.partition(b":")
        if not (colon and _NAME.fullmatch(before) and _VALUE.fullmatch(after)):
            raise RefusedError(400, "a header line is not NAME: VALUE")
        name, value = before.decode("ascii").lower(), after.decode("latin-1").strip(" \t")
        if name in headers and name in _ONCE:
            raise RefusedError(400, f"the header {name} came twice")
        headers[name] = f"{headers[name]}; {value}" if name in headers else value
    path, _, query = match[2].decode("ascii").partition("?")
    try:
        fields = dict(parse_qsl(query, keep_blank_values=True, max_num_fields=8))
    except ValueError:
        raise RefusedError(400, "at most 8 fields may stand behind the ?") from None
    return Request(match[1].decode("ascii"), path, fields, headers)


def _body_length(request: Request, limits: Limits) -> int:
    if "transfer-encoding" in request.headers:
        raise RefusedError(501, "a body must come with its Content-Length")
    text = request.headers.get("content-length")
    if text is None:
        if request.method == "POST":
            raise RefusedError(411, "a POST needs its Content-Length")
        return 0
    if not re.fullmatch(r"[0-9]{1,9}", text, re.ASCII):
        raise RefusedError(400, "Content-Length is not a number")
    if int(text) > limits.body_bytes:
        raise RefusedError(413, f"a body may have {limits.body_bytes} bytes")
    return int(text)
