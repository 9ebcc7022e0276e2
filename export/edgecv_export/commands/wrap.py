"""``edgecv wrap model.{tflite,onnx,xml} --task T -o OUT.edgecv``: bring your own model."""

from __future__ import annotations

import argparse

from edgecv_export.commands.labels import read_labels
from edgecv_runtime.cli.command import Command, add_json_option
from edgecv_runtime.cli.output import kilobytes, say, say_json
from edgecv_runtime.errors import InputError
from edgecv_runtime.manifest import Normalization, Resize


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="model.tflite, model.onnx, or model.xml with its .bin beside it")
    parser.add_argument("-o", "--output", required=True, metavar="OUT.edgecv")
    parser.add_argument("--task", required=True, metavar="T", help="classification")
    parser.add_argument("--decoder", metavar="D", help="how the output is read (default: the task's own)")
    parser.add_argument(
        "--activation",
        default="none",
        metavar="A",
        help="none, softmax or sigmoid, yet to be applied (default: none)",
    )
    parser.add_argument("--color", default="RGB", metavar="C", help="RGB, BGR or GRAY (default: RGB)")
    parser.add_argument("--layout", metavar="L", help="NHWC or NCHW (default: read off the input's shape)")
    parser.add_argument(
        "--resize", default="stretch", metavar="R", help="stretch, letterbox or crop (default: stretch)"
    )
    parser.add_argument("--crop-fraction", type=float, metavar="F", help="with --resize crop; 0.875 is common")
    parser.add_argument("--interpolation", default="linear", metavar="I", help="nearest, linear, cubic or area")
    parser.add_argument(
        "--mean", type=float, nargs="+", metavar="X", help="of a pixel 0..255: one value, or one a channel"
    )
    parser.add_argument("--std", type=float, nargs="+", metavar="X", help="as --mean: (pixel - mean) / std")
    parser.add_argument("--precision", metavar="P", help="what the file computes in (default: read off the file)")
    parser.add_argument("--labels", metavar="FILE", help="class names, one a line, in the order of the class index")
    parser.add_argument("--images", metavar="DIR", help="pictures for the parity contract (default: generated ones)")
    add_json_option(parser)


def _run(options: argparse.Namespace) -> int:
    from edgecv_export.wrapping import wrap

    if options.decoder not in (None, options.task):
        raise InputError(f"task {options.task!r} is read by decoder {options.task!r}; received {options.decoder!r}")
    if options.layout not in (None, "NHWC", "NCHW"):
        raise InputError(f"--layout must be NHWC or NCHW; received {options.layout!r}")
    resize = Resize(
        mode=options.resize,
        crop_fraction=1.0 if options.crop_fraction is None else options.crop_fraction,
        interpolation=options.interpolation,
    )
    wrapped = wrap(
        options.model,
        options.output,
        task=options.task,
        activation=options.activation,
        color=options.color,
        layout=options.layout,
        resize=resize,
        normalization=_normalization(options),
        labels=None if options.labels is None else read_labels(options.labels),
        precision=options.precision,
        images=options.images,
    )
    manifest = wrapped.manifest
    if options.json:
        say_json({"bundle": str(wrapped.path), "manifest": manifest.to_dict(), "report": wrapped.report})
        return 0
    spec = manifest.inputs[0]
    height, width = spec.size
    how = "pixels as they are" if spec.normalization is None else "(pixel - mean) / std"
    say(f"{manifest.format} {manifest.precision}, {kilobytes(wrapped.report['size'])}")
    say(f"input {width}x{height} {spec.color} {spec.layout} {spec.dtype}, resize {spec.resize.mode}, {how}")
    say(f"wrote {wrapped.path}")
    return 0


def _normalization(options: argparse.Namespace) -> Normalization | None:
    if options.mean is None and options.std is None:
        return None
    if options.mean is None or options.std is None:
        raise InputError("--mean and --std belong together; received only one of them")
    channels = 1 if options.color == "GRAY" else 3
    values = [tuple(given) * channels if len(given) == 1 else tuple(given) for given in (options.mean, options.std)]
    return Normalization(*values)


WRAP = Command("wrap", "make a bundle of a TFLite, ONNX or OpenVINO model from elsewhere", _configure, _run)
