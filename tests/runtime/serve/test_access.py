"""Who gets in."""

from __future__ import annotations

from typing import Any

import pytest

from edgecv_runtime.errors import InputError
from edgecv_runtime.serve.access import Access, Address, is_loopback
from edgecv_runtime.serve.http import RefusedError, Request

TOKEN = "correct horse battery"
LOCAL, OPEN = Address("127.0.0.1", 8080), Address("0.0.0.0", 8080)


@pytest.mark.parametrize(
    ("text", "host", "port", "loopback"),
    [
        ("127.0.0.1:8080", "127.0.0.1", 8080, True),
        ("127.9.9.9:1", "127.9.9.9", 1, True),
        ("localhost:0", "localhost", 0, True),
        ("[::1]:8080", "::1", 8080, True),
        ("0.0.0.0:80", "0.0.0.0", 80, False),
        ("[::]:80", "::", 80, False),
        ("192.168.1.4:80", "192.168.1.4", 80, False),
        ("camera.local:80", "camera.local", 80, False),
        ("localhost.evil.example:80", "localhost.evil.example", 80, False),
    ],
)
def test_addresses(text: str, host: str, port: int, loopback: bool) -> None:
    address = Address.parse(text)
    assert (address.host, address.port, address.loopback, str(address)) == (host, port, loopback, text)


@pytest.mark.parametrize("text", ["", "8080", ":8080", "localhost", "localhost:", "localhost:65536", "a b:1", "[::1]"])
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(InputError, match="HOST:PORT, such as 127.0.0.1:8080"):
        Address.parse(text)


def test_another_address_needs_a_token() -> None:
    with pytest.raises(InputError, match=r"0\.0\.0\.0:8080 lets others in and needs a token of 16 characters"):
        Access(OPEN)
    with pytest.raises(InputError, match="at least 16 characters") as caught:
        Access(OPEN, "fifteen letters")
    assert "fifteen letters" not in str(caught.value)
    access = Access(OPEN, TOKEN)
    assert TOKEN not in repr(access) and access.session not in repr(access) and TOKEN not in access.cookie
    assert access.cookie.endswith("; Path=/; HttpOnly; SameSite=Strict")


def refused(access: Access, **parts: Any) -> int:
    """The status of the refusal; 0 where the request passes."""
    try:
        access.check(Request(parts.pop("method", "GET"), "/", parts.pop("query", {}), parts))
    except RefusedError as error:
        return error.status
    return 0


def test_the_token() -> None:
    access = Access(OPEN, TOKEN)
    assert refused(access) == refused(access, host="127.0.0.1") == 401
    assert refused(access, authorization=f"Bearer {TOKEN}") == 0
    assert refused(access, authorization=f"bearer  {TOKEN} ") == 0
    assert refused(access, authorization=f"Basic {TOKEN}") == 401
    assert refused(access, authorization=f"Bearer {TOKEN}x") == 401
    assert refused(access, authorization="Bearer ") == 401
    assert refused(access, query={"token": TOKEN}) == 0
    assert refused(access, query={"token": TOKEN[:-1]}) == refused(access, query={"token": "ä" * 16}) == 401
    assert refused(access, cookie=f"other=1; edgecv_8080={access.session}") == 0
    assert refused(access, cookie=f"edgecv_8080={TOKEN}") == 401  # the cookie is not the token
    assert refused(Access(OPEN, TOKEN), cookie=f"edgecv_8080={access.session}") == 401  # another start, another key
    assert refused(Access(LOCAL, TOKEN), host="127.0.0.1") == 401  # a token that is given counts everywhere


@pytest.mark.parametrize(
    ("host", "status"),
    [("127.0.0.1:8080", 0), ("localhost", 0), ("[::1]:9000", 0), ("LOCALHOST:1", 0)]
    + [(name, 403) for name in ("", "evil.example", "127.0.0.1.evil.example", "localhost@evil.example", "10.0.0.1")],
)
def test_a_foreign_name_that_points_here_is_refused(host: str, status: int) -> None:
    assert refused(Access(LOCAL), host=host) == status
    assert is_loopback("") is False


def test_other_sites_can_neither_embed_nor_post() -> None:
    access, host = Access(LOCAL), "127.0.0.1:8080"
    fetch = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"}
    assert refused(access, host=host, **fetch) == 403
    assert refused(access, host=host, **fetch | {"sec-fetch-site": "same-site"}) == 403  # another port of this machine
    assert refused(access, host=host, **fetch | {"sec-fetch-mode": "navigate"}) == 0  # a link on another page
    assert refused(access, host=host, **fetch | {"sec-fetch-site": "same-origin"}) == 0
    json = {"method": "POST", "host": host, "content-type": "application/json"}
    assert refused(access, **json) == refused(access, **json, origin=f"http://{host}") == 0
    assert refused(access, **json, origin="http://evil.example") == 403
    assert refused(access, **json, origin="http://127.0.0.1:9999") == refused(access, **json, origin="null") == 403
    assert refused(access, **json | {"content-type": "text/plain"}) == 415
    assert refused(access, method="POST", host=host) == 415
