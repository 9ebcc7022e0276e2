"""Requests as bytes: what is read, and what is refused with which status."""

from __future__ import annotations

import pytest

from edgecv_runtime.serve.http import Limits, RefusedError, Response, head, parse_head


def test_a_request_is_taken_apart() -> None:
    request = parse_head(
        b"GET /events?camera=front%20door&n=2 HTTP/1.1\r\nHost: localhost:8080\r\nCookie: a=1;  b = 2\r\nX-Y:\t z \t",
        Limits(),
    )
    assert (request.method, request.path) == ("GET", "/events")
    assert request.query == {"camera": "front door", "n": "2"}
    assert request.headers == {"host": "localhost:8080", "cookie": "a=1;  b = 2", "x-y": "z"}
    assert request.cookies == {"a": "1", "b ": " 2"}


@pytest.mark.parametrize(
    ("top", "status"),
    [
        (b"", 400),
        (b"GET /", 400),
        (b"GET / HTTP/2.0", 400),
        (b"GET  / HTTP/1.1", 400),
        (b"get / HTTP/1.1", 400),
        (b"GET http://elsewhere/ HTTP/1.1", 400),
        (b"GET /\x00 HTTP/1.1", 400),
        (b"GET /" + b"a" * 2048 + b" HTTP/1.1", 400),
        (b"GET / HTTP/1.1\r\nHost localhost", 400),
        (b"GET / HTTP/1.1\r\nHost : localhost", 400),  # what some read as one header, some as another
        (b"GET / HTTP/1.1\r\nHost: a\r\n continued", 400),
        (b"GET / HTTP/1.1\r\nHost: a\nX: b", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2", 400),
        (b"GET / HTTP/1.1" + b"\r\nA: b" * 65, 431),
        (b"GET /?" + b"&".join([b"a=1"] * 9) + b" HTTP/1.1", 400),
    ],
)
def test_what_is_not_clear_is_refused(top: bytes, status: int) -> None:
    with pytest.raises(RefusedError) as caught:
        parse_head(top, Limits())
    assert caught.value.status == status


def test_a_long_line_of_spaces_takes_no_time() -> None:
    """Linear work: with a pattern that tries again from each space this would take minutes."""
    with pytest.raises(RefusedError):
        parse_head(b"GET / HTTP/1.1\r\nA: " + b" " * 1_000_000 + b"\x00", Limits())


def test_answers() -> None:
    whole = Response(b"hello", status=404, headers={"Allow": "GET"})
    first, body = whole.encoded().split(b"\r\n\r\n")
    assert first.startswith(b"HTTP/1.1 404 Not Found\r\n") and body == b"hello"
    assert {b"Content-Length: 5", b"Allow: GET", b"Connection: close", b"X-Content-Type-Options: nosniff"} <= set(
        first.split(b"\r\n")
    )
    assert whole.encoded(without_body=True) == first + b"\r\n\r\n"
    policy = next(line for line in head(200, {}).decode().split("\r\n") if line.startswith("Content-Security-Policy"))
    assert "default-src 'none'" in policy and "http" not in policy.partition(":")[2]
