"""From what a sink is called on the command line to the sink."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgecv_runtime.errors import InputError
from edgecv_runtime.sinks.jsonlines import JsonLinesSink
from edgecv_runtime.sinks.mqtt import MqttSink
from edgecv_runtime.sinks.pictures import PictureSink
from edgecv_runtime.sinks.video import CODECS, VideoSink
from edgecv_runtime.sinks.window import WindowSink
from edgecv_runtime.streams.uri import redacted

_LINES = (".jsonl", ".ndjson")


def is_folder(name: str) -> bool:
    """Whether a sink's name stands for a folder of pictures: by the slash at its end, or because there is one."""
    return name.endswith("/") or Path(name).is_dir()


def open_sink(name: str, *, keep: int | None = None, cameras: int = 1) -> Any:
    """Open a sink by name.

    Parameters
    ----------
    name : str
        ``out.jsonl`` or ``-`` (JSON Lines), ``out.mp4`` (``.avi``, ``.mkv``, ``.mov``; ``{camera}`` for several
        cameras), ``pictures/`` (a folder, by the slash or because it is one), ``window``, ``mqtt://`` or ``mqtts://``.
    keep : int, optional
        Most pictures in a folder. Default: 1000.
    cameras : int
        How many there will be.

    Returns
    -------
    Sink

    Raises
    ------
    EdgecvError
        There is no such kind of sink, or it cannot be opened.
    """
    suffix = Path(name).suffix.lower()
    folder = is_folder(name)
    if keep is not None and not folder:
        raise InputError(f"--keep is for a folder of pictures, such as pictures/; received {redacted(name)}")
    if name.startswith(("mqtt://", "mqtts://")):
        return MqttSink(name)
    if name == "window":
        return WindowSink()
    if folder:
        return PictureSink(name, keep=1000 if keep is None else keep)
    if name == "-" or suffix in _LINES:
        return JsonLinesSink(name)
    if suffix in CODECS:
        if cameras > 1 and "{camera}" not in name:
            raise InputError(
                f"a video holds one camera, and there are {cameras}: put {{camera}} in its name; received {name}"
            )
        return VideoSink(name)
    raise InputError(
        "a sink must be a file (.jsonl, .mp4, .avi, .mkv, .mov), a folder with a slash at its end, '-', 'window' or "
        f"mqtt://HOST/TOPIC; received {redacted(name)}"
    )
