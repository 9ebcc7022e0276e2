"""What a foreign model expects of a picture, on the command line."""

from __future__ import annotations

import argparse
from typing import Any

from edgecv.models.registry import Preprocessing
from edgecv_runtime.errors import InputError
from edgecv_runtime.manifest import Normalization, Resize

_OPTIONS = ("color", "resize", "crop_fraction", "interpolation", "mean", "std")


def add_preprocessing_options(parser: argparse.ArgumentParser) -> None:
    """``--color``, ``--resize``, ``--crop-fraction``, ``--interpolation``, ``--mean`` and ``--std``."""
    group = parser.add_argument_group("preprocessing of a model from elsewhere")
    group.add_argument("--color", metavar="C", help="RGB, BGR or GRAY (default: RGB)")
    group.add_argument("--resize", metavar="R", help="stretch, letterbox or crop (default: stretch)")
    group.add_argument("--crop-fraction", type=float, metavar="F", help="with --resize crop; 0.875 is common")
    group.add_argument("--interpolation", metavar="I", help="nearest, linear, cubic or area (default: linear)")
    group.add_argument(
        "--mean", type=float, nargs="+", metavar="X", help="of pixels 0..255: one value, or one a channel"
    )
    group.add_argument("--std", type=float, nargs="+", metavar="X", help="as --mean: (pixel - mean) / std")


def refuse_preprocessing_options(options: argparse.Namespace, model: str) -> None:
    """A registered model knows its own preprocessing.

    Raises
    ------
    InputError
    """
    given = [f"--{name.replace('_', '-')}" for name in _OPTIONS if getattr(options, name) is not None]
    if given:
        raise InputError(f"{model} has its own preprocessing: {', '.join(given)} is for models from elsewhere")


def color_of(options: argparse.Namespace) -> Any:
    """The colour order given, or RGB."""
    return options.color or "RGB"


def resize_of(options: argparse.Namespace) -> Resize:
    """The resize rule given."""
    return Resize(
        mode=options.resize or "stretch",
        crop_fraction=1.0 if options.crop_fraction is None else options.crop_fraction,
        interpolation=options.interpolation or "linear",
    )


def normalization_of(options: argparse.Namespace) -> Normalization | None:
    """The mean and std given, one value standing for all channels; None where neither is given.

    Raises
    ------
    InputError
        Only one of them is given, or their lengths do not fit the colours.
    """
    if options.mean is None and options.std is None:
        return None
    if options.mean is None or options.std is None:
        raise InputError("--mean and --std belong together; received only one of them")
    channels = 1 if options.color == "GRAY" else 3
    values = [tuple(given) * channels if len(given) == 1 else tuple(given) for given in (options.mean, options.std)]
    if any(len(given) != channels for given in values):
        raise InputError(
            f"--mean and --std take one value or {channels}; received {len(values[0])} and {len(values[1])}"
        )
    return Normalization(*values)


def preprocessing_of(options: argparse.Namespace) -> Preprocessing | None:
    """What was given for a model that is converted; None where no mean and std are.

    Raises
    ------
    InputError
        As `normalization_of`, or a colour order that there is not.
    """
    normalization = normalization_of(options)
    if normalization is None:
        return None
    given = color_of(options)
    if given not in ("RGB", "BGR", "GRAY"):
        raise InputError(f"--color must be RGB, BGR or GRAY; received {given!r}")
    return Preprocessing(normalization.mean, normalization.std, given, resize_of(options))
