"""``edgecv quickstart``: the main job, start to end, on what the package ships."""

from __future__ import annotations

import argparse

from edgecv_runtime.cli.command import Command, add_json_option
from edgecv_runtime.cli.output import kilobytes, remark, say, say_json, table


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-o", "--output", default="quickstart", metavar="DIR", help="where the bundles go (default: ./quickstart)"
    )
    add_json_option(parser)


def _run(options: argparse.Namespace) -> int:
    from edgecv_export.quiet import start_tensorflow

    start_tensorflow()
    from edgecv.models.pretrained import shipped_facts
    from edgecv.models.registry import get_record
    from edgecv_export.quickstart import quickstart

    facts = shipped_facts(get_record("lenet5"), "digits")
    remark(
        f"LeNet-5, {facts['parameters']:,} parameters; "
        f"{100 * facts['accuracy']['real_held_out']:.2f} % on real handwritten digits held out from its training"
    )
    rows = []
    for row in quickstart(options.output):
        remark(f"made and proved {row.bundle}")
        rows.append(row)
    if options.json:
        say_json([row.to_dict() for row in rows])
        return 0
    header = ["format", "precision", "size", "accuracy", "agrees with float", "latency"]
    say(
        table(
            header,
            [
                [
                    row.format,
                    row.precision,
                    kilobytes(row.size),
                    f"{100 * row.accuracy:.1f} %",
                    f"{100 * row.agreement:.1f} %",
                    f"{row.latency_ms:.3f} ms",
                ]
                for row in rows
            ],
        )
    )
    say(f"next: edgecv run {rows[1].bundle} --source {options.output}/digits")
    return 0


QUICKSTART = Command("quickstart", "the main job, start to end, on what the package ships", _configure, _run)
