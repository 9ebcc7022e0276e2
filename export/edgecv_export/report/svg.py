"""Drawing in SVG: elements, scales and their ticks. Colours and type come from the page's style sheet, by class."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape


def element(tag: str, *content: str, **attributes: object) -> str:
    """An element of SVG or HTML; attributes are escaped, content (markup already) is not.

    A trailing underscore and inner ones of a keyword become what HTML writes: ``class_``, ``data_tip``. An attribute
    that is None is left out; True gives it without a value.

    Examples
    --------
    >>> element("text", text("a < b"), x=1.5, text_anchor="end")
    '<text x="1.5" text-anchor="end">a &lt; b</text>'
    """
    written = "".join(_attribute(name, value) for name, value in attributes.items() if value is not None)
    inside = "".join(content)
    return f"<{tag}{written}>{inside}</{tag}>" if inside or tag not in _VOID else f"<{tag}{written}/>"


_VOID = frozenset({"line", "rect", "circle", "path", "img", "use"})


def _attribute(name: str, value: object) -> str:
    name = name.rstrip("_").replace("_", "-")
    if value is True:
        return f" {name}"
    shown = f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
    return f' {name}="{escape(shown)}"'


def text(value: object) -> str:
    """Text as content of an element."""
    return escape(str(value))


@dataclass(frozen=True)
class Scale:
    """A linear map from values to pixels.

    Attributes
    ----------
    low, high : float
        Values; ``low < high``.
    start, end : float
        Pixels at `low` and `high`.
    """

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return self.start + min(1.0, max(0.0, share)) * (self.end - self.start)

    def ticks(self, count: int = 5) -> list[float]:
        """Round values within the scale, about `count` of them."""
        step = nice_step(self.high - self.low, count)
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return [round(index * step, 12) for index in range(first, last + 1)]


def nice_step(span: float, count: int) -> float:
    """The step of 1, 2 or 5 times a power of ten that parts a span into about `count`.

    Examples
    --------
    >>> nice_step(7.3, 5), nice_step(0.011, 5)
    (1.0, 0.002)
    """
    rough = span / max(1, count)
    power = 10.0 ** math.floor(math.log10(rough))
    factor = next(factor for factor in (1, 2, 5, 10) if rough <= factor * power * 1.5 or factor == 10)
    return float(f"{factor * power:.12g}")


def scale_for(
    values: Sequence[float], start: float, end: float, *, include: Sequence[float] = (), margin: float = 0.08
) -> Scale:
    """A scale that holds all values with some room at both ends.

    Parameters
    ----------
    values : sequence of float
        At least one.
    start, end : float
        Pixels.
    include : sequence of float
        Values that the scale must reach, without room beyond.
    margin : float
        Room, as a share of the values' span.
    """
    low, high = min(values), max(values)
    room = margin * (high - low) or margin * abs(high) or 1.0
    return Scale(min(low - room, *include, low), max(high + room, *include, high), start, end)


def short(value: float) -> str:
    """A number for an axis: four significant digits, no superfluous zeros.

    Examples
    --------
    >>> short(2.50), short(1200.0), short(0.00012)
    ('2.5', '1,200', '0.00012')
    """
    if value == 0:
        return "0"
    digits = max(0, 3 - math.floor(math.log10(abs(value))))
    shown = f"{value:,.{digits}f}"
    return shown.rstrip("0").rstrip(".") if "." in shown else shown
