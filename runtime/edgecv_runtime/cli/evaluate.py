"""``edgecv eval BUNDLE --data DIR``: accuracy on labelled pictures, as the bundle's task measures it."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from edgecv_runtime.cli.command import Command, add_backend_options, add_json_option, backend_options
from edgecv_runtime.cli.output import say, say_json, table

if TYPE_CHECKING:
    from edgecv_runtime.model import Model


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bundle", metavar="BUNDLE")
    parser.add_argument(
        "--data",
        required=True,
        metavar="DIR",
        help="classes: DIR/<class>/*.jpg, or DIR/labels.csv (file,class_index) beside DIR/images/; "
        "objects: DIR/images with DIR/labels (YOLO), COCO JSON, or VOC XML; masks: DIR/images with DIR/masks; "
        "people: DIR/<person>/*.jpg",
    )
    parser.add_argument(
        "--far",
        type=float,
        metavar="F",
        help="of an embedder: the false-accept rate that the true-accept rate is given at (default: 0.001)",
    )
    add_backend_options(parser)
    add_json_option(parser)


def _run(options: argparse.Namespace) -> int:
    from edgecv_runtime.errors import UnsupportedError
    from edgecv_runtime.model import load

    with load(options.bundle, **backend_options(options)) as model:
        if model.task not in _TASKS:
            raise UnsupportedError(
                f"eval measures {', '.join(_TASKS)} bundles; {options.bundle} is a {model.task} bundle"
            )
        accuracy, lines = _TASKS[model.task](model, options.data, **_settings(options, model))
    if options.json:
        say_json(accuracy.to_dict())
        return 0
    for line in lines:
        say(line)
    return 0


def _settings(options: argparse.Namespace, model: Model) -> dict[str, Any]:
    """What the task's evaluation can be told beside the data."""
    from edgecv_runtime.errors import InputError

    if options.far is None:
        return {}
    if model.task != "embedding":
        raise InputError(f"--far is for embedding bundles; {options.bundle} is a {model.task} bundle")
    return {"far": options.far}


def _classification(model: Model, data: str) -> tuple[Any, list[str]]:
    from edgecv_runtime.evaluate import class_count, evaluate_classification, read_labelled_images

    items = read_labelled_images(data, model.manifest.labels, class_count(model))
    accuracy = evaluate_classification(model, items)
    line = f"top-1 {100 * accuracy.top1:.2f} %   top-5 {100 * accuracy.top5:.2f} %   {_counted(accuracy)}"
    return accuracy, [line]


def _detection(model: Model, data: str) -> tuple[Any, list[str]]:
    from edgecv_runtime.evaluate_objects import evaluate_detection

    accuracy = evaluate_detection(model, data)
    rows = [
        ["all", *_figures(accuracy.map, accuracy.map50, accuracy.map75, accuracy.ar100)],
        ["small", *_figures(accuracy.map_small), "", "", *_figures(accuracy.ar_small)],
        ["medium", *_figures(accuracy.map_medium), "", "", *_figures(accuracy.ar_medium)],
        ["large", *_figures(accuracy.map_large), "", "", *_figures(accuracy.ar_large)],
    ]
    head = f"mAP50 {100 * accuracy.map50:.2f} %   mAP {100 * accuracy.map:.2f} %   {_counted(accuracy)}"
    return accuracy, [head, table(["objects", "AP", "AP50", "AP75", "AR100"], rows)]


def _segmentation(model: Model, data: str) -> tuple[Any, list[str]]:
    from edgecv_runtime.evaluate_objects import evaluate_segmentation

    accuracy = evaluate_segmentation(model, data)
    head = f"mIoU {100 * accuracy.miou:.2f} %   pixels {100 * accuracy.pixel_accuracy:.2f} %   {_counted(accuracy)}"
    return accuracy, [head]


def _embedding(model: Model, data: str, far: float | None = None) -> tuple[Any, list[str]]:
    from edgecv_runtime.evaluate_faces import evaluate_embedding
    from edgecv_runtime.metrics.verification import FAR

    accuracy = evaluate_embedding(model, data, FAR if far is None else far)
    rates = accuracy.rates
    head = f"TAR {100 * accuracy.tar_at_far:.2f} % at FAR {accuracy.far:g}   {_counted(accuracy)}"
    pairs = (
        f"EER {100 * rates.eer:.2f} %   accuracy {100 * rates.accuracy:.2f} %   "
        f"({accuracy.people} people, {rates.genuine:,} genuine and {rates.impostor:,} impostor pairs)"
    )
    rows = [
        [f"{far:g}", f"{100 * tar:.2f}", f"{threshold:.4f}"]
        for far, tar, threshold in zip(rates.far.tolist(), rates.tar.tolist(), rates.thresholds.tolist(), strict=True)
    ]
    return accuracy, [head, pairs, table(["FAR", "TAR %", "threshold"], rows)]


_TASKS = {
    "classification": _classification,
    "detection": _detection,
    "segmentation": _segmentation,
    "embedding": _embedding,
}


def _counted(accuracy: Any) -> str:
    skipped = f", {accuracy.skipped} skipped" if accuracy.skipped else ""
    return f"({accuracy.n} images{skipped})"


def _figures(*values: float) -> list[str]:
    return ["–" if value != value else f"{100 * value:.2f}" for value in values]


EVAL = Command("eval", "accuracy of a bundle on labelled pictures", _configure, _run)
