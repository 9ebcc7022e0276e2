"""``edgecv wrap model.{tflite,onnx,xml} --task T -o OUT.edgecv``: bring your own model."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from typing import Any

from edgecv_export.commands.labels import read_labels
from edgecv_export.commands.preprocessing import add_preprocessing_options, normalization_of
from edgecv_export.commands.reading import add_reading_options, resize_given, settings_of
from edgecv_export.commands.wrap_examples import epilog
from edgecv_runtime.cli.command import Command, add_json_option
from edgecv_runtime.cli.output import kilobytes, say, say_json
from edgecv_runtime.errors import InputError


def _configure(parser: argparse.ArgumentParser) -> None:
    # Commands are there to be copied: they keep their lines.
    parser.formatter_class, parser.epilog = argparse.RawDescriptionHelpFormatter, epilog()
    parser.add_argument("model", metavar="MODEL", help="model.tflite, model.onnx, or model.xml with its .bin beside it")
    parser.add_argument("-o", "--output", required=True, metavar="OUT.edgecv")
    parser.add_argument(
        "--task",
        metavar="T",
        help="classification, detection, segmentation, pose or embedding (default: the decoder's)",
    )
    add_reading_options(parser)
    parser.add_argument("--activation", metavar="A", help="none, softmax or sigmoid, yet to be applied (default: none)")
    parser.add_argument(
        "--nms-in-graph",
        action="store_true",
        help="of a detector in ONNX: append decoding and suppression to the graph, with the thresholds of --set",
    )
    parser.add_argument("--layout", metavar="L", help="NHWC or NCHW (default: read off the input's shape)")
    parser.add_argument("--precision", metavar="P", help="what the file computes in (default: read off the file)")
    parser.add_argument("--labels", metavar="FILE", help="class names, one a line, in the order of the class index")
    parser.add_argument("--images", metavar="DIR", help="pictures for the parity contract (default: generated ones)")
    add_preprocessing_options(parser)
    add_json_option(parser)


def _run(options: argparse.Namespace) -> int:
    from edgecv_export.wrapping import wrap

    if options.task is None and options.decoder is None:
        raise InputError("--task or --decoder is required: what the model answers, or how its outputs are read")
    if options.layout not in (None, "NHWC", "NCHW"):
        raise InputError(f"--layout must be NHWC or NCHW; received {options.layout!r}")
    wrapped = wrap(
        options.model,
        options.output,
        task=options.task,
        decoder=options.decoder,
        parameters=settings_of(options),
        activation=options.activation,
        color=options.color,
        layout=options.layout,
        resize=resize_given(options),
        normalization=normalization_of(options),
        labels=None if options.labels is None else read_labels(options.labels),
        precision=options.precision,
        images=options.images,
        nms_in_graph=options.nms_in_graph,
    )
    manifest = wrapped.manifest
    if options.json:
        say_json({"bundle": str(wrapped.path), "manifest": manifest.to_dict(), "report": wrapped.report})
        return 0
    spec = manifest.inputs[0]
    height, width = spec.size
    how = "pixels as they are" if spec.normalization is None else "(pixel - mean) / std"
    say(f"{manifest.task}, decoder {manifest.decoder.name}: {_settings(manifest.decoder.parameters)}")
    say(f"{manifest.format} {manifest.precision}, {kilobytes(wrapped.report['size'])}")
    say(f"input {width}x{height} {spec.color} {spec.layout} {spec.dtype}, resize {spec.resize.mode}, {how}")
    say(f"wrote {wrapped.path}")
    return 0


def _settings(parameters: Mapping[str, Any]) -> str:
    """The decoder's parameters in one line; long lists by their length."""
    return (
        ", ".join(
            f"{name} {f'({len(value)} values)' if isinstance(value, list) and len(value) > 8 else json.dumps(value)}"
            for name, value in parameters.items()
        )
        or "its own defaults"
    )


WRAP = Command("wrap", "make a bundle of a TFLite, ONNX or OpenVINO model from elsewhere", _configure, _run)
