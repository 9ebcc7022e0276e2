"""The device's commands on real Arm code without a board: doctor, verify, run and bench from the built wheel.

    python benchmarks/arm64_commands.py --root DIR --bundles A.edgecv B.edgecv --images DIR [--cpus NAME ...]
                                        [--json FILE] [--markdown FILE]

DIR is as `benchmarks/arm64_replay.py` makes it, and what it needs is needed here. The CPU models are those of the
Raspberry Pi 3, 4 and 5. Milliseconds under emulation say nothing of a board's speed: they show that the command works.
Exit status 1 if a command fails, 2 where a step cannot be done.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import _common
from _results import write_markdown
from arm64_replay import CPUS, Emulated, build_root, describe_cpu, install_wheels, interpreter, missing_tools

from edgecv_runtime.bundle import Bundle
from edgecv_runtime.cli.output import table
from edgecv_runtime.images import list_images

HEADER = ("board", "CPU", "bundle", "doctor", "verify", "run", "bench", "p50 ms (emulated)")
_COMMAND = "import sys; from edgecv_runtime.cli import main; sys.exit(main())"
_PICTURES = 5
_RUNS = "5"


def commands(bundle: Path, images: Path) -> dict[str, list[str]]:
    """One thread: under emulation ONNX Runtime cannot pin more of them; and no process starts another there."""
    one = ["--threads", "1", "--json"]
    return {
        "doctor": ["doctor", "--json"],
        "verify": ["verify", str(bundle), *one],
        "run": ["run", str(bundle), "--source", str(images), "--max-frames", str(_PICTURES), *one],
        "bench": ["bench", str(bundle), "--runs", _RUNS, "--cold-starts", "0", *one],
    }


def tried(machine: Emulated, bundle: Path, images: Path) -> dict[str, Any]:
    """How each command ends, and what it says."""
    found: dict[str, Any] = {"bundle": bundle.name}
    for name, words in commands(bundle, images).items():
        finished = machine.python("-c", _COMMAND, *words)
        ended = "done" if finished.returncode == 0 else f"status {finished.returncode}: {_common.last_line(finished)}"
        found[name] = ended
        if finished.returncode == 0:
            lines = finished.stdout.splitlines() if name == "run" else [finished.stdout]
            found[f"{name}_says"] = [json.loads(line) for line in lines]
    return found


def cells(row: dict[str, Any]) -> tuple[str, ...]:
    doctor = row.get("doctor_says", [{}])[0]
    verify, bench = row.get("verify_says", [{}])[0], row.get("bench_says", [{}])[0]
    pictures = len(row.get("run_says", []))
    return (
        CPUS[row["cpu"]][0],
        doctor.get("system", {}).get("cpu", row["cpu"]),
        row["bundle"],
        row["doctor"],
        "passed" if verify.get("passed") else row["verify"],
        f"{pictures} pictures" if row["run"] == "done" else row["run"],
        row["bench"],
        f"{bench['latency']['p50_ms']:.0f}" if bench else "–",
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, required=True, metavar="DIR", help="where root and wheels are kept")
    parser.add_argument("--bundles", type=Path, nargs="+", required=True, metavar="BUNDLE")
    parser.add_argument("--images", type=Path, required=True, metavar="DIR")
    parser.add_argument("--cpus", nargs="+", choices=CPUS, default=list(CPUS), metavar="NAME")
    parser.add_argument("--suite", default="bookworm", metavar="NAME", help="Debian release (default: bookworm)")
    parser.add_argument("--mirror", metavar="URL", help="Debian mirror (default: the one apt is configured for)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures as JSON, too")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the table there")
    options = parser.parse_args()
    try:
        rows = _rows(options)
    except (_common.BenchmarkError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    print(table(HEADER, [cells(row) for row in rows]))
    _common.write_json(options.json, {"rows": rows})
    if options.markdown is not None:
        paragraphs = (
            "`python benchmarks/arm64_commands.py`: aarch64 wheels, edgecv-runtime's built from this checkout among "
            "them, under qemu's user-mode emulation. The milliseconds say nothing of a board's speed.",
        )
        title = "The device's commands on the CPUs of the Raspberry Pi 3, 4 and 5"
        write_markdown(options.markdown, title, paragraphs, HEADER, [cells(row) for row in rows], ("edgecv-runtime",))
    good = all(row[name] == "done" for row in rows for name in ("doctor", "verify", "run", "bench"))
    return 0 if good else 1


def _rows(options: argparse.Namespace) -> list[dict[str, Any]]:
    missing = missing_tools()
    if missing:
        raise _common.BenchmarkError(f"needed and not here: {', '.join(missing)}")
    bundles = [path.resolve() for path in options.bundles]
    formats = {Bundle(path).manifest.format for path in bundles}
    images = list_images(options.images)[0].resolve().parent
    folder = options.root.resolve()
    root, site = folder / "root", folder / "site"
    build_root(root, options.suite, options.mirror)
    install_wheels(site, interpreter(root), formats)
    rows = []
    for cpu in options.cpus:
        describe_cpu(root, cpu)
        machine = Emulated(root, site, folder / "cache", cpu)
        for bundle in bundles:
            print(f"{cpu}: {bundle.name} …", file=sys.stderr, flush=True)
            rows.append({"cpu": cpu, **tried(machine, bundle, images)})
    return rows


if __name__ == "__main__":
    raise SystemExit(main())
