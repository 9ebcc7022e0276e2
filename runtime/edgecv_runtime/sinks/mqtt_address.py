"""An MQTT broker's address, taken apart: ``mqtt://USER:PASSWORD@HOST:PORT/TOPIC?option=value``."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote, urlsplit

from edgecv_runtime.errors import InputError
from edgecv_runtime.streams.uri import redacted

PASSWORD_VARIABLE = "EDGECV_MQTT_PASSWORD"

_PORTS = {"mqtt": 1883, "mqtts": 8883}
_OPTIONS = ("qos", "rate", "queue", "discovery", "client")
_FORBIDDEN = ("+", "#", "\0")  # wildcards: nothing can be published there


@dataclass(frozen=True)
class MqttAddress:
    """Where and how to publish.

    Attributes
    ----------
    host, port, tls
    user, password : str or None
        Never part of `repr` or `name`.
    topic : str
        Everything is published below it.
    qos : int
        0: what is under way when the connection breaks is lost. 1: it is sent again, and may then come twice.
    rate : float
        Most results a second for each camera; 0: all of them.
    queue : int
        Messages that wait while there is no connection.
    discovery : str or None
        Home Assistant's discovery prefix, usually ``homeassistant``; None: no discovery.
    client : str
        The client's id.
    name : str
        The address without credentials.
    """

    host: str
    port: int
    topic: str
    name: str
    client: str
    tls: bool = False
    user: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)
    qos: int = 1
    rate: float = 0.0
    queue: int = 256
    discovery: str | None = None

    @classmethod
    def parse(cls, uri: str) -> MqttAddress:
        """Read ``mqtt[s]://[USER[:PASSWORD]@]HOST[:PORT][/TOPIC][?qos=1&rate=2&queue=256&discovery=homeassistant]``.

        Without a password in it, ``$EDGECV_MQTT_PASSWORD`` is used, which other users of the machine cannot see.

        Raises
        ------
        InputError
            It is no such address.
        """
        shown = redacted(uri)
        parts = urlsplit(uri)
        try:
            port = parts.port
        except ValueError:
            raise InputError(f"the port of {shown} must be a number from 0 to 65535") from None
        if parts.scheme not in _PORTS or not parts.hostname:
            raise InputError(f"a broker's address is mqtt://HOST/TOPIC or mqtts://HOST/TOPIC; received {shown}")
        options = dict(parse_qsl(parts.query, keep_blank_values=True))
        unknown = sorted(set(options) - set(_OPTIONS))
        if unknown:
            raise InputError(f"{parts.scheme}:// takes {', '.join(_OPTIONS)} behind the ?; received {unknown[0]!r}")
        topic = unquote(parts.path).strip("/") or f"edgecv/{socket.gethostname()}"
        if any(letter in topic for letter in _FORBIDDEN):
            raise InputError(f"a topic to publish to must not hold + or #; received {topic!r}")
        user = None if parts.username is None else unquote(parts.username)
        password = None if parts.password is None else unquote(parts.password)
        if user is not None and password is None:
            password = os.environ.get(PASSWORD_VARIABLE)
        return cls(
            host=parts.hostname,
            port=port or _PORTS[parts.scheme],
            topic=topic,
            name=shown,
            client=options.get("client") or f"edgecv-{socket.gethostname()}-{os.getpid()}",
            tls=parts.scheme == "mqtts",
            user=user,
            password=password,
            qos=int(_number(options, "qos", 1, 0, 1, whole=True)),
            rate=_number(options, "rate", 0, 0, 1000),
            queue=int(_number(options, "queue", 256, 1, 100_000, whole=True)),
            discovery=options.get("discovery") or None,
        )


def _number(
    options: dict[str, str], name: str, default: float, low: float, high: float, *, whole: bool = False
) -> float:
    text = options.get(name)
    if text is None:
        return default
    try:
        value = float(int(text)) if whole else float(text)
    except ValueError:
        value = low - 1
    if not low <= value <= high:
        kind = "a whole number" if whole else "a number"
        raise InputError(f"{name} must be {kind} from {low:g} to {high:g}; received {text!r}")
    return value
