"""``edgecv report BUNDLE``: what an export measured, as a page to look at."""

from __future__ import annotations

import argparse
from pathlib import Path

from edgecv_runtime.cli.command import Command
from edgecv_runtime.cli.output import say
from edgecv_runtime.errors import InputError


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bundle", metavar="BUNDLE")
    parser.add_argument("-o", "--output", metavar="PAGE.html", help="default: beside the bundle, under its name")
    parser.add_argument("--images", metavar="DIR", help="the evaluation pictures: the worst of them are shown")


def _run(options: argparse.Namespace) -> int:
    from edgecv_export.report.page import write_page
    from edgecv_runtime.bundle import Bundle

    bundle = Bundle(options.bundle)
    report = bundle.report()
    if not report:
        raise InputError(f"{bundle.path} holds no report: it was not made by edgecv export or wrap")
    path = Path(options.output) if options.output is not None else bundle.path.with_suffix(".html")
    write_page(path, report, manifest=bundle.manifest, images=options.images)
    say(f"wrote {path}")
    return 0


REPORT = Command("report", "what an export measured, as one HTML page", _configure, _run)
