"""A matrix as one HTML page that needs nothing else: figures, plots, and a table that sorts and filters."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files

from edgecv_export.matrix.charts import lanes, panels, style_of
from edgecv_export.matrix.row import COMPILED, FAILED, PREPARED, REFUSED, Row
from edgecv_export.report.svg import element, short, text
from edgecv_export.report.tables import Column, table
from edgecv_runtime._version import __version__
from edgecv_runtime.errors import InputError

# The browser itself holds the page to it: nothing is fetched.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'"

_Cell = tuple[object, str]
_NOTHING: _Cell = ("", "–")


def render_matrix(rows: Sequence[Row], conversions: int) -> str:
    """The page of a matrix.

    Parameters
    ----------
    rows : sequence of Row
        At least one.
    conversions : int
        Made for them.

    Returns
    -------
    str
        A complete HTML document, UTF-8.

    Raises
    ------
    InputError
        No rows.
    """
    if not rows:
        raise InputError("a matrix's page needs at least one row; received none")
    models = list(dict.fromkeys(row.model for row in rows))
    content = [_header(rows, models, conversions), _accuracy(rows, models), _times(rows, models), _table(rows)]
    head = "".join(
        [
            '<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            element("title", text(f"{', '.join(models[:3])}: models and devices")),
            f"<style>\n{_resource('report', 'page.css')}{_resource('matrix', 'matrix.css')}</style>",
        ]
    )
    main = element("main", *content, element("footer", text(f"Page by edgecv {__version__}.")))
    script = _resource("report", "page.js") + _resource("matrix", "matrix.js")
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>{head}</head>\n'
        f"<body>\n{main}\n<script>\n{script}</script>\n</body>\n</html>\n"
    )


def _header(rows: Sequence[Row], models: Sequence[str], conversions: int) -> str:
    devices, made = {row.target for row in rows}, [row for row in rows if row.made]
    compiled = sum(row.status == COMPILED for row in rows)
    prepared = sum(row.status == PREPARED for row in rows)
    without = [row for row in rows if not row.made]
    known = [row for row in made if row.fits is not None]
    over = [row for row in known if not row.fits]
    refused = sum(row.status == REFUSED for row in rows)
    failed = sum(row.status == FAILED for row in rows)
    facts = [
        ("Bundles", str(len(made)), f"from {conversions} conversions; {compiled} compiled, {prepared} prepared"),
        ("Devices", str(len(devices)), f"{len(models)} model{'s' if len(models) != 1 else ''}"),
        ("Fit", f"{len(known) - len(over)} of {len(known)}", f"no figure published for {len(made) - len(known)}"),
        ("Without a bundle", str(len(without)), f"{refused} refused, {failed} failed: the table says why"),
    ]
    cards = [
        element(
            "div",
            element("dt", text(name)),
            element("dd", text(value), class_="value"),
            element("dd", text(note), class_="note"),
        )
        for name, value, note in facts
    ]
    tags = element("p", *(element("span", text(model), class_="tag") for model in models))
    return element("header", element("h1", "Models and devices"), tags) + element("dl", *cards, class_="facts")


def _legend(models: Sequence[str], bound: bool, over: bool) -> str:
    entries = [
        element("span", element("i", class_=f"round k{style_of(model, models)}"), text(model)) for model in models
    ]
    if bound:
        entries.append(element("span", text("▶ at least so long: an accelerator at its peak")))
    if over:
        entries.append(element("span", text("pale with a red rim: does not fit")))
    return element("div", *entries, class_="legend")


def _marks(rows: Sequence[Row], models: Sequence[str]) -> str:
    return _legend(models, any(row.at_least for row in rows), any(row.fits is False for row in rows))


def _accuracy(rows: Sequence[Row], models: Sequence[str]) -> str:
    shown = [row for row in rows if row.made and row.milliseconds is not None and row.accuracy is not None]
    if not shown:
        return ""
    metrics = ", ".join(dict.fromkeys(row.metric for row in shown))
    cards = [
        element("div", element("h3", text(name), title=name), drawing, class_="card")
        for name, drawing in panels(shown, models)
    ]
    words = (
        f"{metrics} in % of what runs on the device, against the estimated time of one inference. The axes are the "
        "same in every panel; the other devices are in grey behind. Up and to the left is better."
    )
    return (
        element("h2", "Accuracy against time, device by device")
        + element("p", text(words))
        + _marks(shown, models)
        + element("div", *cards, class_="small")
    )


def _times(rows: Sequence[Row], models: Sequence[str]) -> str:
    shown = [row for row in rows if row.made and row.milliseconds is not None]
    if not shown:
        return ""
    left = {row.target for row in rows if row.made} - {row.target for row in shown}
    words = "From published figures of each processor, on a logarithmic axis; the fastest device is at the top."
    if left:
        words += f" Devices without a published figure to estimate from: {len(left)}; measure on them."
    return (
        element("h2", "Estimated time of one inference")
        + element("p", text(words))
        + element("div", _marks(shown, models), lanes(shown, models), class_="card lanes scroll")
    )


def _table(rows: Sequence[Row]) -> str:
    columns = [
        Column("model", sortable=True),
        Column("device", sortable=True),
        Column("status", sortable=True),
        Column("format", sortable=True),
        Column("precision", sortable=True),
        Column("accuracy %", numeric=True, sortable=True),
        Column("vs float", numeric=True, sortable=True),
        Column("time ms", numeric=True, sortable=True),
        Column("accelerated %", numeric=True, sortable=True),
        Column("size kB", numeric=True, sortable=True),
        Column("memory kB", numeric=True, sortable=True),
        Column("fits", sortable=True),
        Column("note", wide=True),
    ]
    styles = [row.status if not row.made else "over" if row.fits is False else "" for row in rows]
    written = table(columns, [_cells(row) for row in rows], styles)
    words = "A click on a heading sorts. Refusals are rows, too, with their reason."
    field = element("input", type="search", placeholder="filter: pi int8 …", aria_label="filter the table")
    return (
        element("h2", "Every model on every device")
        + element("p", text(words))
        + element("div", field.replace("></input>", ">"), element("output"), class_="filter")
        + element("div", written, class_="card scroll")
    )


def _cells(row: Row) -> list[_Cell]:
    lost = None if row.accuracy is None or row.float_accuracy is None else 100 * (row.accuracy - row.float_accuracy)
    time: _Cell = _NOTHING
    if row.milliseconds is not None:
        time = (row.milliseconds, f"{'≥ ' if row.at_least else ''}{short(_three(row.milliseconds))}")
    fits: _Cell = _NOTHING
    if row.fits is not None:
        fits = ("yes" if row.fits else "no", "yes" if row.fits else "no")
    return [
        (row.model, row.model),
        (row.target_name, row.target_name),
        (row.status, row.status),
        (row.format or "", row.format or "–"),
        (row.precision or "", row.precision or "–"),
        _number(row.accuracy, 100, 2),
        _NOTHING if lost is None else (lost, f"{lost:+.2f}".replace("-", "−")),
        time,
        _number(row.on_accelerator, 100, 1),
        _number(row.size, 1e-3, 0),
        _number(row.memory_bytes, 1e-3, 0),
        fits,
        (row.note, row.note or "–"),
    ]


def _number(value: float | None, factor: float, digits: int) -> _Cell:
    return _NOTHING if value is None else (factor * value, f"{factor * value:,.{digits}f}")


def _three(value: float) -> float:
    """Three significant digits: an estimate has no more."""
    return float(f"{value:.3g}")


def _resource(package: str, name: str) -> str:
    return files(f"edgecv_export.{package}").joinpath(name).read_text(encoding="utf-8")
