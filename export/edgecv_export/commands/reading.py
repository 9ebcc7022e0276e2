"""How the outputs of a model from elsewhere are read, and what it is fed, on the command line."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from edgecv.models.registry import Preprocessing
from edgecv_export.commands.preprocessing import normalization_of, preprocessing_of, resize_of
from edgecv_runtime.errors import InputError
from edgecv_runtime.manifest import DecoderSpec, Resize


def add_reading_options(parser: argparse.ArgumentParser) -> None:
    """``--decoder``, ``--set``, ``--align`` and ``--pad``."""
    parser.add_argument(
        "--decoder",
        metavar="D",
        help="how the outputs are read, with the feed its models usually expect: yolox, yolov5, yolov8, yolo-anchor, "
        "yolo-v1, ssd, ssd-postprocessed, ultraface, blazeface, centernet-like, segmentation, heatmap-pose, "
        "regression-pose, embedding (default: the task's own; a detector's must be named)",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a parameter of the decoder, VALUE as JSON: --set score_threshold=0.3; can be repeated",
    )
    parser.add_argument("--align", metavar="A", help="with --resize letterbox: center or top-left (default: center)")
    parser.add_argument(
        "--pad", type=int, metavar="V", help="with --resize letterbox: grey of the border (default: 114)"
    )


def refuse_reading_options(options: argparse.Namespace, model: str) -> None:
    """A registered model, or one whose answers are read in one way only, takes none of them.

    Raises
    ------
    InputError
    """
    given = [f"--{name}" for name in ("decoder", "set", "align", "pad") if getattr(options, name) not in (None, [])]
    if given:
        raise InputError(f"{', '.join(given)} is for a float model.onnx from elsewhere; received {model}")


def settings_of(options: argparse.Namespace) -> dict[str, Any]:
    """The decoder's parameters given by ``--set``."""
    return dict(_setting(text) for text in options.set)


def _setting(text: str) -> tuple[str, Any]:
    """``NAME=VALUE``: the value as JSON, or else as the text it is."""
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise InputError(f"--set takes NAME=VALUE; received {text!r}")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def resize_given(options: argparse.Namespace) -> Resize | None:
    """The resize rule given; None where nothing was, and the decoder's usual one counts.

    Raises
    ------
    InputError
        ``--align`` or ``--pad`` without a letterbox.
    """
    names = ("resize", "crop_fraction", "interpolation", "align", "pad")
    if all(getattr(options, name) is None for name in names):
        return None
    rule = resize_of(options)
    if options.align is None and options.pad is None:
        return rule
    if rule.mode != "letterbox":
        raise InputError(f"--align and --pad are for --resize letterbox; received --resize {rule.mode}")
    return replace(rule, align=options.align or rule.align, pad_value=114 if options.pad is None else options.pad)


def reading_of(options: argparse.Namespace, path: Path) -> tuple[Preprocessing | None, DecoderSpec | None]:
    """What a float ONNX file that is converted expects of a picture, and how its outputs are read.

    As ``edgecv wrap`` decides it: what is given goes before the decoder's usual feed.

    Returns
    -------
    preprocessing : Preprocessing, or None where it is not known
    decoder : DecoderSpec, or None for the task's usual one

    Raises
    ------
    InputError, MissingFileError
        As `preprocessing_of` and `presets.choose_decoder`.
    """
    from edgecv_export.presets import PRESETS, choose_decoder

    if options.decoder is None and options.task != "detection":
        if options.set:
            raise InputError("--set is for the decoder that --decoder names; received it alone")
        preprocessing = preprocessing_of(options)
        rule = resize_given(options)
        return (preprocessing if preprocessing is None or rule is None else replace(preprocessing, resize=rule)), None
    preset = PRESETS[name := choose_decoder(options.task, options.decoder)]
    color: Any = options.color or preset.color
    normalization = normalization_of(options) or preset.normalization(1 if color == "GRAY" else 3)
    parameters = {**_told_by(path, preset.parameters), **settings_of(options)}
    if normalization is None:
        return None, DecoderSpec(name, parameters)
    rule = resize_given(options) or preset.resize
    if color not in ("RGB", "BGR", "GRAY"):
        raise InputError(f"--color must be RGB, BGR or GRAY; received {color!r}")
    return Preprocessing(normalization.mean, normalization.std, color, rule), DecoderSpec(name, parameters)


def _told_by(path: Path, parameters: Any) -> Mapping[str, Any]:
    """The decoder's parameters that the file's outputs tell."""
    from edgecv_runtime.artefact import Artefact
    from edgecv_runtime.backends import open_backend

    with open_backend(Artefact.from_file(path)) as backend:
        shape = backend.inputs[0].shape if backend.inputs else ()
        size = shape[2:4] if len(shape) == 4 and shape[1] in (1, 3) else shape[1:3]
        told: Mapping[str, Any] = parameters(backend.outputs, tuple(size))
        return told
