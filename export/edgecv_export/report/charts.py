"""The page's plots: points in a plane, and bars in a row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgecv_export.report.svg import Scale, element, scale_for, short, text

_CHARACTER = 6.4  # pixels of a character in an 11-pixel label


@dataclass(frozen=True)
class Point:
    """A point of a scatter plot.

    Attributes
    ----------
    x, y : float
    label : str
        Beside the point; a few characters.
    tip : str
        Shown when the pointer rests on it.
    style : str
        Class of the style sheet.
    """

    x: float
    y: float
    label: str
    tip: str
    style: str = ""


@dataclass(frozen=True)
class Level:
    """A horizontal line across a scatter plot."""

    y: float
    label: str
    style: str = ""


def scatter(
    title: str, x_label: str, y_label: str, points: Sequence[Point], levels: Sequence[Level] = (), width: int = 470
) -> str:
    """Points with labels that keep clear of each other, and horizontal lines.

    Parameters
    ----------
    title : str
        For those who hear the page.
    x_label, y_label : str
    points : sequence of Point
        At least one.
    levels : sequence of Level
    width : int
        Pixels of the drawing; it scales with the page.
    """
    height, left, right, top, bottom = 300, 56, 80 if levels else 14, 14, 44
    x = scale_for([point.x for point in points], left, width - right)
    y = scale_for([point.y for point in points], height - bottom, top, include=[level.y for level in levels])
    y = Scale(y.low, y.high + 0.04 * (y.high - y.low), y.start, y.end)  # a line at the very top would be cut
    marks = [
        *(_horizontal(y(tick), left, width - right, short(tick)) for tick in y.ticks()),
        *(_vertical(x(tick), height - bottom, short(tick)) for tick in x.ticks()),
        *_levels(levels, y, left, width - right),
        _axis_title(x_label, (left + width - right) / 2, height - 8),
        _axis_title(y_label, 13, (top + height - bottom) / 2, turned=True),
    ]
    taken = [(x(point.x) - 6, y(point.y) - 6, x(point.x) + 6, y(point.y) + 6) for point in points]
    labels = []
    for point in points:
        dot = element("circle", cx=x(point.x), cy=y(point.y), r=6.0 if "chosen" in point.style else 4.5)
        marks.append(element("g", dot, class_=f"point {point.style}", data_tip=point.tip, tabindex=0))
        labels.append(_label(point.label, x(point.x), y(point.y), taken, (left, top, width - right, height - bottom)))
    return _drawing(title, width, height, "".join(marks + labels))


@dataclass(frozen=True)
class Bar:
    """One of a row of bars; a value of None leaves a gap."""

    name: str
    value: float | None
    tip: str
    style: str = ""


@dataclass(frozen=True)
class Panel:
    """A row of bars with its own scale."""

    label: str
    bars: Sequence[Bar]
    height: int = 170


def bar_panels(title: str, panels: Sequence[Panel], names: Sequence[str]) -> str:
    """Rows of bars one above the other, with the names below the last.

    Parameters
    ----------
    title : str
    panels : sequence of Panel
        Each with one bar for each name.
    names : sequence of str
        As many as fit are shown.
    """
    pitch = max(9.0, min(34.0, 900 / max(1, len(names))))
    left, right, top, gap = 60, 10, 10, 22
    width = left + pitch * len(names) + right
    marks: list[str] = []
    for panel in panels:
        marks += _panel(panel, left, top, width - right, pitch)
        top += panel.height + gap
    every = 1 if pitch >= 9 else 2
    shown = [name if len(name) <= 26 else f"{name[:12]}…{name[-12:]}" for name in names]
    for index in range(0, len(names), every):
        place = f"translate({left + pitch * (index + 0.5) + 3:.1f} {top - gap + 10}) rotate(-60)"
        marks.append(element("text", text(shown[index]), transform=place, class_="name", text_anchor="end"))
    longest = max((len(name) for name in shown), default=0)
    return _drawing(title, round(width), round(top - gap + 16 + 4.5 * longest), "".join(marks))


def _panel(panel: Panel, left: float, top: float, right: float, pitch: float) -> list[str]:
    base = top + panel.height
    values = [bar.value for bar in panel.bars if bar.value is not None] or [0.0]
    y = Scale(min(0.0, *values), max(*values, 0.0) * 1.06 or 1.0, base, top + 4)
    marks = [_horizontal(y(tick), left, right, short(tick)) for tick in y.ticks(4)]
    marks.append(_axis_title(panel.label, 13, (top + base) / 2, turned=True))
    for index, bar in enumerate(panel.bars):
        if bar.value is None:
            continue
        ends = sorted((y(0.0), y(bar.value)))
        x, room = left + pitch * index, min(2.5, 0.22 * pitch)
        shape = element("rect", x=x + room, y=ends[0], width=pitch - 2 * room, height=max(1.0, ends[1] - ends[0]), rx=1)
        target = element("rect", x=x, y=top, width=pitch, height=panel.height, class_="target")
        marks.append(element("g", shape, target, class_=f"bar {bar.style}", data_tip=bar.tip))
    return marks


def _drawing(title: str, width: int, height: int, content: str) -> str:
    return element(
        "svg",
        element("title", text(title)),
        content,
        viewBox=f"0 0 {width} {height}",
        width=width,
        height=height,
        role="img",
        xmlns="http://www.w3.org/2000/svg",
    )


def _horizontal(y: float, left: float, right: float, label: str) -> str:
    line = element("line", x1=left, x2=right, y1=y, y2=y, class_="grid")
    return line + element("text", text(label), x=left - 7, y=y + 3.5, class_="tick", text_anchor="end")


def _vertical(x: float, base: float, label: str) -> str:
    line = element("line", x1=x, x2=x, y1=base, y2=base + 4, class_="axis")
    return line + element("text", text(label), x=x, y=base + 17, class_="tick", text_anchor="middle")


def _levels(levels: Sequence[Level], y: Scale, left: float, right: float) -> list[str]:
    """Lines across, their labels beside them on the right and clear of each other."""
    marks, lowest = [], float("-inf")
    for level in sorted(levels, key=lambda level: -level.y):
        place = y(level.y)
        lowest = max(place, lowest + 13)
        marks.append(element("line", x1=left, x2=right, y1=place, y2=place, class_=f"level {level.style}"))
        marks.append(element("text", text(level.label), x=right + 6, y=lowest + 3.5, class_=f"level {level.style}"))
    return marks


def _axis_title(label: str, x: float, y: float, turned: bool = False) -> str:
    turn = f"rotate(-90 {x:.1f} {y:.1f})" if turned else None
    return element("text", text(label), x=x, y=y, class_="axis-title", text_anchor="middle", transform=turn)


_Box = tuple[float, float, float, float]


def _label(label: str, x: float, y: float, taken: list[_Box], frame: tuple[float, float, float, float]) -> str:
    """A point's label at the first place around it that is free; it joins what is taken. Nothing where none is."""
    wide = _CHARACTER * len(label) + 2
    offsets = [(distance * a, distance * b) for distance in (1.0, 1.9, 2.8) for a, b in _AROUND]
    for dx, dy in offsets:
        left = x + 8 * dx - (wide if dx < 0 else wide / 2 if dx == 0 else 0)
        box = (left, y + 11 * dy - 6, left + wide, y + 11 * dy + 6)
        inside = box[0] >= frame[0] and box[2] <= frame[2] and box[1] >= frame[1] and box[3] <= frame[3]
        if inside and not any(_overlap(box, other) for other in taken):
            taken.append(box)
            return element("text", text(label), x=left + wide / 2, y=box[3] - 2, class_="label", text_anchor="middle")
    return ""


_AROUND = ((1, 0), (0, -1), (0, 1), (-1, 0), (1, -1), (1, 1), (-1, -1), (-1, 1))


def _overlap(a: _Box, b: _Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
