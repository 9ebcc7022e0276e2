"""Which of a model's parameters can be moved while it runs: read from the decoder's own description."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from edgecv_runtime.decoders.base import decoder_class
from edgecv_runtime.decoders.parameters import REQUIRED, Parameter
from edgecv_runtime.manifest import Manifest


@dataclass(frozen=True)
class Slider:
    """A number that acts at once.

    Attributes
    ----------
    name : str
        Of the decoder's parameter.
    value, low, high : float
    help : str
        One line.
    """

    name: str
    value: float
    low: float
    high: float
    help: str

    def to_dict(self) -> dict[str, Any]:
        return {"name": self.name, "value": self.value, "low": self.low, "high": self.high, "help": self.help}


def sliders_of(manifest: Manifest) -> tuple[Slider, ...]:
    """The thresholds of a model: every parameter of its decoder that is one number between two bounds.

    Examples
    --------
    >>> [slider.name for slider in sliders_of(model.manifest)]                             # doctest: +SKIP
    ['score_threshold', 'iou_threshold']
    """
    known = getattr(decoder_class(manifest.decoder.name), "parameters_known", {})
    given = manifest.decoder.parameters
    return tuple(
        Slider(name, float(given.get(name, one.default)), one.low, one.high, one.help)
        for name, one in known.items()
        if _slides(one) and (name in given or one.default is not REQUIRED)
    )


def _slides(parameter: Parameter) -> bool:
    plain = not (parameter.choices or parameter.shape or parameter.whole or isinstance(parameter.default, bool))
    return plain and -math.inf < parameter.low and parameter.high <= 1.0
