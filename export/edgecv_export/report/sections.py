"""The parts of the page, each from its part of the report; an empty string where there is nothing to show."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from edgecv_export.figure import Figure, figure
from edgecv_export.report.charts import Bar, Level, Panel, Point, bar_panels, scatter
from edgecv_export.report.svg import element, text
from edgecv_export.report.tables import Column, table
from edgecv_export.report.thumbnails import data_uri
from edgecv_runtime.cli.output import kilobytes
from edgecv_runtime.images import Image
from edgecv_runtime.manifest import Manifest
from edgecv_runtime.paired import difference_interval

_WORST_LAYERS = 5  # marked in the bar chart
_LAYERS_NAMED = 8  # in a piece of advice

_Entry = Mapping[str, Any]


def header(report: _Entry, manifest: Manifest | None) -> str:
    """Name, what it is, and the figures that matter."""
    name = "Export report" if manifest is None else manifest.name
    tags = ""
    if manifest is not None:
        kinds = [manifest.task, manifest.format, manifest.described_precision()]
        architecture = str(manifest.architecture.get("name", ""))
        tags = element(
            "p",
            *(element("span", text(kind), class_="tag") for kind in (architecture, *kinds) if kind and kind != name),
        )
    facts = [*_accuracy(report), *_agreement(report), *_size(report), *_latency(report)]
    cards = [
        element(
            "div",
            element("dt", text(label)),
            element("dd", value, class_="value"),
            element("dd", text(note), class_="note"),
        )
        for label, value, note in facts
    ]
    return element("header", element("h1", text(name)), tags) + (element("dl", *cards, class_="facts") if cards else "")


def _accuracy(report: _Entry) -> list[tuple[str, str, str]]:
    accuracy = report.get("accuracy")
    if not accuracy:
        return []
    before, after = accuracy["float"], accuracy["artefact"]
    shown = figure(after)
    n, change = int(after["n"]), 100 * (after[shown.key] - before[shown.key])
    allowed = report.get("max_drop")
    kind = "bad" if allowed is not None and -change > allowed + 1e-9 else "good"
    value = f"{100 * before[shown.key]:.2f} → " + element("span", f"{100 * after[shown.key]:.2f} %", class_=kind)
    note = f"{_signed(change)} points on {n:,} images{_margin(after, int(after.get('genuine', n)))}"
    if allowed is not None:
        note += f"; {allowed:g} may be lost"
    name = shown.name[0].upper() + shown.name[1:]
    return [(f"{name}, float → artefact", value, note)]


def _margin(after: _Entry, n: int) -> str:
    """What so many images allow to say: of the difference where the discordant pairs are known."""
    gained, lost = after.get("gained"), after.get("lost")
    if gained is not None and lost is not None:
        low, high = (100 * bound for bound in difference_interval(gained, lost, n))
        return f" (95 % interval {_signed(low)} to {_signed(high)})"
    return f" (one image is {100 / n:.2f})" if n else ""


def _size(report: _Entry) -> list[tuple[str, str, str]]:
    if report.get("size") is None:
        return []
    parameters, macs = report.get("parameters"), report.get("macs")
    notes = [] if parameters is None else [f"{parameters:,} parameters"]
    if parameters:
        notes.append(f"{report['size'] / (4 * parameters):.2f}× of their float32 size")
    if macs is not None:
        notes.append(f"{macs / 1e6:,.0f} million MACs")
    return [("Size", kilobytes(report["size"]), ", ".join(notes))]


def size(report: _Entry) -> str:
    """Why a file with 8-bit weights is larger than they promise; nothing for one that is not."""
    parts = report.get("size_parts") or {}
    if not parts.get("why"):
        return ""
    columns = [Column("part"), Column("kB", numeric=True), Column("share %", numeric=True)]
    whole = parts["weights"] + parts["graph"]
    rows = [
        [(name, name), _figure(count, 1e-3, 1), _figure(count / whole, 100, 1)]
        for name, count in (("constants", parts["weights"]), ("graph and manifest", parts["graph"]))
    ]
    return _titled("Size of the file", parts["why"], element("div", table(columns, rows), class_="card scroll"))


def _latency(report: _Entry) -> list[tuple[str, str, str]]:
    latency = report.get("latency")
    if not latency:
        return []
    return [
        ("Latency", f"{latency['p50_ms']:.2f} ms", f"median of {latency['n']}, {latency['backend']}, {latency['cpu']}")
    ]


def _agreement(report: _Entry) -> list[tuple[str, str, str]]:
    """With the float source: on the evaluation pictures, else on the contract's few."""
    after = (report.get("accuracy") or {}).get("artefact") or {}
    parity = report.get("parity") or {}
    proven = f"; max |Δ| {parity['max_abs']:.3g} on {parity['images']} contract images" if parity else ""
    if after.get("agreement") is not None:
        note = f"{figure(after).agreement.removeprefix('the ')} on {after['n']:,} images{proven}"
        return [("Agreement", f"{100 * after['agreement']:.1f} %", note)]
    if parity.get("agreement") is None:
        return []
    agreeing = f"{round(parity['agreement'] * parity['images'])} of {parity['images']}"
    return [("Agreement", agreeing, f"same best class as the float source{proven}")]


def footer(manifest: Manifest | None, version: str) -> str:
    """Where it was proven, and what made it."""
    made = {} if manifest is None else dict(manifest.made_with)
    proven = made.pop("cpu", None)
    lines = [] if proven is None else [f"Proven on {proven}."]
    if made:
        lines.append("Made with " + ", ".join(f"{name} {number}" for name, number in made.items()) + ".")
    lines.append(f"Page by edgecv {version}.")
    return element("footer", text(" ".join(lines)))


# -- the search --------------------------------------------------------------------------------------------------------


def search(report: _Entry) -> str:
    """Every candidate that was tried: two plots and a table."""
    candidates: Sequence[_Entry] = report.get("search") or ()
    if not candidates:
        return ""
    levels = _levels(report)
    judged = _searched(candidates)
    drawn = "".join(
        _candidates_plot(candidates, key, label, unit, divisor, levels)
        for key, label, unit, divisor in (("size", "size", "kB", 1e3), ("latency_ms", "latency", "ms", 1.0))
    )
    columns = [
        Column("#", numeric=True),
        Column("candidate", wide=True),
        Column(f"{judged.name} %", numeric=True),
        Column("agreement %", numeric=True),
        Column("size kB", numeric=True),
        Column("latency ms", numeric=True),
        Column("time s", numeric=True),
        Column("budget"),
        Column("note", wide=True),
    ]
    rows = [
        [
            (number, str(number)),
            (entry["name"], entry["name"]),
            _figure(entry.get(judged.key), 100, 2),
            _figure(entry.get("agreement"), 100, 1),
            _figure(entry.get("size"), 1e-3, 0),
            _figure(entry.get("latency_ms"), 1, 2),
            _figure(entry.get("seconds"), 1, 1),
            _outcome(entry),
            (entry.get("note") or "", entry.get("note") or ""),
        ]
        for number, entry in enumerate(candidates, start=1)
    ]
    classes = ["chosen" if entry.get("chosen") else "" for entry in candidates]
    shown = element("div", table(columns, rows, classes), class_="card scroll")
    legend = _legend(("chosen", "good"), ("within the budget", "accent"), ("beyond it", "bad"), style="round")
    plots = legend + element("div", drawn, class_="pair") if drawn else ""
    about = "Each step tried, the cheapest first. Numbers in the plots are those of the table."
    if not any(entry.get("chosen") for entry in candidates):
        about = "None of the steps tried is within the budget: nothing was written. " + about
    return _titled("Search for the budget", about, plots + shown)


def _searched(candidates: Sequence[_Entry]) -> Figure:
    """The figure that the candidates were judged by."""
    return next((found for found in map(figure, candidates) if found.value is not None), figure({}))


def _levels(report: _Entry) -> list[Level]:
    before = figure((report.get("accuracy") or {}).get("float") or {}).value
    if before is None:
        return []
    allowed = report.get("max_drop")
    budget = [] if allowed is None else [Level(100 * before - allowed, f"float − {allowed:g}", "budget")]
    return [Level(100 * before, "float"), *budget]


def _candidates_plot(
    candidates: Sequence[_Entry], key: str, label: str, unit: str, divisor: float, levels: Sequence[Level]
) -> str:
    points, shown = [], _searched(candidates)
    for number, entry in enumerate(candidates, start=1):
        if entry.get(key) is None or entry.get(shown.key) is None:
            continue
        x, y = entry[key] / divisor, 100 * entry[shown.key]
        tip = f"{number}  {entry['name']}\n{shown.name} {y:.2f} %\n{label} {x:,.2f} {unit}"
        style = ("chosen " if entry.get("chosen") else "") + ("met" if entry.get("met") else "missed")
        points.append(Point(x, y, str(number), tip, style))
    if not points:
        return ""
    points.sort(key=lambda point: "chosen" in point.style)  # the chosen one is drawn over the others
    return element(
        "div",
        scatter(f"Accuracy against {label}", f"{label}, {unit}", f"{shown.name}, %", points, levels),
        class_="card",
    )


def _outcome(entry: _Entry) -> tuple[str, str]:
    words = "chosen" if entry.get("chosen") else "met" if entry.get("met") else "missed"
    return words, words


# -- layers ------------------------------------------------------------------------------------------------------------


def layers(entries: Sequence[_Entry] | None) -> str:
    """The error of each layer: bars in the order of computation, and a table to sort."""
    if not entries:
        return ""
    names = [str(entry["name"]) for entry in entries]
    panels = [
        _panel(label, key, entries, sign, height)
        for label, key, sign, height in (("SQNR, dB", "sqnr_db", 1, 170), ("sensitivity", "sensitivity", -1, 110))
        if any(entry.get(key) is not None for entry in entries)
    ]
    kept = [("kept in float", "float")] if any(entry.get("in_float") for entry in entries) else []
    legend = _legend(("layer", "soft"), ("the worst", "bad"), *kept)
    chart = element("div", bar_panels("Error of each layer", panels, names), class_="card scroll wide")
    columns = [
        Column("#", numeric=True, sortable=True),
        Column("layer", sortable=True),
        Column("kind", sortable=True),
        Column("SQNR dB", numeric=True, sortable=True),
        Column("cosine", numeric=True, sortable=True),
        Column("sensitivity", numeric=True, sortable=True),
        Column("parameters %", numeric=True, sortable=True),
        Column("stored", sortable=True),
    ]
    rows = [
        [
            (number, str(number)),
            (entry["name"], entry["name"]),
            (entry.get("kind") or "", entry.get("kind") or "–"),
            _figure(entry.get("sqnr_db"), 1, 1),
            _figure(entry.get("cosine"), 1, 5),
            _scientific(entry.get("sensitivity")),
            _figure(entry.get("parameters"), 100, 2),
            ("float", "float") if entry.get("in_float") else ("quantized", "quantized"),
        ]
        for number, entry in enumerate(entries, start=1)
    ]
    shown = element("div", table(columns, rows), class_="card scroll tall", tabindex=0)
    about = (
        "Artefact against float network, on real activations. The signal-to-quantization-noise ratio holds the errors "
        "of all layers before too: look for where it falls. Sensitivity is what quantizing that one layer costs: the "
        "mean squared error at the output, as a share of the output's variance."
    )
    return _titled("Error of each layer", about, legend + chart + shown)


def _panel(label: str, key: str, entries: Sequence[_Entry], sign: int, height: int) -> Panel:
    """Bars of one figure, the worst marked: the least where `sign` is 1, the largest where it is -1."""
    known = sorted((entry for entry in entries if entry.get(key) is not None), key=lambda entry: sign * entry[key])
    worst = {id(entry) for entry in known[: min(_WORST_LAYERS, math.ceil(len(known) / 3))]}
    bars = []
    for number, entry in enumerate(entries, start=1):
        value = entry.get(key)
        style = "float" if entry.get("in_float") else "worst" if id(entry) in worst else ""
        bars.append(Bar(str(entry["name"]), None if value is None else float(value), _layer_tip(number, entry), style))
    return Panel(label, bars, height)


def _layer_tip(number: int, entry: _Entry) -> str:
    lines = [f"{number}  {entry['name']}" + (f" ({entry['kind']})" if entry.get("kind") else "")]
    figures = (
        ("SQNR", "sqnr_db", "{:.1f} dB"),
        ("cosine", "cosine", "{:.5f}"),
        ("sensitivity", "sensitivity", "{:.2e}"),
    )
    for label, key, style in figures:
        if entry.get(key) is not None:
            lines.append(f"{label} {style.format(entry[key])}")
    if len(entry.get("layers") or ()) > 1:
        lines.append(" → ".join(str(name) for name in entry["layers"]))
    return "\n".join(lines)


# -- worst images, advice ----------------------------------------------------------------------------------------------


def worst_images(entries: Sequence[_Entry] | None, thumbnails: Mapping[str, Image]) -> str:
    """The images on which quantization did most harm."""
    if not entries:
        return ""
    figures = []
    for entry in entries:
        picture = thumbnails.get(entry["file"])
        image = "" if picture is None else element("img", src=data_uri(picture), alt=str(entry["file"]))
        said = [("truth", entry.get("truth"), ""), ("float", entry.get("float_label"), "")]
        wrong = entry.get("artefact_label") != entry.get("float_label")
        said.append(("artefact", entry.get("artefact_label"), "bad" if wrong else ""))
        terms = "".join(
            element("dt", text(name)) + element("dd", text(value), class_=kind or None)
            for name, value, kind in said
            if value is not None
        )
        drop = entry.get("probability_drop")
        if drop is not None:
            terms += element("dt", "lost") + element("dd", f"{100 * drop:.1f} points of probability")
        caption = element("figcaption", element("b", text(entry["file"])), element("dl", terms))
        figures.append(element("figure", image, caption, class_="card"))
    about = "Where the artefact's answer moved farthest from the float network's."
    return _titled("Worst images", about, element("div", *figures, class_="pictures"))


def advice(entries: Sequence[_Entry] | None) -> str:
    """What in the architecture costs accuracy, and what helps."""
    if not entries:
        return ""
    items = []
    for entry in entries:
        names = [str(name) for name in entry.get("layers") or ()]
        more = f" and {len(names) - _LAYERS_NAMED} more" if len(names) > _LAYERS_NAMED else ""
        severity = entry["severity"] if entry["severity"] in ("high", "medium", "low") else ""
        heading = element("h3", element("span", text(entry["severity"])), text(entry["title"]))
        lines = [element("p", text(entry["cost"])), element("p", element("b", "What helps: "), text(entry["remedy"]))]
        if names:
            lines.append(element("p", text(", ".join(names[:_LAYERS_NAMED]) + more), class_="layers"))
        if entry.get("source"):
            lines.append(element("p", text(f"Source: {entry['source']}"), class_="source"))
        items.append(element("li", heading, *lines, class_=f"card {severity}"))
    return _titled("Advice on the architecture", "", element("ul", *items, class_="advice"))


# -- pieces ------------------------------------------------------------------------------------------------------------


def _titled(title: str, about: str, content: str) -> str:
    return element("section", element("h2", text(title)), element("p", text(about)) if about else "", content)


def _legend(*entries: tuple[str, str], style: str = "") -> str:
    return element(
        "div",
        *(element("span", element("i", class_=f"c-{color} {style}".strip()), text(label)) for label, color in entries),
        class_="legend",
    )


def _figure(value: float | None, factor: float, digits: int) -> tuple[object, str]:
    """A cell's value to sort by, and what it shows."""
    return ("", "–") if value is None else (value * factor, f"{value * factor:,.{digits}f}")


def _signed(value: float) -> str:
    return f"{value:+.2f}".replace("-", "−")


def _scientific(value: float | None) -> tuple[object, str]:
    return ("", "–") if value is None else (value, f"{value:.2e}")
