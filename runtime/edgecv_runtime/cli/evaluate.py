"""``edgecv eval BUNDLE --data DIR``: accuracy on labelled pictures."""

from __future__ import annotations

import argparse

from edgecv_runtime.cli.command import Command, add_backend_options, add_json_option
from edgecv_runtime.cli.output import say, say_json


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bundle", metavar="BUNDLE")
    parser.add_argument(
        "--data",
        required=True,
        metavar="DIR",
        help="DIR/<class>/*.jpg, or DIR/labels.csv (file,class_index) beside DIR/images/",
    )
    add_backend_options(parser)
    add_json_option(parser)


def _run(options: argparse.Namespace) -> int:
    from edgecv_runtime.evaluate import evaluate_classification, read_labelled_images
    from edgecv_runtime.model import load

    with load(options.bundle, backend=options.backend, device=options.device, threads=options.threads) as model:
        classes = model.manifest.outputs[0].shape[-1] or len(model.manifest.labels or ())
        items = read_labelled_images(options.data, model.manifest.labels, classes)
        accuracy = evaluate_classification(model, items)
    if options.json:
        say_json(accuracy.to_dict())
        return 0
    skipped = f", {accuracy.skipped} skipped" if accuracy.skipped else ""
    say(f"top-1 {100 * accuracy.top1:.2f} %   top-5 {100 * accuracy.top5:.2f} %   ({accuracy.n} images{skipped})")
    return 0


EVAL = Command("eval", "accuracy of a bundle on labelled pictures", _configure, _run)
