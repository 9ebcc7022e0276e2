"""``edgecv eval BUNDLE --data DIR``: accuracy on labelled pictures, as the bundle's task measures it."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from time import perf_counter
from typing import TYPE_CHECKING, Any

from edgecv_runtime.cli.command import (
    Command,
    add_accelerator_options,
    add_backend_options,
    add_json_option,
    backend_options,
)
from edgecv_runtime.cli.output import say, say_json, table

if TYPE_CHECKING:
    from edgecv_runtime.model import Model

# From a model (or one that is augmented) to its accuracy and the lines that say so.
Measure = Callable[[Any], tuple[Any, list[str]]]


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bundle", metavar="BUNDLE")
    parser.add_argument(
        "--data",
        required=True,
        metavar="DIR",
        help="classes: DIR/<class>/*.jpg, or DIR/labels.csv (file,class_index) beside DIR/images/ (of signals and "
        "volumes *.npy or *.npz, each one or a stack); "
        "objects: DIR/images with DIR/labels (YOLO), COCO JSON, or VOC XML; masks: DIR/images with DIR/masks; "
        "people: DIR/<person>/*.jpg",
    )
    parser.add_argument(
        "--far",
        type=float,
        metavar="F",
        help="of an embedder: the false-accept rate that the true-accept rate is given at (default: 0.001)",
    )
    parser.add_argument(
        "--tta",
        action="append",
        metavar="T",
        help="test-time augmentation: transforms such as hflip, scale:1.1, ten-crop, beside the plain picture, "
        "separated by spaces or given again; says what they gain and cost",
    )
    parser.add_argument("--merge", choices=("mean", "gmean", "max"), default="mean", help="how --tta merges scores")
    parser.add_argument(
        "--only-if-unsure",
        type=float,
        metavar="S",
        help="with --tta: more views only where the best score is below S",
    )
    parser.add_argument(
        "--tiles",
        type=int,
        metavar="N",
        help="of a detector: look at large pictures in overlapping N×N tiles",
    )
    add_backend_options(parser)
    add_accelerator_options(parser)
    add_json_option(parser)


def _run(options: argparse.Namespace) -> int:
    from edgecv_runtime.errors import InputError, UnsupportedError
    from edgecv_runtime.model import load

    if options.tta and options.tiles:
        raise InputError("choose one of --tta and --tiles")
    with load(options.bundle, **backend_options(options)) as model:
        if model.task not in _TASKS:
            raise UnsupportedError(
                f"eval measures {', '.join(_TASKS)} bundles; {options.bundle} is a {model.task} bundle"
            )
        task, settings = _TASKS[model.task], _settings(options, model)

        def measure(subject: Any) -> tuple[Any, list[str]]:
            return task(subject, options.data, **settings)

        if options.tta:
            answer, lines = _augmented(model, measure, options)
        else:
            accuracy, lines = measure(_tiled(model, options))
            answer = accuracy.to_dict()
    if options.json:
        say_json(answer)
        return 0
    for line in lines:
        say(line)
    return 0


def _tiled(model: Model, options: argparse.Namespace) -> Any:
    if options.tiles is None:
        return model
    from edgecv_runtime.augmented import TiledModel

    return TiledModel(model, options.tiles)


def _augmented(model: Model, measure: Measure, options: argparse.Namespace) -> tuple[dict[str, Any], list[str]]:
    """The accuracy with test-time augmentation, beside the plain one: the gain and its cost."""
    from edgecv_runtime.augmented import AugmentedModel

    transforms = ["identity", *(name for given in options.tta for name in given.split())]
    augmented = AugmentedModel(model, transforms, merge=options.merge, only_if_unsure=options.only_if_unsure)
    started = perf_counter()
    plain, plain_lines = measure(model)
    between = perf_counter()
    accuracy, lines = measure(augmented)
    ratio = (perf_counter() - between) / (between - started)
    gain = accuracy.score - plain.score
    calls = augmented.calls / max(1, augmented.pictures)
    cost = {"transforms": transforms, "gain": gain, "calls_per_image": calls, "time_ratio": ratio}
    text = f"gain {100 * gain:+.2f} points for {calls:.2f} calls an image, {ratio:.2f} × the time"
    return (
        {**accuracy.to_dict(), "plain": plain.to_dict(), "tta": cost},
        [f"plain: {plain_lines[0]}", f"tta:   {lines[0]}", *lines[1:], text],
    )


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
    return accuracy, [_ranked(accuracy)]


def _arrays(model: Model, data: str) -> tuple[Any, list[str]]:
    from edgecv_runtime.evaluate import class_count, evaluate_classification
    from edgecv_runtime.labelled_arrays import read_labelled_arrays
    from edgecv_runtime.manifest import ARRAY_LAYOUTS

    spec = model.manifest.inputs[0]
    items = read_labelled_arrays(data, model.manifest.labels, class_count(model), spec)
    accuracy = evaluate_classification(model, items)
    return accuracy, [_ranked(accuracy, f"{ARRAY_LAYOUTS[spec.layout]}s")]


def _ranked(accuracy: Any, unit: str = "images") -> str:
    return f"top-1 {100 * accuracy.top1:.2f} %   top-5 {100 * accuracy.top5:.2f} %   {_counted(accuracy, unit)}"


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


_TASKS: dict[str, Callable[..., tuple[Any, list[str]]]] = {
    "classification": _classification,
    "detection": _detection,
    "segmentation": _segmentation,
    "embedding": _embedding,
    "signal-classification": _arrays,
    "volume-classification": _arrays,
}


def _counted(accuracy: Any, unit: str = "images") -> str:
    skipped = f", {accuracy.skipped} skipped" if accuracy.skipped else ""
    return f"({accuracy.n} {unit}{skipped})"


def _figures(*values: float) -> list[str]:
    return ["–" if value != value else f"{100 * value:.2f}" for value in values]


EVAL = Command("eval", "accuracy of a bundle on labelled pictures", _configure, _run)
