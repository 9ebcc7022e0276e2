"""Who may see the cameras: the token, and the defences of a page that has none because only this machine reaches it."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import re
import secrets
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from edgecv_runtime.errors import InputError
from edgecv_runtime.serve.http import RefusedError, Request

SHORTEST_TOKEN = 16


@dataclass(frozen=True)
class Address:
    """Where a server listens.

    Attributes
    ----------
    host : str
    port : int
        0: any that is free.
    """

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Address:
        """Read ``HOST:PORT``; ``[::1]:8080`` for IPv6.

        Raises
        ------
        InputError
        """
        match = re.fullmatch(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9.-]+)):(\d{1,5})", text, re.ASCII)
        if match is None or int(match[3]) > 65535:
            raise InputError(f"an address to serve at is HOST:PORT, such as 127.0.0.1:8080; received {text!r}")
        return cls(match[1] or match[2], int(match[3]))

    @property
    def loopback(self) -> bool:
        """Whether only this machine reaches it."""
        return is_loopback(self.host)

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def is_loopback(host: str) -> bool:
    """Whether a name or an address stands for this machine, without asking a name server."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@dataclass(frozen=True)
class Access:
    """Decides about each request.

    With a token every request must bring it: as ``Authorization: Bearer TOKEN``, as ``?token=TOKEN``, or as the cookie
    that the page gets for the latter. The cookie is not the token: it is worth nothing after a restart.

    Without one, which is possible on loopback only, what remains is the browser on this machine that has been lured to
    a foreign page. That page must not read the cameras by making its own name point to 127.0.0.1 (DNS rebinding: the
    Host header gives it away), nor embed the picture (Sec-Fetch-Site), nor move a slider (Origin, JSON).

    Raises
    ------
    InputError
        The address is not loopback and there is no token, or the token is short.
    """

    address: Address
    token: str | None = field(default=None, repr=False)
    _key: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False)

    def __post_init__(self) -> None:
        if self.token is None and not self.address.loopback:
            raise InputError(
                f"serving at {self.address} lets others in and needs a token of {SHORTEST_TOKEN} characters or more: "
                "--token, or the variable EDGECV_TOKEN; 127.0.0.1 needs none"
            )
        if self.token is not None and (len(self.token) < SHORTEST_TOKEN or not self.token.isascii()):
            raise InputError(
                f"a token must have at least {SHORTEST_TOKEN} characters, all of ASCII; received a worse one"
            )

    @property
    def session(self) -> str:
        """The cookie's value."""
        return hmac.new(self._key, (self.token or "").encode(), hashlib.sha256).hexdigest()

    @property
    def cookie(self) -> str:
        """The header that sets it."""
        return f"{self.cookie_name}={self.session}; Path=/; HttpOnly; SameSite=Strict"

    @property
    def cookie_name(self) -> str:
        """With the port: a browser sends a host's cookies to all of its ports."""
        return f"edgecv_{self.address.port}"

    def check(self, request: Request) -> None:
        """Let a request pass.

        Raises
        ------
        RefusedError
        """
        if self.token is not None:
            if not self._knows_token(request):
                raise RefusedError(
                    401,
                    "a token is required: /?token=TOKEN in the browser, Authorization: Bearer TOKEN elsewhere",
                    {"WWW-Authenticate": 'Bearer realm="edgecv"'},
                )
        elif not is_loopback(_host_name(request.headers.get("host", ""))):
            raise RefusedError(403, "this server answers to localhost and 127.0.0.1 only")
        foreign = request.headers.get("sec-fetch-site") in ("cross-site", "same-site")
        if foreign and request.headers.get("sec-fetch-mode") != "navigate":
            raise RefusedError(403, "another site asks")
        if request.method == "POST":
            _check_post(request)

    def _knows_token(self, request: Request) -> bool:
        token = (self.token or "").encode()
        kind, _, bearer = request.headers.get("authorization", "").partition(" ")
        shown = bearer.strip() if kind.lower() == "bearer" else ""
        return (
            _same(shown, token)
            or _same(request.query.get("token", ""), token)
            or _same(request.cookies.get(self.cookie_name, ""), self.session.encode())
        )


def _same(given: str, secret: bytes) -> bool:
    """Compare in a time that does not tell how much of it is right."""
    return hmac.compare_digest(given.encode("utf-8", "replace"), secret)


def _host_name(host: str) -> str:
    """``localhost:8080`` without the port."""
    match = re.fullmatch(r"(?:\[([0-9A-Fa-f:.]+)\]|([^:\[\]/@]*))(?::\d{1,5})?", host)
    return "" if match is None else match[1] or match[2] or ""


def _check_post(request: Request) -> None:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":  # what a form on a foreign page cannot send
        raise RefusedError(415, "a POST must be application/json")
    origin = request.headers.get("origin")
    if origin is not None and urlsplit(origin).netloc.lower() != request.headers.get("host", "").lower():
        raise RefusedError(403, "another site asks")
