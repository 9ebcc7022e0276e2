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
        "objects: DIR/images with DIR/labels (YOLO), COCO JSON, or VOC XML; masks: DIR/images with DIR/masks",
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
        accuracy, lines = _TASKS[model.task](model, options.data)
    if options.json:
        say_json(accuracy.to_dict())
        return 0
    for line in lines:
        say(line)
    return 0


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


_TASKS = {"classification": _classification, "detection": _detection, "segmentation": _segmentation}


def _counted(accuracy: Any) -> str:
    skipped = f", {accuracy.skipped} skipped" if accuracy.skipped else ""
    return f"({accuracy.n} images{skipped})"


def _figures(*values: float) -> list[str]:
    return ["–" if value != value else f"{100 * value:.2f}" for value in values]


EVAL = Command("eval", "accuracy of a bundle on labelled pictures", _configure, _run)
