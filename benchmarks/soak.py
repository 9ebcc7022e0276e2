"""Whether a stream leaks: memory, threads and file descriptors over many frames and many reconnects.

    python benchmarks/soak.py [--frames N] [--reconnects N] [--json FILE]

A pipeline with a tracker runs on synthetic frames (200,000), and a camera on loopback is cut off and found again (500
times). After a warm-up, resident memory may grow by less than 2 MiB; threads and descriptors must not change. Exit
status 1 where they do.
"""

from __future__ import annotations

import argparse
import gc
import os
import sys
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import _common
import numpy as np

import edgecv_runtime as ert
from edgecv_runtime.cli.output import table
from edgecv_runtime.results import Detections
from edgecv_runtime.streams import Backoff

ALLOWED = 2.0  # MiB
_TAIL = 50  # frames before the end, when the source has not ended yet
_PAGE = os.sysconf("SC_PAGE_SIZE") / 2**20


class Finder:
    """A detector that finds the white line of ``test://bars``."""

    manifest = SimpleNamespace(name="finder")

    def timed(self, image: Any) -> tuple[Detections, dict[str, float]]:
        column = float((image[1, :, 0] == 255).argmax())
        box = np.float32([[column, 0, column + 4, image.shape[0]]])
        return Detections(box, np.float32([0.9]), np.array([0])), dict.fromkeys(("preprocess", "infer", "decode"), 0.0)


def usage() -> dict[str, float]:
    """Resident MiB, threads and open descriptors of this process."""
    gc.collect()
    resident = int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE
    return {
        "MiB": resident,
        "threads": threading.active_count(),
        "descriptors": len(list(Path("/proc/self/fd").iterdir())),
    }


def frames(count: int) -> list[dict[str, float]]:
    """Usage after a tenth of the frames, and shortly before the end."""
    marks, seen = [], 0
    source = f"test://bars?size=320x240&fps=0&frames={count}"
    with ert.Pipeline(Finder(), source, policy="every", workers=1, track=True) as outcomes:  # type: ignore[arg-type]
        for outcome in outcomes:
            if outcome.frame.index != seen:
                raise _common.BenchmarkError(f"frame {outcome.frame.index} came where {seen} was due")
            seen += 1
            if seen in (count // 10, count - _TAIL):
                marks.append(usage())
    if seen != count:
        raise _common.BenchmarkError(f"{seen} frames of {count} came")
    return marks


def reconnects(count: int) -> list[dict[str, float]]:
    """Usage after a tenth of the connections, and after all of them: the least of ten, since one that is just being
    made holds buffers."""
    from _camera import Camera

    samples: dict[int, dict[str, float]] = {}
    backoff = Backoff(first=0.0, cap=0.01)
    with Camera(200.0, lose=2) as camera, ert.open_stream(camera.url, backoff=backoff) as stream:
        for _ in stream:
            done = stream.counts.connections
            if done > count:
                break
            if done not in samples and (count // 10 - 10 < done <= count // 10 or count - 10 < done):
                samples[done] = usage()
    early = [usage for done, usage in samples.items() if done <= count // 10]
    late = [usage for done, usage in samples.items() if done > count // 10]
    return [{key: min(one[key] for one in group) for key in group[0]} for group in (early, late)]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=_common.positive, default=200_000)
    parser.add_argument("--reconnects", type=_common.positive, default=500)
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    rows, held = [], True
    for name, count, run in (
        ("frames", options.frames, frames),
        ("reconnects", options.reconnects, reconnects),
    ):
        before, after = run(count)
        growth = after["MiB"] - before["MiB"]
        same = all(before[key] == after[key] for key in ("threads", "descriptors"))
        held &= growth < ALLOWED and same
        rows.append({"what": name, "count": count, "before": before, "after": after, "growth": growth})
    print(_common.machine_line())
    print(table(["what", "count", "MiB", "growth", "threads", "descriptors"], [_cells(row) for row in rows]))
    _common.write_json(options.json, {"rows": rows})
    return 0 if held else 1


def _cells(row: dict[str, Any]) -> list[str]:
    before, after = row["before"], row["after"]
    return [
        row["what"],
        f"{row['count']:,}",
        f"{after['MiB']:.1f}",
        f"{row['growth']:+.2f}",
        *(f"{before[key]:.0f} → {after[key]:.0f}" for key in ("threads", "descriptors")),
    ]


if __name__ == "__main__":
    sys.exit(main())
