"""``edgecv compare A B --data DIR``: two bundles on the same pictures."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from edgecv_runtime.cli.command import (
    Command,
    add_accelerator_options,
    add_backend_options,
    add_json_option,
    backend_options,
)
from edgecv_runtime.cli.output import kilobytes, say, say_json, table

if TYPE_CHECKING:
    from edgecv_runtime.comparison import Answer, Comparison, Disagreement, PairedAccuracy
    from edgecv_runtime.contact_sheet import Cell

SHEET = "disagreements.png"

_SHOWN = 20  # disagreements in the terminal
_ON_SHEET = 60  # and on the contact sheet


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("a", metavar="A", help="a bundle: the reference")
    parser.add_argument("b", metavar="B", help="another, of the same classes")
    parser.add_argument(
        "--data",
        required=True,
        metavar="DIR",
        help="pictures; as DIR/<class>/*.jpg or with DIR/labels.csv, accuracies are compared too",
    )
    parser.add_argument("--runs", type=int, default=50, metavar="N", help="timed calls of each (default: 50)")
    parser.add_argument(
        "--pictures", metavar="DIR", help=f"write the pictures on which they differ to DIR/{SHEET}, with captions"
    )
    add_backend_options(parser)
    add_accelerator_options(parser)
    add_json_option(parser)


def _run(options: argparse.Namespace) -> int:
    from pathlib import Path

    from edgecv_runtime.comparison import compare
    from edgecv_runtime.contact_sheet import contact_sheet, write_picture

    found = compare(options.a, options.b, options.data, runs=options.runs, **backend_options(options))
    sheet = None
    if options.pictures is not None:
        sheet = Path(options.pictures, SHEET)
        shown = found.disagreements[:_ON_SHEET]
        more = f", the first {len(shown)}" if len(shown) < len(found.disagreements) else ""
        title = f"A and B differ on {len(found.disagreements)} of {found.n} images{more}"
        write_picture(sheet, contact_sheet(title, [_cell(item) for item in shown]))
    if options.json:
        say_json(found.to_dict() | {"pictures": None if sheet is None else str(sheet)})
        return 0
    _print(found)
    if sheet is not None:
        say(f"pictures   {sheet}")
    return 0


def _print(found: Comparison) -> None:
    for name, side in (("A", found.a), ("B", found.b)):
        say(f"{name}  {side.path}: {side.model}")
    skipped = f", {found.skipped} skipped" if found.skipped else ""
    same = found.n - len(found.disagreements)
    say(f"agreement  {100 * found.agreement:.2f} % ({same} of {found.n} images{skipped})")
    say(f"scores     mean |Δ| {found.mean_difference:.3g}, max |Δ| {found.max_difference:.3g}")
    if found.accuracy is not None:
        for line in _accuracy_lines(found.accuracy):
            say(line)
    latencies = f"{found.a.latency.p50_ms:.2f} and {found.b.latency.p50_ms:.2f} ms"
    say(f"latency    {latencies}, B takes {found.latency_ratio:.3f} times as long as A")
    sizes = f"{kilobytes(found.a.size)} and {kilobytes(found.b.size)}"
    say(f"size       {sizes}, B is {found.size_ratio:.3f} times as large as A")
    if found.disagreements:
        say()
        say(_table(found))
    left = len(found.disagreements) - _SHOWN
    if left > 0:
        say(f"… and {left} more (--json lists all)")


def _accuracy_lines(accuracy: PairedAccuracy) -> tuple[str, str]:
    low, high = (100 * bound for bound in accuracy.interval)
    return (
        f"top-1      A {100 * accuracy.a:.2f} %, B {100 * accuracy.b:.2f} %: {100 * accuracy.difference:+.2f} points "
        f"(95 % interval {low:+.2f} to {high:+.2f})",
        f"           B alone is right on {accuracy.gained}, A alone on {accuracy.lost}: p = {accuracy.p_value:.3g} "
        f"({'noise would explain it' if accuracy.p_value >= 0.05 else 'more than noise'}; exact McNemar test)",
    )


def _table(found: Comparison) -> str:
    labelled = found.accuracy is not None
    header = ["image", *(["truth"] if labelled else []), "A says", "B says", *(["right"] if labelled else [])]
    rows = [
        [
            item.path.name,
            *([item.truth_label or ""] if labelled else []),
            _answer(item.a),
            _answer(item.b),
            *([item.right or ""] if labelled else []),
        ]
        for item in found.disagreements[:_SHOWN]
    ]
    return table(header, rows)


def _answer(answer: Answer) -> str:
    return f"{answer.label} {answer.score:.3f}"


def _cell(item: Disagreement) -> Cell:
    from edgecv_runtime.contact_sheet import GREEN, INK, RED, Cell, Line

    def line(name: str, answer: Answer) -> Line:
        color = INK if item.truth is None else GREEN if answer.index == item.truth else RED
        return Line(f"{name} {answer.score:.2f} {answer.label}", color)

    truth = [] if item.truth_label is None else [Line(f"truth: {item.truth_label}")]
    return Cell(item.path, (Line(item.path.name), *truth, line("A", item.a), line("B", item.b)))


COMPARE = Command("compare", "two bundles on the same pictures: agreement, accuracy, latency", _configure, _run)
