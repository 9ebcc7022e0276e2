"""From a source's name to a stream of its frames."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edgecv_runtime.errors import MissingFileError
from edgecv_runtime.streams.files import open_files
from edgecv_runtime.streams.live import LiveStream, Policy
from edgecv_runtime.streams.sources import LiveSource, OpenCVSource, PatternSource
from edgecv_runtime.streams.states import Backoff, StreamEvent
from edgecv_runtime.streams.stream import Stream
from edgecv_runtime.streams.uri import LiveUri, parse_live


def open_stream(
    source: str | Path,
    policy: str | None = None,
    *,
    backoff: Backoff | None = None,
    stall_after: float = 1.0,
    give_up_after: float = 10.0,
    stale_after: float = 1.0,
    on_event: Callable[[StreamEvent], object] | None = None,
) -> Stream:
    """Open a picture, a folder, a video, a camera or a server.

    Parameters
    ----------
    source : str or Path
        An image, a folder, a glob or a video; a camera (``0``, ``/dev/video0?size=1280x720&fps=30``, ``csi://0``);
        ``rtsp://``, ``http://`` (MJPEG, HLS); ``gst://PIPELINE``; ``test://bars?fps=30&size=1280x720``.
    policy : str, optional
        ``"latest"``: the newest frame only, older ones are dropped and counted: the default of live sources.
        ``"every"``: nothing is dropped, the source waits: the default of files. ``"rate=N"``: at most N a second.
        A video with ``"latest"`` runs by its own clock, as a camera would.
    backoff : Backoff, optional
        How a lost source is tried again. Default: for ever, after 0.5 s, 1 s, 2 s … 30 s.
    stall_after, give_up_after : float
        Seconds without a frame after which a live stream counts as stalled, and is connected anew.
    stale_after : float
        Age in seconds above which a frame is marked stale.
    on_event : callable, optional
        Called with each change of a live stream's state, in a thread of its own.

    Returns
    -------
    Stream
        An iterator of `Frame`, to be closed: use it with ``with``. Of a live source, a `LiveStream`.

    Raises
    ------
    MissingFileError
        No such file, folder or camera.
    InputError
        It is neither an image nor a video, or an argument is out of range.
    UnsupportedError
        A scheme that is not known, or that the libraries here cannot read.

    Examples
    --------
    >>> with ert.open_stream("rtsp://camera/live") as frames:                              # doctest: +SKIP
    ...     for frame in frames:
    ...         print(frame.index, frame.age, frame.dropped)
    """
    live = parse_live(source)
    options: dict[str, Any] = {
        "backoff": backoff,
        "stall_after": stall_after,
        "give_up_after": give_up_after,
        "stale_after": stale_after,
        "on_event": on_event,
    }
    if live is None:
        return open_files(source, policy or "every", options)
    chosen = Policy.named(policy or "latest")
    first = make_source(live)  # what can never be opened is refused here
    made = [first]

    def connect() -> LiveSource:
        return made.pop() if made else make_source(live)

    if live.scheme == "test":  # its numbers go on over its connections
        return LiveStream(live.name, lambda: first, chosen, **options)
    return LiveStream(live.name, connect, chosen, **options)


def make_source(uri: LiveUri) -> LiveSource:
    """The source behind a name.

    Raises
    ------
    UnsupportedError
        The library that would read it cannot.
    MissingFileError
        No such camera.
    """
    if uri.scheme == "test":
        return PatternSource(uri)
    if uri.scheme == "csi":
        from edgecv_runtime.streams.csi import make_csi_source

        return make_csi_source(uri)
    if uri.scheme == "v4l2" and not Path(uri.address).exists():
        there = sorted(str(path) for path in Path("/dev").glob("video*"))
        raise MissingFileError(f"no camera at {uri.address}; there {'are ' + ', '.join(there) if there else 'is none'}")
    if uri.scheme in ("rtsp", "rtsps", "http", "https") and importlib.util.find_spec("av") is not None:
        from edgecv_runtime.streams.network import NetworkSource

        return NetworkSource(uri)
    return OpenCVSource(uri)
