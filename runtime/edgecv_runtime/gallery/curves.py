"""ROC and DET curves of a calibration as an SVG picture; text is all it takes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from html import escape
from statistics import NormalDist

from edgecv_runtime.errors import InputError
from edgecv_runtime.gallery.calibration import Calibration, CurvePoint

KINDS = ("det", "roc")

_WIDTH, _HEIGHT = 640, 480
_LEFT, _RIGHT, _TOP, _BOTTOM = 76, 24, 56, 60
_DECADES = (1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)
_RATES = (1e-5, 1e-4, 1e-3, 0.01, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8)
_STYLE = (
    "text{font:13px system-ui,sans-serif;fill:#333}.t{font-size:15px;font-weight:600}.g{stroke:#ddd}"
    ".c{fill:none;stroke:#1565c0;stroke-width:2}.m{fill:#c62828}.n{fill:#c62828}"
)


def draw_curve(calibration: Calibration, kind: str = "det") -> str:
    """An SVG document.

    Parameters
    ----------
    calibration : Calibration
    kind : {"det", "roc"}
        DET (Martin et al. 1997, "The DET curve in assessment of detection task performance"): false rejects against
        false accepts, both axes by the normal distribution's quantiles, on which Gaussian scores give a straight line.
        ROC: true accepts against false accepts, the latter on a logarithmic axis.

    Raises
    ------
    InputError
        No such curve, or a calibration without points.

    Examples
    --------
    >>> Path("det.svg").write_text(draw_curve(gallery.calibration), encoding="utf-8")     # doctest: +SKIP
    """
    if kind not in KINDS:
        raise InputError(f"a curve must be one of {', '.join(KINDS)}; received {kind!r}")
    if not calibration.curve:
        raise InputError("the calibration holds no curve; run edgecv gallery calibrate again")
    return _det(calibration) if kind == "det" else _roc(calibration)


def _roc(calibration: Calibration) -> str:
    least = min(point.far for point in calibration.curve)
    low = math.floor(math.log10(least) + 1e-9)
    bottom = min(0.9, math.floor(10 * min(_tars(calibration.curve))) / 10)
    across = _axis(min(low, -1), 0, _LEFT, _WIDTH - _RIGHT)
    up = _axis(bottom, 1, _HEIGHT - _BOTTOM, _TOP)

    def place(far: float, tar: float) -> tuple[float, float]:
        return across(math.log10(max(far, least))), up(tar)

    steps = 5 if bottom < 0.9 else 4
    levels = [bottom + (1 - bottom) * step / steps for step in range(steps + 1)]
    return _picture(
        calibration,
        "ROC: verification",
        [(across(math.log10(value)), f"{value:g}") for value in _DECADES if math.log10(value) >= low],
        [(up(value), f"{value:.3g}") for value in levels],
        ("false accept rate", "true accept rate"),
        [place(point.far, point.tar) for point in calibration.curve],
        place(calibration.far.value, calibration.tar.value),
    )


def _det(calibration: Calibration) -> str:
    points = [(point.far, 1 - point.tar) for point in calibration.curve]
    # A rate of 0 or 1 has no quantile: half a trial stands for none, as far as the picture goes.
    least = {"far": 0.5 / calibration.far.count, "frr": 0.5 / calibration.tar.count}
    quantile = NormalDist().inv_cdf
    marked = (calibration.far.value, 1 - calibration.tar.value)

    def range_of(values: Sequence[float], floor: float) -> tuple[float, float]:
        inside = [min(max(value, floor), 1 - floor) for value in values]
        return quantile(min(inside)) - 0.15, quantile(min(max(inside), 0.6)) + 0.15

    far_range = range_of([far for far, _ in points] + [marked[0]], least["far"])
    frr_range = range_of([frr for _, frr in points] + [marked[1]], least["frr"])
    across, up = _axis(*far_range, _LEFT, _WIDTH - _RIGHT), _axis(*frr_range, _HEIGHT - _BOTTOM, _TOP)

    def place(far: float, frr: float) -> tuple[float, float]:
        inside = [
            min(max(far, least["far"]), 1 - least["far"]),
            min(max(frr, least["frr"]), 1 - least["frr"]),
        ]
        return across(quantile(inside[0])), up(quantile(inside[1]))

    def ticks(axis: Callable[[float], float], edges: tuple[float, float]) -> list[tuple[float, str]]:
        return [(axis(quantile(rate)), f"{rate:g}") for rate in _RATES if edges[0] <= quantile(rate) <= edges[1]]

    return _picture(
        calibration,
        "DET: verification",
        ticks(across, far_range),
        ticks(up, frr_range),
        ("false accept rate", "false reject rate"),
        [place(far, frr) for far, frr in points],
        place(*marked),
    )


def _tars(curve: Sequence[CurvePoint]) -> list[float]:
    return [point.tar for point in curve]


def _axis(low: float, high: float, start: float, end: float) -> Callable[[float], float]:
    """From values to pixels; what is beyond stops at the edge."""
    return lambda value: start + min(1.0, max(0.0, (value - low) / (high - low))) * (end - start)


def _picture(
    calibration: Calibration,
    title: str,
    across: list[tuple[float, str]],
    up: list[tuple[float, str]],
    axes: tuple[str, str],
    curve: list[tuple[float, float]],
    marked: tuple[float, float],
) -> str:
    bottom, right = _HEIGHT - _BOTTOM, _WIDTH - _RIGHT
    parts = [f'<text class="t" x="{_LEFT}" y="24">{escape(title)}</text>']
    about = (
        f"{calibration.people} people, {calibration.samples} samples, distance {calibration.distance}, template "
        f"{calibration.template}"
    )
    parts.append(f'<text x="{_LEFT}" y="43">{escape(about)}</text>')
    for x, label in across:
        parts.append(f'<line class="g" x1="{x:.1f}" y1="{_TOP}" x2="{x:.1f}" y2="{bottom}"/>')
        parts.append(f'<text x="{x:.1f}" y="{bottom + 18}" text-anchor="middle">{label}</text>')
    for y, label in up:
        parts.append(f'<line class="g" x1="{_LEFT}" y1="{y:.1f}" x2="{right}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{label}</text>')
    middle, half = (_LEFT + right) / 2, (_TOP + bottom) / 2
    parts.append(f'<text x="{middle:.0f}" y="{_HEIGHT - 14}" text-anchor="middle">{axes[0]}</text>')
    parts.append(
        f'<text x="18" y="{half:.0f}" text-anchor="middle" transform="rotate(-90 18 {half:.0f})">{axes[1]}</text>'
    )
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in curve)
    parts.append(f'<polyline class="c" points="{points}"/>')
    x, y = marked
    note = f"threshold {calibration.threshold:.3f}"
    anchor, offset = ("start", 9) if x < middle else ("end", -9)
    above = y - 9 if y > half else y + 18
    parts.append(f'<circle class="m" cx="{x:.1f}" cy="{y:.1f}" r="4.5"/>')
    parts.append(f'<text class="n" x="{x + offset:.1f}" y="{above:.1f}" text-anchor="{anchor}">{note}</text>')
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" '
        f'height="{_HEIGHT}" role="img" aria-label="{escape(title)}"><style>{_STYLE}</style>'
        f'<rect width="100%" height="100%" fill="#fff"/>{"".join(parts)}</svg>\n'
    )
