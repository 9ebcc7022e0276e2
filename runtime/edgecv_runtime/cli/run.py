"""``edgecv run BUNDLE --source S``: results for an image, a folder or a video."""

from __future__ import annotations

import argparse
from typing import Any

from edgecv_runtime.cli.command import Command, add_backend_options
from edgecv_runtime.cli.output import remark, say, say_json


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bundle", metavar="BUNDLE")
    parser.add_argument("--source", required=True, metavar="S", help="an image, a folder of images or a video file")
    parser.add_argument("--top", type=int, default=5, metavar="K", help="classes to show (default: 5)")
    parser.add_argument("--max-frames", type=int, metavar="N", help="stop after N frames")
    parser.add_argument("--json", action="store_true", help="one JSON object a line, one line a frame")
    add_backend_options(parser)


def _run(options: argparse.Namespace) -> int:
    from itertools import islice

    from edgecv_runtime.errors import InputError
    from edgecv_runtime.model import load
    from edgecv_runtime.streams import open_stream

    if options.top < 1 or (options.max_frames is not None and options.max_frames < 1):
        raise InputError("--top and --max-frames must be at least 1")
    with (
        load(options.bundle, backend=options.backend, device=options.device, threads=options.threads) as model,
        open_stream(options.source) as frames,
    ):
        if not options.json:
            remark(repr(model))
        for frame in islice(frames, options.max_frames):
            result = model(frame.image).top(options.top)
            name = str(frame.path) if frame.path is not None else f"frame {frame.index} ({frame.timestamp:.2f} s)"
            if options.json:
                line: dict[str, Any] = {"source": name, "index": frame.index, "timestamp": frame.timestamp}
                say_json(line | result.to_dict(), indent=None)
            else:
                say(f"{name}: " + ", ".join(f"{label} {score:.3f}" for _, score, label in result))
    return 0


RUN = Command("run", "run a bundle on an image, a folder or a video", _configure, _run)
