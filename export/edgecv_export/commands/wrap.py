"""``edgecv wrap model.{tflite,onnx,xml} --task T -o OUT.edgecv``: bring your own model."""

from __future__ import annotations

import argparse

from edgecv_export.commands.labels import read_labels
from edgecv_export.commands.preprocessing import (
    add_preprocessing_options,
    color_of,
    normalization_of,
    resize_of,
)
from edgecv_runtime.cli.command import Command, add_json_option
from edgecv_runtime.cli.output import kilobytes, say, say_json
from edgecv_runtime.errors import InputError


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
    parser.add_argument("--layout", metavar="L", help="NHWC or NCHW (default: read off the input's shape)")
    parser.add_argument("--precision", metavar="P", help="what the file computes in (default: read off the file)")
    parser.add_argument("--labels", metavar="FILE", help="class names, one a line, in the order of the class index")
    parser.add_argument("--images", metavar="DIR", help="pictures for the parity contract (default: generated ones)")
    add_preprocessing_options(parser)
    add_json_option(parser)


def _run(options: argparse.Namespace) -> int:
    from edgecv_export.wrapping import wrap

    if options.decoder not in (None, options.task):
        raise InputError(f"task {options.task!r} is read by decoder {options.task!r}; received {options.decoder!r}")
    if options.layout not in (None, "NHWC", "NCHW"):
        raise InputError(f"--layout must be NHWC or NCHW; received {options.layout!r}")
    wrapped = wrap(
        options.model,
        options.output,
        task=options.task,
        activation=options.activation,
        color=color_of(options),
        layout=options.layout,
        resize=resize_of(options),
        normalization=normalization_of(options),
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


WRAP = Command("wrap", "make a bundle of a TFLite, ONNX or OpenVINO model from elsewhere", _configure, _run)
