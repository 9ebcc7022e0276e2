"""The operators that a registered model will have, before it is exported: converted without care for its answers.

Which operators there are depends neither on the weights nor on the pictures, so that random weights, two generated
pictures and rounding to nearest will do: seconds, where an export takes minutes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgecv_runtime.errors import UnsupportedError
from edgecv_runtime.manifest import INTEGER_PRECISIONS
from edgecv_targets import Target

_PICTURES = 2


def precision_there(target: Target) -> str:
    """The precision that a model is exported in for a device, if nothing else is said."""
    return next((name for name in target.precisions if name != "mixed"), "fp32")


def drafted(name: str, options: Mapping[str, Any], target: Target) -> bytes:
    """The TFLite file of a model from the registry, as a device would get it.

    Parameters
    ----------
    name : str
        As `edgecv models` lists it.
    options : Mapping
        For `create_model`.
    target : Target
        Decides the precision.

    Raises
    ------
    InputError
        There is no such model or option.
    UnsupportedError
        The model takes no pictures, or has a form that TFLite does not.
    """
    from edgecv.models.registry import get_record
    from edgecv_export.quiet import start_tensorflow

    record = get_record(name)
    if len(options.get("input_shape", record.input_shape)) != 3:
        raise UnsupportedError(f"{name} takes no pictures: export it to TFLite, and check the bundle")
    start_tensorflow()
    from edgecv.models.factory import create_model
    from edgecv_export.calibration import contract_pictures
    from edgecv_export.plan import Plan
    from edgecv_export.quantize.recipe import Recipe
    from edgecv_export.sources import source_of

    precision = precision_there(target)
    source = source_of(create_model(name, **options))
    recipe = Recipe(adaround=False, correct=False) if precision in INTEGER_PRECISIONS else None
    pixels = source.pixels(contract_pictures(source.size, _PICTURES))
    return source.convert(Plan("tflite", precision), pixels, recipe).model
