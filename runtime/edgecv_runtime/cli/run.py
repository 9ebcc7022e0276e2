"""``edgecv run BUNDLE --source S``: results for an image, a folder or a video."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from edgecv_runtime.cli.command import Command, add_backend_options, backend_options
from edgecv_runtime.cli.output import remark, say, say_json


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bundle", metavar="BUNDLE")
    parser.add_argument("--source", required=True, metavar="S", help="an image, a folder of images or a video file")
    parser.add_argument(
        "--top", type=int, metavar="K", help="classes to show (default: 5), or detections (default: all)"
    )
    parser.add_argument("--score", type=float, metavar="P", help="detections that score lower are left out")
    parser.add_argument("--max-frames", type=int, metavar="N", help="stop after N frames")
    parser.add_argument("--save", metavar="DIR", help="write every picture with its result drawn in as DIR/NAME.png")
    parser.add_argument("--json", action="store_true", help="one JSON object a line, one line a frame")
    add_backend_options(parser)


def _run(options: argparse.Namespace) -> int:
    from itertools import islice

    from edgecv_runtime.errors import InputError
    from edgecv_runtime.model import load
    from edgecv_runtime.streams import open_stream

    if (options.top is not None and options.top < 1) or (options.max_frames is not None and options.max_frames < 1):
        raise InputError("--top and --max-frames must be at least 1")
    with (
        load(options.bundle, **backend_options(options)) as model,
        open_stream(options.source) as frames,
    ):
        if options.score is not None:
            if model.task != "detection":
                raise InputError(f"--score is for detections; {options.bundle} is a {model.task} bundle")
            model.configure(score_threshold=options.score)
        top = options.top or (5 if model.task == "classification" else None)
        if not options.json:
            remark(repr(model))
        for frame in islice(frames, options.max_frames):
            result = model(frame.image)
            result = result if top is None else result.top(top)
            name = str(frame.path) if frame.path is not None else f"frame {frame.index} ({frame.timestamp:.2f} s)"
            if options.save is not None:
                _save(Path(options.save), frame, result)
            if options.json:
                line: dict[str, Any] = {"source": name, "index": frame.index, "timestamp": frame.timestamp}
                say_json(line | result.to_dict(), indent=None)
            else:
                say(f"{name}: {result.summary}")
    return 0


def _save(folder: Path, frame: Any, result: Any) -> None:
    """The picture with its result, under its own name; a second of that name gets its number too."""
    from edgecv_runtime.contact_sheet import write_picture
    from edgecv_runtime.drawing import draw

    stem = f"frame_{frame.index:06d}" if frame.path is None else frame.path.stem
    path = folder / f"{stem}.png"
    if frame.path is not None and path.exists():
        path = folder / f"{stem}_{frame.index:06d}.png"
    write_picture(path, draw(frame.image, result))


RUN = Command("run", "run a bundle on an image, a folder or a video", _configure, _run)
