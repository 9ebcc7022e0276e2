"""The live page of a pipeline: a sink that people look at with a browser."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from edgecv_runtime.errors import InputError
from edgecv_runtime.health import look
from edgecv_runtime.pipeline.outcome import CameraReport, Outcome
from edgecv_runtime.plain_json import json_text
from edgecv_runtime.serve import metrics
from edgecv_runtime.serve.access import Access, Address
from edgecv_runtime.serve.http import Limits, RefusedError, Request, Response
from edgecv_runtime.serve.server import Server, read_json
from edgecv_runtime.serve.sliders import Slider
from edgecv_runtime.streams.states import State

TOKEN_VARIABLE = "EDGECV_TOKEN"

_PAGE = Path(__file__).parent / "page"
_FILES = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/live.js": ("live.js", "text/javascript; charset=utf-8"),
    "/charts.js": ("charts.js", "text/javascript; charset=utf-8"),
    "/live.css": ("live.css", "text/css; charset=utf-8"),
}
_WELL = (State.RUNNING.value, State.ENDED.value)


class Watched(Protocol):
    """What the page shows and moves: a `Pipeline`."""

    def reports(self) -> list[CameraReport]: ...

    def configure(self, **parameters: Any) -> None: ...


class Preview:
    """Serve one page with the live picture, the results, charts and sliders; ``/metrics`` and ``/healthz``.

    It is a sink: give it to the pipeline, then the pipeline to `attach`. It speaks plain HTTP: a token that crosses a
    network which is not one's own belongs into an SSH tunnel or behind a proxy that speaks TLS.

    Parameters
    ----------
    address : str
        ``HOST:PORT``. Anything but loopback needs a token.
    token : str, optional
        At least 16 characters. Default: the variable EDGECV_TOKEN, which other users of the machine cannot see.
    sliders : sequence of Slider
        As `sliders_of` gives them.
    limits : Limits, optional

    Raises
    ------
    InputError
        The address is none, in use, or lets others in without a token.

    Examples
    --------
    >>> preview = Preview("127.0.0.1:8080", sliders=sliders_of(model.manifest))            # doctest: +SKIP
    >>> with Pipeline(model, ["0"], sinks=[preview]) as pipeline:                           # doctest: +SKIP
    ...     preview.attach(pipeline)
    ...     pipeline.run()
    """

    def __init__(
        self,
        address: str = "127.0.0.1:8080",
        *,
        token: str | None = None,
        sliders: Sequence[Slider] = (),
        limits: Limits | None = None,
    ) -> None:
        self._access = Access(Address.parse(address), token or os.environ.get(TOKEN_VARIABLE) or None)
        self._files = {path: (_PAGE / name).read_bytes() for path, (name, _) in _FILES.items()}
        self._sliders = {slider.name: slider for slider in sliders}
        self._values = {slider.name: slider.value for slider in sliders}
        self._watched: Watched | None = None
        answers: dict[tuple[str, str], Any] = {("GET", path): self._file for path in _FILES}
        answers |= {
            ("GET", "/state"): lambda request: Response(self._state(), "application/json"),
            ("GET", "/metrics"): self._metrics,
            ("GET", "/healthz"): self._health,
            ("POST", "/parameters"): self._configure,
        }
        self._server = Server(self._access, answers, self._state, self._names, limits)

    def attach(self, watched: Watched) -> None:
        """Say whose cameras these are."""
        self._watched = watched

    @property
    def url(self) -> str:
        """Where the page is; without the token."""
        return f"http://{Address(self._access.address.host, self._server.port)}/"

    @property
    def viewers(self) -> int:
        """Open streams of pictures and of results."""
        return self._server.streams

    def write(self, outcome: Outcome) -> None:
        """Show an outcome to those who watch; it waits for nobody."""
        self._server.board.put(outcome)

    def close(self) -> None:
        """Let the viewers go. Calling it again does nothing."""
        self._server.close()

    def __repr__(self) -> str:
        return f"<Preview {self.url}: {self.viewers} streams>"

    # -- answers, all on the server's thread -----------------------------------------------------------------------

    def _file(self, request: Request) -> Response:
        if request.path == "/" and "token" in request.query:  # it has been checked: out of the address bar with it
            return Response(b"", status=303, headers={"Location": "/", "Set-Cookie": self._access.cookie})
        return Response(self._files[request.path], _FILES[request.path][1])

    def _reports(self) -> list[CameraReport]:
        return [] if self._watched is None else self._watched.reports()

    def _names(self) -> list[str]:
        return [report.name for report in self._reports()]

    def _state(self) -> bytes:
        machine = look()
        return json_text(
            {
                "cameras": [_camera(report) for report in self._reports()],
                "sliders": [
                    {**slider.to_dict(), "value": self._values[name]} for name, slider in self._sliders.items()
                ],
                "memory": machine.memory,
                "temperature": machine.hottest,
                "viewers": self.viewers,
            }
        ).encode()

    def _metrics(self, request: Request) -> Response:
        text = metrics.exposition(self._reports(), look(), self.viewers)
        return Response(text.encode(), metrics.CONTENT_TYPE)

    def _health(self, request: Request) -> Response:
        states = {report.name: report.state for report in self._reports()}
        well = sum(state in _WELL for state in states.values())
        status = "ok" if well == len(states) else "degraded" if well else "failing"
        if not states:
            status = "starting"
        body = json_text({"status": status, "cameras": states}).encode()
        return Response(body, "application/json", 200 if well else 503)

    def _configure(self, request: Request) -> Response:
        values = {name: self._value(name, value) for name, value in read_json(request).items()}
        if self._watched is None:
            raise RefusedError(503, "the pipeline is not there yet", {"Retry-After": "1"})
        if values:
            self._watched.configure(**values)
            self._values.update(values)
        return Response(json_text(self._values).encode(), "application/json")

    def _value(self, name: str, value: object) -> float:
        slider = self._sliders.get(name)
        if slider is None:
            raise InputError(f"there is no slider of that name; there are {', '.join(self._sliders) or 'none'}")
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not slider.low <= value <= slider.high:
            raise InputError(f"{name} must be a number from {slider.low:g} to {slider.high:g}")
        return float(value)


def _camera(report: CameraReport) -> dict[str, Any]:
    return {
        "name": report.name,
        "source": report.source,
        "state": report.state,
        "reason": report.reason,
        "frames_in": report.frames_in,
        "frames_out": report.frames_out,
        "dropped": report.dropped,
        "stale": report.stale,
        "reconnects": max(0, report.connections - 1),
        "frame_age": report.frame_age,
    }
