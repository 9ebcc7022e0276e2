"""``edgecv run BUNDLE --source S``: results for pictures, a video or a camera; `live` has what needs more."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgecv_runtime.cli.command import Command, add_accelerator_options, add_backend_options, backend_options
from edgecv_runtime.cli.gallery_options import add_gallery_options
from edgecv_runtime.cli.gallery_options import opened as open_gallery
from edgecv_runtime.cli.live import add_live_options, is_live, named_sources, run_live, terminated_as_interrupted
from edgecv_runtime.cli.output import remark, say, say_json

if TYPE_CHECKING:
    from edgecv_runtime.faces.recognition import FaceRecognizer
    from edgecv_runtime.model import Model
    from edgecv_runtime.pipeline.outcome import CameraReport


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bundle", metavar="BUNDLE")
    parser.add_argument(
        "--source",
        required=True,
        action="append",
        metavar="S",
        help="an image, a folder, a video, a camera (0, csi://0) or a server (rtsp://, http://); NAME=S names it; of "
        "a model of signals or volumes a .npy or .npz file, or a folder of them",
    )
    parser.add_argument(
        "--top", type=int, metavar="K", help="classes to show (default: 5), or detections or faces (default: all)"
    )
    parser.add_argument("--score", type=float, metavar="P", help="detections that score lower are left out")
    parser.add_argument("--max-frames", type=int, metavar="N", help="stop after N frames")
    parser.add_argument(
        "--tta",
        action="append",
        metavar="T",
        help="test-time augmentation: transforms such as hflip, scale:1.1, ten-crop, beside the plain picture",
    )
    parser.add_argument("--save", metavar="DIR", help="write every picture with its result drawn in as DIR/NAME.png")
    parser.add_argument("--json", action="store_true", help="one JSON object a line, one line a frame")
    add_backend_options(parser)
    add_accelerator_options(parser)
    add_live_options(parser)
    faces = parser.add_argument_group("people", "BUNDLE detects faces, and a gallery says whose they are")
    faces.add_argument("--gallery", metavar="GALLERY", help="a file, or the URL of a server")
    faces.add_argument("--embedder", metavar="E", help="the bundle that the gallery was made with")
    add_gallery_options(parser)
    faces.add_argument(
        "--quality", metavar="GATE", help="off, standard or strict: a worse face gets no name (default: standard)"
    )
    faces.add_argument(
        "--alignment",
        metavar="HOW",
        help="auto: by the detector's landmarks; box: by the box alone, for a detector without any (default: auto)",
    )
    faces.add_argument(
        "--threshold", type=float, metavar="T", help="least similarity of a known face (default: the gallery's)"
    )
    faces.add_argument(
        "--window", type=int, metavar="N", help="latest frames of a video that vote on a name (default: 30)"
    )


_TOP = 5  # classes shown
_OF_PEOPLE = ("embedder", "key_file", "cache", "quality", "alignment", "threshold", "window")


def _run(options: argparse.Namespace) -> int:
    from edgecv_runtime.errors import InputError
    from edgecv_runtime.model import load

    _check(options)
    with ExitStack() as opened:
        opened.enter_context(terminated_as_interrupted())
        model = opened.enter_context(load(options.bundle, **backend_options(options)))
        if options.score is not None:
            if model.task != "detection":
                raise InputError(f"--score is for detections; {options.bundle} is a {model.task} bundle")
            model.configure(score_threshold=options.score)
        if not model.manifest.inputs[0].is_image:
            return _run_arrays(model, options)
        if is_live(options):
            return run_live(model, options, _instead(model, options, opened))
        return _run_frames(model, options, opened)


def _check(options: argparse.Namespace) -> None:
    """Refuse what no bundle could be run with."""
    from edgecv_runtime.errors import InputError

    if (options.top is not None and options.top < 1) or (options.max_frames is not None and options.max_frames < 1):
        raise InputError("--top and --max-frames must be at least 1")
    without = [name for name in _OF_PEOPLE if getattr(options, name) is not None]
    if options.gallery is None and without:
        raise InputError(f"--{without[0].replace('_', '-')} goes with --gallery, which names the people")
    if options.tta and options.gallery is not None:
        raise InputError("choose one of --tta and --gallery")


def _run_frames(model: Model, options: argparse.Namespace, opened: ExitStack) -> int:
    """Results for the pictures of one source; what is opened is closed with `opened`."""
    from itertools import islice

    from edgecv_runtime.streams import open_stream

    frames = opened.enter_context(open_stream(options.source[0]))
    report = opened.enter_context(_watched(frames))
    answer = _answer(model, options, opened)
    top = options.top or (_TOP if model.task == "classification" else None)
    if not options.json:
        remark(repr(model))
    for frame in islice(frames, options.max_frames):
        result = answer(frame.pixels if answer is model else frame.image)  # a model converts what it looks at
        result = result if top is None else result.top(top)
        name = str(frame.path) if frame.path is not None else f"frame {frame.index} ({frame.timestamp:.2f} s)"
        if options.save is not None:
            _save(Path(options.save), frame, getattr(result, "detections", result))
        if options.json:
            line: dict[str, Any] = {"source": name, "index": frame.index, "timestamp": frame.timestamp}
            say_json(line | result.to_dict(), indent=None)
        else:
            say(f"{name}: {result.summary}")
        report.frames_out += 1
    return 0


def _run_arrays(model: Model, options: argparse.Namespace) -> int:
    """Results for the signals or volumes of a file or folder."""
    from itertools import islice

    from edgecv_runtime.arrays import named_examples
    from edgecv_runtime.errors import InputError

    given = [f"--{name}" for name in ("save", "gallery", "tta") if getattr(options, name) is not None]
    if given or is_live(options):
        raise InputError(f"{given[0] if given else 'the pipeline'} is for pictures; this is a {model.task} bundle")
    if not options.json:
        remark(repr(model))
    source = named_examples(options.source[0], model.manifest.inputs[0])
    for index, (name, example) in enumerate(islice(source, options.max_frames)):
        result = model(example).top(options.top or _TOP)
        if options.json:
            say_json({"source": name, "index": index} | result.to_dict(), indent=None)
        else:
            say(f"{name}: {result.summary}")
    return 0


@contextmanager
def _watched(frames: Any) -> Iterator[CameraReport]:
    """Signs of life for systemd, where it waits for them, as long as results are counted."""
    from edgecv_runtime.pipeline.outcome import CameraReport
    from edgecv_runtime.systemd.notify import Watchdog

    report = CameraReport("0", frames.name, "running")

    def reports() -> list[CameraReport]:
        report.state = getattr(frames, "state", report.state)
        return [report]

    with Watchdog(reports):
        yield report


def _answer(model: Model, options: argparse.Namespace, opened: ExitStack) -> Any:
    """What is asked about each picture; its parts are closed with `opened`."""
    if options.tta:
        return _augmented(model, options.tta)
    if options.gallery is None:
        return model
    return _recognizer(model, options, opened)(_voting(options.source[0], options.window))


def _instead(model: Model, options: argparse.Namespace, opened: ExitStack) -> dict[str, Any]:
    """What a pipeline is given beside the options of cameras: what is asked instead of the model, if not that."""
    from edgecv_runtime.pipeline import Answering

    if options.tta:
        return {"model": Answering(model, lambda one: _augmented(one, options.tta))}
    if options.gallery is None:
        return {}
    recognizer, sources = _recognizer(model, options, opened), named_sources(options.source)
    looking = recognizer(None)
    return {
        "model": Answering(model, lambda one: looking.look),
        "workers": 1,  # the embedder serves one at a time
        "finish": lambda camera: recognizer(_voting(sources[camera], options.window)).name,
    }


def _augmented(model: Model, given: list[str]) -> Any:
    from edgecv_runtime.augmented import AugmentedModel

    return AugmentedModel(model, ["identity", *(name for names in given for name in names.split())])


def _recognizer(detector: Any, options: argparse.Namespace, opened: ExitStack) -> Callable[[Any], FaceRecognizer]:
    """From a vote to what names the faces of a picture; its parts are closed with `opened`."""
    from edgecv_runtime.errors import InputError
    from edgecv_runtime.faces.pipeline import FacePipeline
    from edgecv_runtime.faces.recognition import FaceRecognizer
    from edgecv_runtime.model import load_second

    if options.embedder is None:
        raise InputError("--gallery needs --embedder E.edgecv, the bundle that the gallery was made with")
    embedder = opened.enter_context(load_second(options.embedder, **backend_options(options)))
    pipeline = FacePipeline(detector, embedder, options.quality or "standard", options.alignment or "auto")
    gallery = opened.enter_context(open_gallery(options, read_only=True, fingerprint=pipeline.fingerprint))
    return lambda voting: FaceRecognizer(pipeline, gallery, options.threshold, voting)


def _voting(source: str, window: int | None) -> Any:
    """The vote of the frames of one scene; None for pictures, which have nothing to do with one another."""
    from edgecv_runtime.errors import InputError
    from edgecv_runtime.faces.voting import Voting
    from edgecv_runtime.images import IMAGE_SUFFIXES

    path = Path(source)
    if "://" in source or not (path.is_dir() or path.suffix.lower() in IMAGE_SUFFIXES):
        return Voting() if window is None else Voting(window)
    if window is not None:
        raise InputError("--window is for the frames of a video; pictures are named one by one")
    return None


def _save(folder: Path, frame: Any, result: Any) -> None:
    """The picture with its result, under its own name; a second of that name gets its number too."""
    from edgecv_runtime.contact_sheet import write_picture
    from edgecv_runtime.drawing import draw

    stem = f"frame_{frame.index:06d}" if frame.path is None else frame.path.stem
    path = folder / f"{stem}.png"
    if frame.path is not None and path.exists():
        path = folder / f"{stem}_{frame.index:06d}.png"
    write_picture(path, draw(frame.image, result))


RUN = Command("run", "run a bundle on pictures, videos and cameras", _configure, _run)
