"""``edgecv export MODEL -o OUT.edgecv``: build, quantize, convert, prove, write."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from edgecv.commands.options import add_model_options, collect_model_options
from edgecv_export.commands.labels import read_labels
from edgecv_runtime.cli.command import Command, add_json_option
from edgecv_runtime.cli.output import kilobytes, remark, say, say_json
from edgecv_runtime.errors import UnsupportedError


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="a name from `edgecv models`")
    parser.add_argument("-o", "--output", required=True, metavar="OUT.edgecv")
    parser.add_argument("--weights", metavar="FILE|NAME", help="a weight file, imagenet, or a name the model ships")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--format", default="tflite", metavar="F", help="tflite, onnx or openvino (default: tflite)")
    where.add_argument("--target", metavar="ID", help="a device, which then decides format and precision")
    parser.add_argument(
        "--precision", default="fp32", metavar="P", help="fp32, fp16, dynamic, int8 or int16x8 (default: fp32)"
    )
    parser.add_argument("--calibrate", metavar="DIR", help="a folder of typical pictures; int8 and int16x8 need it")
    parser.add_argument("--eval", metavar="DIR", help="labelled pictures: accuracy before and after, in the report")
    parser.add_argument("--max-drop", type=float, metavar="PT", help="points of top-1 that may be lost; needs --eval")
    parser.add_argument("--labels", metavar="FILE", help="class names, one a line, in the order of the class index")
    add_model_options(parser)
    add_json_option(parser)


def _run(options: argparse.Namespace) -> int:
    from edgecv.models.registry import get_record
    from edgecv_export.plan import Plan, check_target
    from edgecv_runtime.bundle import check_output_path

    if Path(options.model).suffix in (".onnx", ".tflite", ".xml"):
        raise UnsupportedError(f"{options.model} is converted already: edgecv wrap {options.model} -o {options.output}")
    # What can be refused is refused before TensorFlow is imported.
    record = get_record(options.model)
    chosen = collect_model_options(options, record)
    check_target(options.target)
    Plan(options.format, options.precision)
    check_output_path(Path(options.output))
    labels = None if options.labels is None else read_labels(options.labels)
    if options.weights is None:
        remark(f"warning: no --weights: {record.name} is exported with random weights")

    from edgecv_export.quiet import start_tensorflow

    start_tensorflow()
    from edgecv.models.factory import create_model
    from edgecv_export.exporter import export

    model = create_model(record.name, weights=options.weights, **chosen)
    exported = export(
        model,
        options.output,
        format=options.format,
        precision=options.precision,
        calibration=options.calibrate,
        target=options.target,
        labels=labels,
        evaluation=options.eval,
        max_drop=options.max_drop,
    )
    if options.json:
        say_json({"bundle": str(exported.path), "manifest": exported.manifest.to_dict(), "report": exported.report})
    else:
        for line in summary(exported.report):
            say(line)
        say(f"wrote {exported.path}")
    return 0


def summary(report: dict[str, Any]) -> list[str]:
    """The report in a few lines for people."""
    parity = report["parity"]
    lines = [
        f"size      {kilobytes(report['size'])}, {report['parameters']:,} parameters, {report['macs']:,} MACs",
        f"parity    max |Δ| {parity['max_abs']:.3g} against the float source on {parity['images']} "
        f"{parity['origin']} images",
        f"latency   {report['latency']['p50_ms']:.2f} ms on this machine ({report['latency']['backend']})",
    ]
    calibration, accuracy = report["calibration"], report["accuracy"]
    if calibration is not None:
        skipped = f", {calibration['skipped']} skipped" if calibration["skipped"] else ""
        lines.append(f"images    {calibration['images']} for calibration{skipped}")
    if accuracy is not None:
        before, after = accuracy["float"], accuracy["artefact"]
        lines.append(
            f"accuracy  top-1 {100 * before['top1']:.2f} % → {100 * after['top1']:.2f} % on {after['n']} images"
        )
    return lines


EXPORT = Command("export", "export a model as a bundle, proven against its float source", _configure, _run)
