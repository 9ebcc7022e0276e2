"""The command that makes a bundle of what was trained."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgecv.models.registry import ModelRecord


def export_hint(
    record: ModelRecord,
    options: Mapping[str, Any],
    input_shape: tuple[int, ...],
    classes: int,
    weights: Path,
    labels: Path | None,
    evaluation: Path | None,
) -> str:
    """``edgecv export ...``, to be run as it stands.

    Parameters
    ----------
    record : ModelRecord
    options : mapping
        Of the record, those given.
    input_shape : (height, width, channels), (length, channels) or (depth, height, width, channels)
    classes : int
    weights : Path
        Ending in ``.weights.h5`` or ``.keras``.
    labels : Path, optional
        Class names.
    evaluation : Path, optional
        Labelled pictures that were held out.
    """
    words: list[str] = ["edgecv", "export"]
    if weights.suffix == ".keras":
        words += [str(weights), *_preprocessing(record, input_shape)]
        stem = weights.name.removesuffix(".keras")
    else:
        words += [record.name]
        for name, value in options.items():
            words += [f"--{name.replace('_', '-')}", f"{value}"]
        words += _shape(record, tuple(input_shape))
        if classes != record.classes:
            words += ["--classes", str(classes)]
        words += ["--weights", str(weights)]
        stem = weights.name.removesuffix(".weights.h5")
    if labels is not None:
        words += ["--labels", str(labels)]
    if evaluation is not None:
        words += ["--eval", str(evaluation)]
    words += ["-o", str(weights.with_name(f"{stem}.edgecv"))]
    return shlex.join(words)


def _shape(record: ModelRecord, shape: tuple[int, ...]) -> list[str]:
    """The options that make an input of that shape."""
    words: list[str] = []
    usual, sides = record.input_shape, slice(0, 1) if len(shape) == 2 else slice(-3, -1)
    if shape[sides] != usual[sides]:
        words += ["--input-size", "x".join(map(str, shape[sides]))]
    if len(shape) == 4 and shape[0] != usual[0]:
        words += ["--input-depth", str(shape[0])]
    if shape[-1] != usual[-1]:
        words += ["--input-channels", str(shape[-1])]
    return words


def _preprocessing(record: ModelRecord, input_shape: tuple[int, ...]) -> list[str]:
    """What a Keras file does not say of itself."""
    expected = record.preprocessing
    if len(input_shape) == 3:
        rule = expected.resize_for((input_shape[0], input_shape[1]))
        words = ["--color", expected.color, "--resize", rule.mode, "--interpolation", rule.interpolation]
        if rule.mode == "crop":
            words += ["--crop-fraction", f"{rule.crop_fraction:g}"]
    else:
        words = ["--task", record.task, "--color", expected.color]
    words += ["--mean", *(f"{value:g}" for value in expected.mean)]
    return [*words, "--std", *(f"{value:g}" for value in expected.std)]
