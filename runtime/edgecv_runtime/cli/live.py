"""``edgecv run`` with cameras that are watched: several sources, sinks, the live page."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from edgecv_runtime.cli.output import remark

if TYPE_CHECKING:
    from types import FrameType

    from edgecv_runtime.model import Model

# What only plain `edgecv run` does, and what does it here.
_INSTEAD = {
    "top": "every result is given whole",
    "save": "use --sink DIR/",
}
_NAMED = re.compile(r"([A-Za-z][\w -]{0,31})=(.+)", re.DOTALL)


@contextmanager
def terminated_as_interrupted() -> Iterator[None]:
    """SIGTERM ends a run as Ctrl-C does: cameras are released and files closed whole (``docker stop``, ``kill``)."""
    import signal
    import threading

    if threading.current_thread() is not threading.main_thread():  # signals are the main thread's alone
        yield
        return

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def add_live_options(parser: argparse.ArgumentParser) -> None:
    """``--serve``, ``--token``, ``--sink`` and what else is for sources that are watched."""
    live = parser.add_argument_group("cameras", "several may be given: --source door=rtsp://... --source yard=0")
    live.add_argument("--serve", metavar="HOST:PORT", help="a page with the live picture; /metrics and /healthz")
    live.add_argument(
        "--token", metavar="T", help="what viewers must know (default: $EDGECV_TOKEN); needed unless HOST is loopback"
    )
    live.add_argument(
        "--sink",
        action="append",
        metavar="S",
        help="out.jsonl, out.mp4, a folder/ of pictures, window or mqtt://HOST/TOPIC; may be given several times",
    )
    live.add_argument("--keep", type=int, metavar="N", help="most pictures in a folder (default: 1000)")
    live.add_argument("--mqtt", metavar="URI", help="mqtt://USER@HOST/TOPIC, or mqtts://; ?discovery=homeassistant")
    live.add_argument(
        "--policy",
        metavar="P",
        help="latest, every or rate=N frames a second (default: latest of cameras, every of files)",
    )
    live.add_argument("--track", action="store_true", default=None, help="numbers that stay with an object")
    live.add_argument("--motion", action="store_true", default=None, help="leave out frames in which nothing moves")
    live.add_argument(
        "--deadline",
        type=float,
        metavar="MS",
        help="from a frame's capture to its result: where it is missed, or the device is hot, first the rate is "
        "lowered, then the input size (where BUNDLE holds several), then a --lighter bundle is taken",
    )
    live.add_argument("--lighter", action="append", metavar="B", help="a bundle for --deadline to fall back on")


def is_live(options: argparse.Namespace) -> bool:
    """Whether a run needs the pipeline: several sources, one that has a name, or one of the options above."""
    names = ("serve", "token", "sink", "keep", "mqtt", "policy", "track", "motion", "deadline", "lighter")
    return list(named_sources(options.source)) != ["0"] or any(getattr(options, name) is not None for name in names)


def run_live(model: Model, options: argparse.Namespace, instead: dict[str, Any]) -> int:
    """Until the sources end, somebody closes the window, or the process is told to stop.

    Parameters
    ----------
    model : Model
    options : Namespace
    instead : dict
        For the `Pipeline`: what is asked instead of the model, and what goes with it.
    """
    from itertools import islice

    from edgecv_runtime.errors import InputError
    from edgecv_runtime.pipeline import Pipeline
    from edgecv_runtime.sinks import WindowSink
    from edgecv_runtime.systemd.notify import Watchdog
    from edgecv_runtime.tracking import MotionGate

    for name, remedy in _INSTEAD.items():
        if getattr(options, name) is not None:
            raise InputError(f"--{name} does not go with several sources, --serve or --sink: {remedy}")
    if options.token is not None and options.serve is None:
        raise InputError("--token goes with --serve")
    if options.track and "finish" in instead:
        raise InputError("--track is for detections; the faces of a --gallery have numbers already")
    sources = named_sources(options.source)
    with ExitStack() as opened:
        chosen = {"model": model, **instead, **_governed(options, instead, opened)}
        sinks, preview = _sinks(model, options, len(sources), opened)
        pipeline = opened.enter_context(
            Pipeline(
                sources=sources,
                policy=options.policy,
                sinks=sinks,
                track=bool(options.track),
                motion=MotionGate if options.motion else None,
                **chosen,
            )
        )
        if preview is not None:
            preview.attach(pipeline)
            remark(f"{preview.url}{'' if options.token is None else '?token=...'}")
        opened.enter_context(Watchdog(pipeline.reports, gated=bool(options.motion)))
        windows = [sink for sink in sinks if isinstance(sink, WindowSink)]
        for _ in islice(pipeline, options.max_frames):
            if any(window.quit for window in windows):
                break
    return 0


def _governed(options: argparse.Namespace, instead: dict[str, Any], opened: ExitStack) -> dict[str, Any]:
    """``--deadline``: the governor, and the models it may take; they are closed with `opened`."""
    from edgecv_runtime.cli.command import backend_options
    from edgecv_runtime.errors import InputError
    from edgecv_runtime.model import load_second, load_smaller
    from edgecv_runtime.pipeline import Governor, ladder

    if options.deadline is None:
        if options.lighter:
            raise InputError("--lighter goes with --deadline")
        return {}
    if instead:
        raise InputError("--deadline is for the bundle alone, without --gallery and --tta")
    how = backend_options(options)
    smaller = [opened.enter_context(one) for one in load_smaller(options.bundle, **how)]
    lighter = [opened.enter_context(load_second(path, **how)) for path in options.lighter or ()]
    for one in (*smaller, *lighter) if options.score is not None else ():
        one.configure(score_threshold=options.score)
    levels = ladder(models=1 + len(lighter), sizes=1 + len(smaller))
    governor = Governor(options.deadline / 1000, levels)
    return {"governor": governor, "smaller": smaller, "lighter": lighter}


def named_sources(sources: list[str]) -> dict[str, str]:
    """By name: ``door=rtsp://...`` says it, else it is the source's number.

    Raises
    ------
    InputError
        Two of one name.
    """
    from pathlib import Path

    from edgecv_runtime.errors import InputError

    named: dict[str, str] = {}
    for number, source in enumerate(sources):
        match = None if Path(source).exists() else _NAMED.fullmatch(source)
        name, place = (match[1], match[2]) if match else (str(number), source)
        if name in named:
            raise InputError(f"every source needs a name of its own; there are two {name!r}")
        named[name] = place
    return named


def _sinks(model: Model, options: argparse.Namespace, cameras: int, opened: ExitStack) -> tuple[list[Any], Any]:
    """All of them, to be closed with `opened`; and the page, where there is one."""
    from edgecv_runtime.errors import InputError
    from edgecv_runtime.sinks.opening import is_folder, open_sink

    sinks: list[Any] = []
    names = [*(options.sink or ()), *([options.mqtt] if options.mqtt else ()), *(["-"] if options.json else ())]
    if options.keep is not None and not any(map(is_folder, names)):
        raise InputError("--keep goes with a folder of pictures: --sink pictures/")
    for name in names:
        sinks.append(open_sink(name, keep=options.keep if is_folder(name) else None, cameras=cameras))
        opened.callback(sinks[-1].close)
    if options.serve is None:
        return sinks, None
    from edgecv_runtime.serve import Preview, sliders_of

    preview = Preview(options.serve, token=options.token, sliders=sliders_of(model.manifest))
    opened.callback(preview.close)
    return [*sinks, preview], preview
