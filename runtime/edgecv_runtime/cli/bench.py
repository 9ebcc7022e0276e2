"""``edgecv bench BUNDLE``: cold start, latency, memory; ``--vs`` pairs two bundles in one run."""

from __future__ import annotations

import argparse
from typing import Any

from edgecv_runtime.cli.command import (
    Command,
    add_accelerator_options,
    add_backend_options,
    add_json_option,
    backend_options,
)
from edgecv_runtime.cli.output import say, say_json, table


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bundle", metavar="BUNDLE")
    parser.add_argument("--vs", metavar="OTHER", help="a second bundle, timed in turn with the first")
    parser.add_argument(
        "--image",
        metavar="FILE",
        help="time this picture, resize included (default: noise of the input's size)",
    )
    parser.add_argument("--runs", type=int, default=100, metavar="N", help="counted calls (default: 100)")
    parser.add_argument(
        "--cold-starts",
        type=int,
        default=3,
        metavar="N",
        help="fresh processes that load and run it (default: 3); 0 where no process can be started",
    )
    add_backend_options(parser)
    add_accelerator_options(parser)
    add_json_option(parser)


def _run(options: argparse.Namespace) -> int:
    from contextlib import ExitStack

    from edgecv_runtime import bench
    from edgecv_runtime.errors import InputError
    from edgecv_runtime.images import read_image
    from edgecv_runtime.model import load, load_second

    if options.cold_starts < 0:
        raise InputError(f"--cold-starts must be 0 or more; received {options.cold_starts}")
    paths = [options.bundle] + ([options.vs] if options.vs else [])
    how: dict[str, Any] = backend_options(options)
    with ExitStack() as stack:
        models = [stack.enter_context(load(options.bundle, **how))]
        if options.vs:
            models.append(stack.enter_context(load_second(options.vs, **how)))
        backends = [model.backend.name for model in models]
        fixed = read_image(options.image) if options.image else None
        images = [bench.noise_image(model) if fixed is None else fixed for model in models]
        latencies = bench.measure_latency(models, images, options.runs)
        starts = [
            bench.measure_cold_start(path, **(how | {"backend": name}), runs=options.cold_starts)
            if options.cold_starts
            else None
            for path, name in zip(paths, backends, strict=True)
        ]
        descriptions = [repr(model) for model in models]
    ratio = bench.median_ratio(latencies[0], latencies[1]) if options.vs else None
    if options.json:
        measured = [
            {
                "bundle": path,
                "model": text,
                "cold_start": None if start is None else bench.to_dict(start),
                "latency": bench.to_dict(latency),
            }
            for path, text, start, latency in zip(paths, descriptions, starts, latencies, strict=True)
        ]
        say_json(measured[0] if ratio is None else {"bundles": measured, "median_ratio": ratio})
        return 0
    for text in descriptions:
        say(text)
    rows = [
        [
            path,
            *(f"{value:.2f}" for value in (x.p50_ms, x.p90_ms, x.p99_ms)),
            *(["–"] * 3 if s is None else [f"{s.load_ms:.0f}", f"{s.first_result_ms:.1f}", f"{s.peak_memory_mb:.0f}"]),
        ]
        for path, x, s in zip(paths, latencies, starts, strict=True)
    ]
    say(table(["bundle", "p50 ms", "p90 ms", "p99 ms", "load ms", "first result ms", "peak MB"], rows))
    if ratio is not None:
        say(f"median of the first / median of the second: {ratio:.3f}")
    return 0


BENCH = Command("bench", "latency, cold start and memory of a bundle", _configure, _run)
