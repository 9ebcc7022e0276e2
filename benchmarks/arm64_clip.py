"""A clip from end to end on real Arm code without a board: doctor, verify, run and bench from the built wheel.

    python benchmarks/arm64_clip.py --make-root DIR
    python benchmarks/arm64_clip.py --root DIR [--bundle B.edgecv] [--clip VIDEO] [--frames N] [--cpus C ...]

DIR as for `arm64_replay.py`; the second makes it, too, where it is not there. `.ci/run` does both, with two frames on
one CPU. Without --bundle it is the int8 SSD of EDGECV_DATA. For each CPU model (Raspberry Pi 3, 4 and 5):
`edgecv doctor`, `edgecv verify`, `edgecv run` on the first frames of the clip, whose answers must be those of this
machine, and `edgecv bench`. Emulated: a correctness check, not a speed figure, and no cold start, since an emulated
process starts no other. Exit status 1 where anything differs, 2 where a tool is missing.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import _common
import numpy as np
from arm64_replay import (
    _COMMAND,
    CPUS,
    TOOLS,
    Emulated,
    _ending,
    build_root,
    describe_cpu,
    install_wheels,
    interpreter,
    missing_tools,
)

from edgecv_runtime.bundle import Bundle
from edgecv_runtime.cli.output import table
from edgecv_runtime.errors import EdgecvError
from edgecv_runtime.suppression.overlap import iou


def answers(python: Any, bundle: Path, clip: Path, frames: int) -> list[dict[str, Any]]:
    """What `edgecv run` says of each frame."""
    finished = python(
        "-c", _COMMAND, "run", bundle, "--source", clip, "--max-frames", str(frames), "--threads", "1", "--json"
    )
    if finished.returncode != 0:
        raise _common.BenchmarkError(f"`edgecv run` ends badly: {_ending(finished)}")
    return [json.loads(line) for line in finished.stdout.splitlines() if line.startswith("{")]


def alike(here: dict[str, Any], there: dict[str, Any]) -> bool:
    """The same best class; of a detector, the same objects, each box with an overlap of 0.8 or more.

    An int8 box has 256 places to be in: where kernels round otherwise, it moves by one of them.
    """
    if here["index"] != there["index"]:
        return False
    if "boxes" not in here:
        return bool(here["indices"][0] == there["indices"][0])
    if sorted(here["labels"]) != sorted(there["labels"]):
        return False
    ours, theirs = (np.array(one["boxes"], np.float64).reshape(-1, 4) for one in (here, there))
    overlap = iou(ours[:, None], theirs[None])
    same = np.array(here["labels"])[:, None] == np.array(there["labels"])[None]
    return bool((np.where(same, overlap, 0).max(axis=1, initial=0) >= 0.8).all())


def status(machine: Emulated, *words: str | Path) -> int:
    return int(machine.python("-c", _COMMAND, *words).returncode)


def measure(machine: Emulated, bundle: Path, clip: Path, frames: int, here: list[dict[str, Any]]) -> dict[str, Any]:
    """One CPU model's row."""
    there = answers(machine.python, bundle, clip, frames)
    return {
        "doctor": status(machine, "doctor", "--json") == 0,
        "verify": status(machine, "verify", bundle, "--threads", "1") == 0,
        "frames": len(there),
        "alike": sum(alike(one, other) for one, other in zip(here, there, strict=True)),
        "bench": status(machine, "bench", bundle, "--threads", "1", "--runs", "3", "--cold-starts", "0") == 0,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--root", type=Path, metavar="DIR")
    where.add_argument("--make-root", type=Path, metavar="DIR", help="make the emulated root with LiteRT, and end")
    parser.add_argument("--bundle", type=Path, metavar="BUNDLE")
    parser.add_argument("--clip", type=Path, metavar="VIDEO", help="default: the walking people of EDGECV_DATA")
    parser.add_argument("--frames", type=_common.positive, default=30, metavar="N", help="default: %(default)s")
    parser.add_argument("--cpus", nargs="+", choices=CPUS, default=list(CPUS))
    parser.add_argument("--suite", default="bookworm", metavar="NAME")
    parser.add_argument("--mirror", metavar="URL")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    try:
        _check_tools()
        if options.make_root is not None:
            _made(options.make_root, options, {"tflite"})
            return 0
        with tempfile.TemporaryDirectory() as folder:
            options.bundle = options.bundle or _usual_bundle(Path(folder))
            rows = _measure_all(options)
    except (_common.BenchmarkError, EdgecvError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    print(f"{options.bundle.name} on emulated Arm, against this machine: {_common.machine_line()}")
    print(table(("CPU", "board", "doctor", "verify", "frames", "alike", "bench"), [_cells(row) for row in rows]))
    _common.write_json(options.json, {"rows": rows})
    good = all(row["doctor"] and row["verify"] and row["bench"] and row["alike"] == row["frames"] for row in rows)
    return 0 if good else 1


def _check_tools() -> None:
    missing = missing_tools()
    if missing:
        packages = sorted({TOOLS[tool] for tool in missing})
        raise _common.BenchmarkError(f"{', '.join(missing)} needed and not here: apt-get install {' '.join(packages)}")


def _made(folder: Path, options: argparse.Namespace, formats: set[str]) -> tuple[Path, Path]:
    """The emulated root and its packages, which are made where they are not there."""
    root, site = folder.resolve() / "root", folder.resolve() / "site"
    build_root(root, options.suite, options.mirror)
    install_wheels(site, interpreter(root), formats)
    return root, site


def _usual_bundle(folder: Path) -> Path:
    """The int8 SSD of EDGECV_DATA."""
    from edgecv_export.wrapping import wrap

    data = _common.data_folder()
    if data is None:
        raise _common.BenchmarkError("a bundle is needed: give --bundle or set EDGECV_DATA")
    bundle = folder / "ssd_mobilenet_v1_int8.edgecv"
    wrap(data / "models" / "detection" / "ssd_mobilenet_v1_coco_quant.tflite", bundle, decoder="ssd-postprocessed")
    return bundle


def _measure_all(options: argparse.Namespace) -> list[dict[str, Any]]:
    data = _common.data_folder()
    clip = options.clip or (data and data / "video" / "one-by-one-person.mp4")
    if clip is None or not clip.is_file():
        raise _common.BenchmarkError("a clip is needed: give --clip or set EDGECV_DATA")
    bundle, clip = options.bundle.resolve(), clip.resolve()
    root, site = _made(options.root, options, {Bundle(bundle).manifest.format})
    here = answers(lambda *words: _common.run([sys.executable, *words]), bundle, clip, options.frames)
    rows = []
    for cpu in options.cpus:
        print(f"{cpu} …", file=sys.stderr, flush=True)
        describe_cpu(root, cpu)
        machine = Emulated(root, site, options.root.resolve() / "cache", cpu)
        rows.append({"cpu": cpu, "board": CPUS[cpu][0], **measure(machine, bundle, clip, options.frames, here)})
    return rows


def _cells(row: dict[str, Any]) -> list[str]:
    said = ["passed" if row[name] else "FAILED" for name in ("doctor", "verify", "bench")]
    return [row["cpu"], row["board"], said[0], said[1], str(row["frames"]), str(row["alike"]), said[2]]


if __name__ == "__main__":
    sys.exit(main())
