"""What in an architecture will cost accuracy, size or time on a device, before any time is spent on exporting it.

Each rule looks at the layers, some also at their weights; none runs the model. A figure that a piece of advice names
was measured or published, and its source is named with it; where there is none, the advice says so.
"""

from __future__ import annotations

from typing import Any

from edgecv_export.advice.activations import ACTIVATION_RULES
from edgecv_export.advice.network import Advice, Network, Rule
from edgecv_export.advice.ranges import RANGE_RULES
from edgecv_export.advice.structure import STRUCTURE_RULES
from edgecv_runtime.errors import InputError
from edgecv_runtime.manifest import FORMATS, PRECISIONS

__all__ = ["Advice", "advise"]

_SEVERITIES = ("high", "medium", "low")

# Rules about 8-bit activations, and those that hold whatever the precision.
_QUANTIZED: tuple[Rule, ...] = (*ACTIVATION_RULES, *RANGE_RULES)
_ALWAYS: tuple[Rule, ...] = STRUCTURE_RULES


def advise(model: Any, format: str | None = None, precision: str | None = None) -> tuple[Advice, ...]:
    """Look over a model for what its export will have to cope with.

    Parameters
    ----------
    model : keras.Model
        Functional or Sequential, built; trained weights tell more, but are not needed.
    format : {"tflite", "onnx", "openvino"}, optional
        None: what concerns any of them.
    precision : {"fp32", "fp16", "dynamic", "int8", "int16x8", "mixed"}, optional
        None: as for int8. Advice on 8-bit activations is given for int8 and mixed only.

    Returns
    -------
    tuple of Advice
        The gravest first; empty where there is nothing to say.

    Raises
    ------
    InputError
        Unknown format or precision.
    UnsupportedError
        The model is subclassed: its layers cannot be walked.

    Examples
    --------
    >>> import edgecv
    >>> advise(edgecv.create_model("mobilenet_v1", input_shape=(96, 96, 3)), "tflite", "int8")
    ()
    """
    if format is not None and format not in FORMATS:
        raise InputError(f"format must be one of {', '.join(FORMATS)}; received {format!r}")
    if precision is not None and precision not in PRECISIONS:
        raise InputError(f"precision must be one of {', '.join(PRECISIONS)}; received {precision!r}")
    network = Network(model, format)
    rules = _QUANTIZED + _ALWAYS if precision in (None, "int8", "mixed") else _ALWAYS
    found = [advice for rule in rules for advice in rule(network)]
    return tuple(sorted(found, key=lambda advice: _SEVERITIES.index(advice.severity)))
