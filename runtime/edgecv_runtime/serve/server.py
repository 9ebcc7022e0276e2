"""The preview's server: one thread, one event loop, the standard library.

Why not `http.server.ThreadingHTTPServer`, or a small server of threads (waitress, cheroot): what is served here are
streams that last for hours. Each would hold a thread, and two hundred viewers four hundred threads, which contend with
the inference for the interpreter. On an event loop a viewer costs a socket and a few kilobytes; all of them are sent
the same bytes of the same picture, straight from where it was encoded, and a viewer that is slow finds the newest
picture when it is done with an older one.
"""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import threading
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress

from edgecv_runtime.errors import EdgecvError, InputError
from edgecv_runtime.serve.access import Access
from edgecv_runtime.serve.board import Board
from edgecv_runtime.serve.http import Limits, RefusedError, Request, Response, head, read_request

log = logging.getLogger("edgecv_runtime.serve")

_BOUNDARY = "edgecvframe"
_STATE_SECONDS = 1.0  # between two events of state
_LINGER = 0.5  # seconds in which a client may take the end of an answer
_BACKLOG = 128
_SEND_BUFFER = 128 << 10

Handler = Callable[[Request], Response]
Stream = Callable[[socket.socket, str], Coroutine[None, None, None]]


class Server:
    """Answers requests from a table of paths, and keeps streams of pictures and of results.

    Parameters
    ----------
    access : Access
    answers : mapping of (method, path) to callable
        Each takes a `Request` and gives a `Response`, quickly: all run on the one thread.
    state : callable
        The JSON text that goes to every stream of results once a second.
    cameras : callable
        Their names; none as long as there is no pipeline.
    limits : Limits

    Raises
    ------
    InputError
        The address is in use, or not this machine's.
    """

    def __init__(
        self,
        access: Access,
        answers: Mapping[tuple[str, str], Handler],
        state: Callable[[], bytes],
        cameras: Callable[[], list[str]],
        limits: Limits | None = None,
    ) -> None:
        self._access, self._answers, self._state, self._cameras = access, dict(answers), state, cameras
        self.limits = limits or Limits()
        self._listener = _listen(access)
        self.port: int = self._listener.getsockname()[1]
        self._loop = asyncio.new_event_loop()
        self._news = asyncio.Event()
        self._connections: dict[asyncio.Task[None], bool] = {}  # whether its request has been read
        self._state_text, self._state_time = b"", 0.0
        self._main: asyncio.Task[None] | None = None
        self._closed = False
        self.streams = 0
        self.board = Board(self._wake)
        self._streams: dict[str, tuple[str, Stream]] = {
            "/stream.mjpg": (f"multipart/x-mixed-replace; boundary={_BOUNDARY}", self._send_pictures),
            "/events": ("text/event-stream; charset=utf-8", self._send_events),
        }
        self._thread = threading.Thread(target=self._run, name="edgecv server", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Let go of all viewers and of the address. Calling it again does nothing."""
        if self._closed:
            return
        self._closed = True
        self.board.close()
        with suppress(RuntimeError):  # the loop is over already
            self._loop.call_soon_threadsafe(self._stop)
        self._thread.join(1.0)

    # -- the loop --------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._serve())
        except asyncio.CancelledError:
            pass
        finally:
            self._listener.close()
            self._loop.run_until_complete(asyncio.sleep(0))  # what was cancelled closes its socket
            self._loop.close()

    async def _serve(self) -> None:
        self._main = asyncio.current_task()
        try:
            while not self._closed:
                try:
                    connection, _ = await self._loop.sock_accept(self._listener)
                except OSError as error:  # no descriptor is left, or the client is gone already
                    log.warning("a viewer was not let in: %s", error)
                    await asyncio.sleep(0.1)
                    continue
                self._take(connection)
        finally:
            for task in list(self._connections):
                task.cancel()
            await asyncio.gather(*self._connections, return_exceptions=True)

    def _stop(self) -> None:
        if self._main is not None:
            self._main.cancel()

    def _take(self, connection: socket.socket) -> None:
        """Begin with a connection; where there are too many, in place of the one that has waited longest to ask."""
        connection.setblocking(False)
        if len(self._connections) >= self.limits.connections:
            idle = next((task for task, asked in self._connections.items() if not asked), None)
            if idle is None:
                connection.close()
                return
            self._connections.pop(idle)
            idle.cancel()
        task = self._loop.create_task(self._attend(connection))
        self._connections[task] = False

        def done(task: asyncio.Task[None]) -> None:  # not in the task: one that is cancelled early never begins
            self._connections.pop(task, None)
            connection.close()

        task.add_done_callback(done)

    def _wake(self) -> None:
        """From the encoding thread: there is something new."""
        with suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._announce)

    def _announce(self) -> None:
        self._news.set()
        self._news.clear()  # all who wait have been told

    def _state_now(self) -> bytes:
        """Told anew once a second, whoever asks."""
        now = self._loop.time()
        if not self._state_text or now - self._state_time >= _STATE_SECONDS:
            self._state_text, self._state_time = self._state(), now
        return self._state_text

    # -- one connection --------------------------------------------------------------------------------------------

    async def _attend(self, connection: socket.socket) -> None:
        try:
            await self._converse(connection)
        except (OSError, asyncio.TimeoutError):
            pass  # the client went away, or does not take what it asked for
        except Exception:  # whatever one connection brings about ends with it
            log.exception("a connection failed")

    async def _converse(self, connection: socket.socket) -> None:
        without_body = False
        try:
            request = await read_request(connection, self.limits)
            if request is None:
                return
            task = asyncio.current_task()
            if task in self._connections:
                self._connections[task] = True
            without_body = request.method == "HEAD"
            self._access.check(request)
            stream = self._streams.get(request.path) if request.method == "GET" else None
            if stream is not None:
                await self._stream(connection, request, *stream)
                return
            response = self._answer(request)
        except RefusedError as refused:
            response = Response(f"{refused}\n".encode(), status=refused.status, headers=refused.headers)
        await self._send(connection, response.encoded(without_body=without_body))
        await self._linger(connection)

    def _answer(self, request: Request) -> Response:
        method = "GET" if request.method == "HEAD" else request.method
        handler = self._answers.get((method, request.path))
        if handler is None:
            allowed = sorted({verb for verb, path in self._answers if path == request.path})
            if allowed or request.path in self._streams:
                raise RefusedError(405, "this address does not take that", {"Allow": ", ".join(allowed) or "GET"})
            raise RefusedError(404, "there is nothing at this address")
        try:
            return handler(request)
        except EdgecvError as error:
            raise RefusedError(400, " ".join(str(error).split())) from None
        except RefusedError:
            raise
        except Exception as error:
            log.exception("%s %s failed", request.method, request.path)
            raise RefusedError(500, "this failed; the log says why") from error

    async def _send(self, connection: socket.socket, *pieces: bytes) -> None:
        """All of it within the time a client may take."""
        for piece in pieces:
            await asyncio.wait_for(self._loop.sock_sendall(connection, piece), self.limits.write_seconds)

    async def _linger(self, connection: socket.socket) -> None:
        """Close in a way that lets the client read the answer although it may still be sending."""
        connection.shutdown(socket.SHUT_WR)

        async def rest() -> None:
            for _ in range(16):
                if not await self._loop.sock_recv(connection, 4096):
                    return

        await asyncio.wait_for(rest(), _LINGER)

    # -- streams ---------------------------------------------------------------------------------------------------

    async def _stream(self, connection: socket.socket, request: Request, kind: str, send: Stream) -> None:
        if self.streams >= self.limits.streams:
            raise RefusedError(503, "as many watch as may", {"Retry-After": "10"})
        camera = self._camera(request)
        # Little waits in the system's buffers: what a slow viewer gets is not from seconds ago.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await self._send(connection, head(200, {"Content-Type": kind, "X-Accel-Buffering": "no"}))
        self.streams += 1
        self.board.watch(camera, 1)
        tasks = [self._loop.create_task(work) for work in (send(connection, camera), self._gone(connection))]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            self.streams -= 1
            self.board.watch(camera, -1)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _camera(self, request: Request) -> str:
        """The camera that is asked for; the first where none is named."""
        cameras = self._cameras()
        if not cameras:
            raise RefusedError(503, "the cameras are not there yet", {"Retry-After": "1"})
        wanted = request.query.get("camera", cameras[0])
        if wanted not in cameras:
            raise RefusedError(404, "there is no such camera")
        return wanted

    async def _gone(self, connection: socket.socket) -> None:
        """Until the client closes: it may go while there is nothing to send."""
        while await self._loop.sock_recv(connection, 1024):
            pass

    async def _send_pictures(self, connection: socket.socket, camera: str) -> None:
        """Each time the newest; what came while the last was on its way is passed over."""
        seen, boundary = 0, f"\r\n--{_BOUNDARY}\r\n".encode()
        await self._send(connection, boundary)
        while True:
            number, picture, _ = self.board.newest(camera)
            if number == seen or not picture:
                await self._news.wait()
                continue
            seen = number
            kind = f"Content-Type: image/jpeg\r\nContent-Length: {len(picture)}\r\n\r\n".encode()
            # The boundary at once: browsers show a part when they have seen where it ends.
            await self._send(connection, kind, picture, boundary)

    async def _send_events(self, connection: socket.socket, camera: str) -> None:
        seen, told = 0, 0.0
        await self._send(connection, b"retry: 1000\n\n")
        while True:
            now = self._loop.time()
            if now - told >= _STATE_SECONDS:
                told = now
                await self._send(connection, b"event: state\ndata: ", self._state_now(), b"\n\n")
            number, _, event = self.board.newest(camera)
            if number != seen and event:
                seen = number
                await self._send(connection, b"event: outcome\ndata: ", event, b"\n\n")
                continue
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._news.wait(), max(0.01, told + _STATE_SECONDS - self._loop.time()))


def read_json(request: Request) -> dict[str, object]:
    """The JSON object in a request's body.

    Raises
    ------
    RefusedError
    """
    try:
        value = json.loads(request.body)
    except (ValueError, RecursionError):
        raise RefusedError(400, "the body is not JSON") from None
    if not isinstance(value, dict):
        raise RefusedError(400, "the body is not a JSON object")
    return value


def _listen(access: Access) -> socket.socket:
    address = access.address
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address.host, address.port))
        listener.listen(_BACKLOG)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        raise InputError(f"cannot serve at {address}: {error.strerror or error}; choose another port") from None
    return listener
