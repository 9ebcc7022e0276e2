"""Scales and ticks by hand; markup that cannot be broken out of."""

from __future__ import annotations

import re

import pytest

from edgecv_export.report.charts import Bar, Level, Panel, Point, bar_panels, scatter
from edgecv_export.report.svg import Scale, element, nice_step, scale_for, short, text


def test_element() -> None:
    assert element("rect", x=1.0, height=2.25, class_="a", fill=None) == '<rect x="1" height="2.25" class="a"/>'
    assert element("i", class_="x") == '<i class="x"></i>'
    assert element("table", "<tr></tr>", data_sortable=True) == "<table data-sortable><tr></tr></table>"
    assert element("p", text('<b>&"'), title='"><script>') == (
        '<p title="&quot;&gt;&lt;script&gt;">&lt;b&gt;&amp;&quot;</p>'
    )


def test_scale() -> None:
    scale = Scale(10, 30, 100, 500)
    assert (scale(10), scale(20), scale(30)) == (100, 300, 500)
    assert (scale(-5), scale(99)) == (100, 500)  # cut at the ends
    assert Scale(0, 1, 200, 0)(0.25) == 150  # upwards


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0.0, 50.0, [0, 10, 20, 30, 40, 50]),
        (85.7, 87.3, [86, 86.5, 87]),
        (0.0, 0.0062, [0, 0.001, 0.002, 0.003, 0.004, 0.005, 0.006]),
        (-3.0, 3.0, [-3, -2, -1, 0, 1, 2, 3]),
    ],
)
def test_ticks(low: float, high: float, ticks: list[float]) -> None:
    assert Scale(low, high, 0, 1).ticks() == pytest.approx(ticks)


@pytest.mark.parametrize(("span", "count", "step"), [(10, 5, 2), (7.3, 5, 1), (100, 4, 20), (0.011, 5, 0.002)])
def test_nice_step(span: float, count: int, step: float) -> None:
    assert nice_step(span, count) == pytest.approx(step)


def test_scale_for() -> None:
    scale = scale_for([10, 20], 0, 100, margin=0.1)
    assert (scale.low, scale.high) == (9, 21)
    assert scale_for([10, 20], 0, 100, include=[0], margin=0.1).low == 0
    alone = scale_for([50.0], 0, 100, margin=0.1)
    assert (alone.low, alone.high, alone(50)) == (45, 55, 50)
    nothing = scale_for([0.0], 0, 100)
    assert (nothing.low, nothing.high) == (-1, 1)


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0, "0"), (2.5, "2.5"), (1200, "1,200"), (0.00012, "0.00012"), (86.75, "86.75"), (-0.5, "-0.5")],
)
def test_short(value: float, shown: str) -> None:
    assert short(value) == shown


def test_scatter_puts_points_where_they_belong() -> None:
    points = [Point(1, 10, "a", "tip a"), Point(2, 20, "b", "tip b"), Point(3, 30, "c", "tip <c>", "chosen")]
    drawing = scatter("t", "size", "top-1", points, [Level(15, "limit")])
    circles = [tuple(map(float, found)) for found in re.findall(r'<circle cx="([\d.]+)" cy="([\d.]+)"', drawing)]
    (x1, y1), (x2, y2), (x3, y3) = circles
    assert x2 - x1 == pytest.approx(x3 - x2, abs=0.02)
    assert y1 - y2 == pytest.approx(y2 - y3, abs=0.02)
    assert x1 < x3
    assert y1 > y3  # up is more
    (line,) = re.findall(r'<line [^>]*y1="([\d.]+)"[^>]*class="level', drawing)
    assert float(line) == pytest.approx((y1 + y2) / 2, abs=0.02)
    assert 'data-tip="tip &lt;c&gt;"' in drawing
    assert [drawing.count(f">{name}</text>") for name in "abc"] == [1, 1, 1]


def test_labels_do_not_overlap() -> None:
    """Six points in one place: a label each, as long as there is room, and none on another."""
    drawing = scatter("t", "x", "y", [Point(1, 1 + i / 1e6, str(i), "") for i in range(6)] + [Point(2, 5, "z", "")])
    places = re.findall(r'<text x="([\d.]+)" y="([\d.]+)" class="label"', drawing)
    boxes = [(float(x), float(y)) for x, y in places]
    assert len(boxes) >= 5
    for i, (x, y) in enumerate(boxes):
        assert all(abs(x - u) >= 8.3 or abs(y - v) >= 11.9 for u, v in boxes[:i])


def test_bars_are_as_high_as_their_values() -> None:
    bars = [Bar("a", 10.0, ""), Bar("b", 40.0, ""), Bar("c", None, ""), Bar("d", -10.0, "")]
    drawing = bar_panels("t", [Panel("dB", bars)], ["a", "b", "c", "d"])
    heights = [float(found) for found in re.findall(r'height="([\d.]+)" rx="1"', drawing)]
    assert len(heights) == 3  # nothing where there is no value
    assert heights[1] / heights[0] == pytest.approx(4, rel=1e-3)
    assert heights[2] == pytest.approx(heights[0], rel=1e-3)
