"""``edgecv export MODEL --sizes N N ...``: the same network at several input sizes, in one bundle."""

from __future__ import annotations

import argparse
import copy
import sys
import tempfile
from collections.abc import Callable
from contextlib import nullcontext, redirect_stdout
from pathlib import Path

from edgecv_runtime.cli.output import remark, say, say_json
from edgecv_runtime.errors import InputError


def export_sizes(options: argparse.Namespace, export: Callable[[argparse.Namespace], int]) -> int:
    """Export each size as if it were alone, then put them into one bundle.

    Parameters
    ----------
    options : Namespace
        Of ``edgecv export``.
    export : callable
        Exports with the options of one size.

    Returns
    -------
    int
        0: each is proven by its own parity contract.

    Raises
    ------
    InputError
        Fewer than two sizes, one of them twice, no weights, or options that make no sense for several.
    """
    from edgecv_runtime.bundle import check_output_path
    from edgecv_runtime.sizes import join, size_text

    sizes = {size_text(size): size for size in options.sizes}
    if len(sizes) < 2 or len(sizes) < len(options.sizes):
        raise InputError(f"--sizes takes two or more, each once; received {' '.join(map(size_text, options.sizes))}")
    given = [name for name in ("input_size", "report", "all_targets") if getattr(options, name)]
    if given:
        raise InputError(f"--{given[0].replace('_', '-')} is for one size; leave it out with --sizes")
    if options.weights is None:
        raise InputError("--sizes needs --weights: random ones would be others for each size")
    output = Path(options.output)
    check_output_path(output)
    with tempfile.TemporaryDirectory(prefix=".sizes.", dir=output.parent) as folder:
        made = []
        for name, size in sizes.items():
            remark(f"input size {name}")
            one = copy.copy(options)
            one.sizes, one.input_size, one.json = None, size, False
            # One name for all: it is written into each artefact.
            place = Path(folder, name)
            place.mkdir()
            one.output = str(place / output.name)
            made.append(one.output)
            with redirect_stdout(sys.stderr) if options.json else nullcontext():
                export(one)
        manifest = join(output, made)
    if options.json:
        say_json({"bundle": str(output), "sizes": list(sizes), "manifest": manifest.to_dict()})
    else:
        say(f"wrote {output}, with {len(sizes)} input sizes")
    return 0
