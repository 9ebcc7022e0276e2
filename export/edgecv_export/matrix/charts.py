"""The page's plots: every device's time in a lane of its own, and accuracy against time, a panel for each device.

Time spans five powers of ten between a microcontroller and an accelerator, so its axis is logarithmic and the same in
every panel: panels can be compared by eye.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from edgecv_export.matrix.row import Row
from edgecv_export.report.svg import Scale, element, scale_for, short, text

STYLES = 8  # colours; more models share them
_LANE, _PANEL_WIDTH, _PANEL_HEIGHT = 19, 252, 150


def lanes(rows: Sequence[Row], models: Sequence[str]) -> str:
    """One lane a device, the fastest at the top, with a mark for each model; an arrow where it is a lower bound.

    Parameters
    ----------
    rows : sequence of Row
        Those with an estimate; at least one.
    models : sequence of str
        In the order of their colours.
    """
    by_device = _by_device(rows)
    order = sorted(by_device, key=lambda name: min(_time(row) for row in by_device[name]))
    width, left, right, top = 1120, 250, 28, 8
    base = top + _LANE * len(order)
    x = _time_scale(rows, left, width - right)
    marks = [*_powers(x, top, base)]
    for index, name in enumerate(order):
        y = top + _LANE * (index + 0.5)
        marks.append(element("line", x1=left, x2=width - right, y1=y, y2=y, class_="grid lane"))
        marks.append(element("text", text(name), x=left - 10, y=y + 4, class_="lane", text_anchor="end"))
        marks += [_mark(row, x(math.log10(_time(row))), y, models) for row in by_device[name]]
    marks.append(_title("estimated time of one inference", (left + width - right) / 2, base + 36))
    return _drawing("Estimated time by device", width, base + 44, marks)


def panels(rows: Sequence[Row], models: Sequence[str]) -> list[tuple[str, str]]:
    """(device, drawing) of accuracy against time; the other devices' points are in grey behind.

    Parameters
    ----------
    rows : sequence of Row
        Those with an estimate and an accuracy; at least one.
    models : sequence of str
        In the order of their colours.
    """
    left, right, top, base = 38, 22, 8, _PANEL_HEIGHT - 22
    x = _time_scale(rows, left, _PANEL_WIDTH - right)
    span = scale_for([100 * (row.accuracy or 0.0) for row in rows], base, top, margin=0.15)
    y = Scale(max(0.0, span.low), min(101.0, span.high), base, top)  # a mark at 100 % must not be cut

    def place(row: Row) -> tuple[float, float]:
        return x(math.log10(_time(row))), y(100 * (row.accuracy or 0.0))

    frame = [*_powers(x, top, base)]
    for tick in y.ticks(3):
        frame.append(element("line", x1=left, x2=_PANEL_WIDTH - right, y1=y(tick), y2=y(tick), class_="grid"))
        frame.append(element("text", text(short(tick)), x=left - 6, y=y(tick) + 3.5, text_anchor="end"))
    found = []
    by_device = _by_device(rows)
    for name in sorted(by_device, key=lambda name: min(_time(row) for row in by_device[name])):
        others = [place(row) for row in rows if row.target_name != name]
        ghosts = [element("circle", cx=a, cy=b, r=2.0, class_="ghost") for a, b in dict.fromkeys(others)]
        own = [_mark(row, *place(row), models) for row in by_device[name]]
        title = f"Accuracy against time on {name}"
        found.append((name, _drawing(title, _PANEL_WIDTH, _PANEL_HEIGHT, [*frame, *ghosts, *own])))
    return found


def tip(row: Row) -> str:
    """What is shown when the pointer rests on a mark."""
    lines = [
        f"{row.model} on {row.target_name}",
        f"{row.format} {row.precision}, {'at least ' if row.at_least else ''}{short(_time(row))} ms: {row.basis}",
    ]
    if row.accuracy is not None:
        lines.append(f"{row.metric} {100 * row.accuracy:.2f} % on {row.images:,} images")
    if row.fits is False:
        lines.append("does not fit")
    return "\n".join(lines)


def style_of(model: str, models: Sequence[str]) -> int:
    """The number of a model's colour."""
    return list(models).index(model) % STYLES


def _by_device(rows: Sequence[Row]) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row.target_name, []).append(row)
    return found


def _time(row: Row) -> float:
    return max(row.milliseconds or 0.0, 1e-6)


def _time_scale(rows: Sequence[Row], start: float, end: float) -> Scale:
    """Of log10(ms), from one power of ten to another."""
    times = [math.log10(_time(row)) for row in rows]
    low, high = math.floor(min(times) - 0.05), math.ceil(max(times) + 0.05)
    return Scale(low, max(high, low + 1), start, end)


def _powers(x: Scale, top: float, base: float) -> list[str]:
    marks = []
    for power in range(round(x.low), round(x.high) + 1):
        place = x(power)
        marks.append(element("line", x1=place, x2=place, y1=top, y2=base, class_="grid"))
        marks.append(element("text", text(_duration(power)), x=place, y=base + 15, text_anchor="middle"))
    return marks


def _duration(power: int) -> str:
    """10^power ms in a unit that needs few digits."""
    if power >= 3:
        return f"{10 ** (power - 3):,} s"
    return f"{10**power} ms" if power >= 0 else f"{10 ** (power + 3)} µs"


def _mark(row: Row, x: float, y: float, models: Sequence[str]) -> str:
    if row.at_least:  # it points to where the truth is
        shape = element("path", d=f"M{x - 4:.1f} {y - 5:.1f} L{x + 6:.1f} {y:.1f} L{x - 4:.1f} {y + 5:.1f} Z")
    else:
        shape = element("circle", cx=x, cy=y, r=5.0)
    over = " over" if row.fits is False else ""
    return element("g", shape, class_=f"point s{style_of(row.model, models)}{over}", data_tip=tip(row), tabindex=0)


def _title(label: str, x: float, y: float) -> str:
    return element("text", text(label), x=x, y=y, class_="axis-title", text_anchor="middle")


def _drawing(title: str, width: int, height: int, marks: Sequence[str]) -> str:
    return element(
        "svg",
        element("title", text(title)),
        *marks,
        viewBox=f"0 0 {width} {height}",
        width=width,
        height=height,
        role="img",
        xmlns="http://www.w3.org/2000/svg",
    )
