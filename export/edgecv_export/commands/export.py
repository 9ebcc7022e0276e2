"""``edgecv export MODEL -o OUT.edgecv``: build, quantize, convert, prove, write."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgecv.commands.options import add_model_options, collect_model_options, image_size, refuse_model_options
from edgecv.models.registry import Preprocessing
from edgecv_export.commands.labels import read_labels
from edgecv_export.commands.preprocessing import (
    add_preprocessing_options,
    preprocessing_of,
    refuse_preprocessing_options,
)
from edgecv_export.commands.reading import add_reading_options, reading_of, refuse_reading_options
from edgecv_export.figure import figure
from edgecv_runtime.cli.command import Command, add_json_option
from edgecv_runtime.cli.output import kilobytes, remark, say, say_json
from edgecv_runtime.errors import CheckFailedError, InputError

if TYPE_CHECKING:
    from edgecv_export.exporter import Exported
    from edgecv_export.search import Attempt
    from edgecv_runtime.manifest import DecoderSpec, Manifest

_FOREIGN = (".onnx", ".tflite", ".xml")
_KERAS = (".keras", ".h5")


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "model",
        metavar="MODEL",
        help="a name from `edgecv models`, a model.keras or .h5 that holds a whole model, or a float model.onnx",
    )
    parser.add_argument("-o", "--output", required=True, metavar="OUT.edgecv", help="with --all-targets: a folder")
    parser.add_argument(
        "--task", metavar="T", help="of a model from elsewhere (default: the decoder's, else classification)"
    )
    parser.add_argument("--weights", metavar="FILE|NAME", help="a weight file, imagenet, or a name the model ships")
    parser.add_argument(
        "--target", metavar="ID", help="a device of `edgecv targets`, which then decides format and precision"
    )
    parser.add_argument(
        "--all-targets",
        action="store_true",
        help="a bundle for every device of `edgecv targets`, a table and a page (several models: edgecv matrix)",
    )
    parser.add_argument("--jobs", type=int, metavar="N", help="processes for --all-targets (default: 1)")
    parser.add_argument(
        "--format", metavar="F", help="tflite, onnx or openvino (default: what suits the target, else tflite)"
    )
    parser.add_argument(
        "--precision",
        metavar="P",
        help="fp32, fp16, dynamic, int8, int16x8 or mixed: int8 with layers in float (default: what suits the target, "
        "else fp32)",
    )
    parser.add_argument(
        "--calibrate", metavar="DIR", help="a folder of typical pictures; int8, int16x8 and mixed need it"
    )
    parser.add_argument(
        "--eval",
        metavar="DIR",
        help="labelled pictures (of an embedder DIR/<person>/*.jpg): accuracy before and after, in the report",
    )
    parser.add_argument(
        "--max-drop",
        type=float,
        metavar="PT",
        help="points of top-1 (of an embedder: of TAR at FAR) that may be lost; int8 and mixed are searched for an "
        "artefact within it; needs --eval",
    )
    parser.add_argument(
        "--train", metavar="DIR", help="pictures for quantization-aware training, the search's last resort"
    )
    parser.add_argument(
        "--float-layers",
        metavar="A,B",
        type=lambda text: tuple(name.strip() for name in text.split(",") if name.strip()),
        default=(),
        help="layers that stay in float, for --precision mixed without --max-drop",
    )
    parser.add_argument(
        "--cam", action="store_true", help="of a classifier: class activation maps on the device (result.cam)"
    )
    parser.add_argument(
        "--nms-in-graph",
        action="store_true",
        help="of a detector in ONNX: decode and suppress in the graph, with the thresholds of --set",
    )
    parser.add_argument(
        "--sizes",
        nargs="+",
        type=image_size,
        metavar="N|HxW",
        help="several input sizes in one bundle, each with its own parity contract: a device that falls behind steps "
        "down to a smaller one",
    )
    parser.add_argument("--report", metavar="PAGE.html", help="write what was measured as a page to look at, too")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="for the training (default: 0)")
    parser.add_argument("--labels", metavar="FILE", help="class names, one a line, in the order of the class index")
    add_reading_options(parser)
    add_model_options(parser)
    add_preprocessing_options(parser)
    add_json_option(parser)


def _run(options: argparse.Namespace) -> int:
    if options.sizes is not None:
        from edgecv_export.commands.sizes import export_sizes

        return export_sizes(options, _run)
    if options.all_targets:
        return _export_everywhere(options)
    if options.jobs is not None:
        raise InputError(f"--jobs is for --all-targets; received --jobs {options.jobs} alone")
    _check(options)
    try:
        exported = _exported(options)
    except CheckFailedError as failure:
        if options.report is not None and failure.report is not None:
            _write_page(options, failure.report, None)
            remark(f"what was tried: {options.report}")
        raise
    if options.report is not None:
        _write_page(options, exported.report, exported.manifest)
    if options.json:
        say_json({"bundle": str(exported.path), "manifest": exported.manifest.to_dict(), "report": exported.report})
    else:
        for line in summary(exported.report, exported.manifest):
            say(line)
        say(f"wrote {exported.path}")
    return 0


def _check(options: argparse.Namespace) -> None:
    """Refuse what can be refused before TensorFlow is imported."""
    from edgecv_export.plan import check_pictures, check_recipe
    from edgecv_export.report.page import check_page_path
    from edgecv_export.target_plan import choose_plan
    from edgecv_runtime.bundle import check_output_path

    onnx = Path(options.model).suffix.lower() == ".onnx"
    plan, device = choose_plan(
        options.target, options.format, options.precision, calibrated=options.calibrate is not None, onnx=onnx
    )
    if device is not None:
        remark(device.reason)
    check_pictures(plan, options.calibrate, options.eval, options.max_drop, options.train)
    check_recipe(plan, None, options.float_layers, options.max_drop)
    check_output_path(Path(options.output))
    if options.report is not None:
        check_page_path(options.report)


def _exported(options: argparse.Namespace) -> Exported:
    labels = None if options.labels is None else read_labels(options.labels)
    model, preprocessing, decoder = _model(options)
    if options.nms_in_graph:
        model = _suppressing(options, preprocessing, decoder)

    from edgecv_export.exporter import export

    return export(
        model,
        options.output,
        preprocessing=preprocessing,
        task=options.task,
        decoder=decoder,
        cam=options.cam,
        format=options.format,
        precision=options.precision,
        calibration=options.calibrate,
        target=options.target,
        labels=labels,
        evaluation=options.eval,
        max_drop=options.max_drop,
        training=options.train,
        float_layers=options.float_layers,
        seed=options.seed,
        notify=_tell,
    )


def _export_everywhere(options: argparse.Namespace) -> int:
    """``--all-targets``: every device decides format and precision for itself."""
    from edgecv_export.commands.matrix import Settings, make_matrix, network_of

    names = ("target", "format", "precision", "max_drop", "train", "float_layers", "cam", "report")
    given = [f"--{name.replace('_', '-')}" for name in names if getattr(options, name)]
    if given:
        raise InputError(f"with --all-targets each device decides: leave out {', '.join(given)}")
    settings = Settings(options.output, options.calibrate, options.eval, options.labels, jobs=options.jobs or 1)
    return make_matrix([network_of(options, options.model)], settings, json=options.json)


def _model(options: argparse.Namespace) -> tuple[Any, Preprocessing | None, DecoderSpec | None]:
    """The model, what it expects of a picture, and how its outputs are read, where that is not its own."""
    suffix = Path(options.model).suffix.lower()
    if suffix in _FOREIGN:
        return _foreign(options)
    refuse_reading_options(options, options.model)
    if suffix in _KERAS:
        return *_saved(options), None
    return _build(options), None, None


def _tell(attempt: Attempt) -> None:
    """One line for each candidate of a search, as soon as it is measured."""
    if attempt.fidelity is None or attempt.artefact is None:
        remark(f"  {attempt.candidate.name}: {attempt.note}")
        return
    accuracy = attempt.fidelity.accuracy
    remark(
        f"{'✓' if attempt.met else ' '} {attempt.candidate.name}: "
        f"{figure(accuracy.to_dict()).name} {100 * accuracy.score:.2f} % ({0 - attempt.drop:+.2f}), "
        f"{100 * attempt.fidelity.agreement:.1f} % as in float, {kilobytes(attempt.artefact.size)}, "
        f"{attempt.latency_ms:.2f} ms"
    )


def _write_page(options: argparse.Namespace, report: dict[str, Any], manifest: Manifest | None) -> None:
    from edgecv_export.report.page import write_page

    write_page(options.report, report, manifest=manifest, images=options.eval)


def _build(options: argparse.Namespace) -> Any:
    """The registered model that was named, with its weights."""
    from edgecv.models.registry import get_record

    record = get_record(options.model)
    chosen = collect_model_options(options, record)
    refuse_preprocessing_options(options, record.name)
    if options.task not in (None, record.task):
        raise InputError(f"{record.name} is for {record.task}; received --task {options.task}")
    if options.weights is None:
        remark(f"warning: no --weights: {record.name} is exported with random weights")
    from edgecv_export.quiet import start_tensorflow

    start_tensorflow()
    from edgecv.models.factory import create_model

    return create_model(record.name, weights=options.weights, **chosen)


def _saved(options: argparse.Namespace) -> tuple[Any, Preprocessing | None]:
    """The whole Keras model in a file, and what it expects of a picture."""
    if options.weights is not None:
        raise InputError(f"{options.model} holds its own weights; received --weights {options.weights}")
    refuse_model_options(options, options.model)
    preprocessing = preprocessing_of(options)
    if preprocessing is None:
        raise InputError(
            f"what {Path(options.model).name} expects of a pixel must be given: --mean and --std (0 and 1 for none)"
        )
    from edgecv_export.quiet import start_tensorflow

    start_tensorflow()
    from edgecv_export.sources.keras_file import load_keras_file

    return load_keras_file(options.model), preprocessing


def _foreign(options: argparse.Namespace) -> tuple[Path, Preprocessing | None, DecoderSpec | None]:
    """The model file that was named, what it expects of a picture, and how its outputs are read."""
    refuse_model_options(options, options.model)
    if options.weights is not None:
        raise InputError(f"{options.model} holds its own weights; received --weights {options.weights}")
    return Path(options.model), *reading_of(options, Path(options.model))


def _suppressing(options: argparse.Namespace, preprocessing: Preprocessing | None, decoder: DecoderSpec | None) -> Any:
    """``--nms-in-graph``: the ONNX file with decoding and suppression appended."""
    if Path(options.model).suffix.lower() != ".onnx":
        raise InputError(f"--nms-in-graph is for a float model.onnx from elsewhere; received {options.model}")
    from edgecv_export.sources.onnx import OnnxSource

    return OnnxSource.of_file(options.model, preprocessing, options.task, decoder, nms_in_graph=True)


def summary(report: dict[str, Any], manifest: Manifest) -> list[str]:
    """The report in a few lines for people."""
    parity = report["parity"]
    macs = "" if report["macs"] is None else f", {report['macs']:,} MACs"
    lines = [
        f"size      {kilobytes(report['size'])}, {report['parameters']:,} parameters{macs}",
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
        key = figure(after).key
        lines.append(
            f"accuracy  {figure(after).name} {100 * before[key]:.2f} % → {100 * after[key]:.2f} % on {after['n']} "
            f"images, {100 * after['agreement']:.1f} % answered as in float"
        )
    if "search" in report:
        chosen = next(entry for entry in report["search"] if entry["chosen"])
        lines.append(f"chosen    {chosen['name']} ({manifest.precision}), of {len(report['search'])} tried")
    if manifest.float_layers:
        lines.append(f"precision {manifest.described_precision()}")
    lines += [f"advice    {entry['title']}: {', '.join(entry['layers'][:3])}" for entry in report["advice"][:3]]
    return lines


EXPORT = Command("export", "export a model as a bundle, proven against its float source", _configure, _run)
