"""Bundles on real Arm code without a board: the answers of emulated aarch64 against those of this machine.

    python benchmarks/arm64_replay.py --root DIR --bundles A.edgecv B.edgecv --images DIR [--count 50]
                                      [--cpu cortex-a72] [--require 99] [--json FILE]

DIR is made once and used again: a Debian userland for arm64 (debootstrap, unpacked without its second stage), the CPU
description that such a board has, and the aarch64 wheels that it would install, among them edgecv-runtime's, built from
this checkout. Everything then runs there under qemu's user-mode emulation: a correctness check, not a speed figure.

For each bundle: the best class of every image here and there, how many are equal, the largest difference of the best
score, and what `edgecv verify` says there. Exit status 1 if fewer than --require per cent are equal or verify fails,
2 where a tool is missing or a step cannot be done. Needs qemu-user-static, debootstrap and root's rights (for the first
run), and the package index that pip is configured for.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import _common
import numpy as np
from device_install import build_wheel

from edgecv_runtime.bundle import Bundle
from edgecv_runtime.cli.output import table
from edgecv_runtime.errors import EdgecvError
from edgecv_runtime.images import list_images

QEMU = "qemu-aarch64-static"
TOOLS = {QEMU: "qemu-user-static", "debootstrap": "debootstrap", "dpkg-deb": "dpkg"}  # command -> Debian package
WHEELS = {"tflite": "ai-edge-litert", "onnx": "onnxruntime", "openvino": "openvino"}
_PLATFORMS = ("manylinux2014", "manylinux_2_17", "manylinux_2_27", "manylinux_2_28", "manylinux_2_34")

# qemu's name -> board, CPU part number and /proc/cpuinfo's features. Under emulation /proc/cpuinfo is the host's, and
# LiteRT and ONNX Runtime, which read it through the same library, crash: files inside the root win over the host's.
CPUS = {
    "cortex-a53": ("Raspberry Pi 3 Model B", 0xD03, "fp asimd evtstrm crc32 cpuid"),
    "cortex-a72": ("Raspberry Pi 4 Model B", 0xD08, "fp asimd evtstrm crc32 cpuid"),
    "cortex-a76": (
        "Raspberry Pi 5 Model B",
        0xD0B,
        "fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp",
    ),
}
_CORES = 4

# Run here and there: the best class and its score for each image. One JSON line comes back.
_DRIVER = """
import json, sys
import edgecv_runtime as ert
bundle, threads, images = sys.argv[1], int(sys.argv[2]), json.load(open(sys.argv[3]))
answers = []
with ert.load(bundle, threads=threads) as model:
    for image in images:
        best = model(image).top(1)
        answers.append([int(best.indices[0]), float(best.scores[0])])
    print(json.dumps({"model": repr(model), "answers": answers}))
"""
_COMMAND = "import sys; from edgecv_runtime.cli import main; sys.exit(main())"


# -- the root ------------------------------------------------------------------------------------------------------


def missing_tools() -> list[str]:
    """Commands that are needed and not here."""
    return [tool for tool in TOOLS if shutil.which(tool) is None]


def build_root(folder: Path, suite: str, mirror: str | None) -> None:
    """An arm64 userland with Python in `folder`; nothing is done where it is complete."""
    complete = folder / ".complete"
    if complete.is_file():
        return
    if os.geteuid() != 0:
        raise _common.BenchmarkError("debootstrap needs root's rights: build the root once as root, then use it")
    print(f"building an arm64 root in {folder} …", file=sys.stderr, flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    include = "--include=python3,libgomp1,ca-certificates"
    chosen = mirror or configured_mirror()
    # --foreign downloads and unpacks; the second stage, which would run Arm code as root, is not needed.
    command = ["debootstrap", "--arch=arm64", "--foreign", "--variant=minbase", include, suite, folder]
    _must(command + ([chosen] if chosen else []), "the arm64 root could not be made")
    for package in sorted((folder / "var/cache/apt/archives").glob("*.deb")):
        _must(["dpkg-deb", "-x", package, folder], f"{package.name} could not be unpacked")
    complete.touch()


def configured_mirror() -> str | None:
    """Where this machine's own apt looks first; None: debootstrap's default."""
    if shutil.which("apt-get") is None:
        return None
    listed = _common.run(["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages"])
    return next(iter(listed.stdout.split()), None)


def describe_cpu(root: Path, cpu: str) -> None:
    """Write the files that say what CPU the emulated machine has."""
    board, part, features = CPUS[cpu]
    core = (
        "processor\t: {index}\nBogoMIPS\t: 108.00\n"
        f"Features\t: {features}\nCPU implementer\t: 0x41\nCPU architecture: 8\nCPU variant\t: 0x0\n"
        f"CPU part\t: {part:#05x}\nCPU revision\t: 3\n\n"
    )
    blocks = "".join(core.format(index=index) for index in range(_CORES))
    _write(root / "proc/cpuinfo", f"{blocks}Hardware\t: BCM2835\nModel\t\t: {board}\n")
    system = root / "sys/devices/system/cpu"
    for name, text in (("possible", f"0-{_CORES - 1}"), ("present", f"0-{_CORES - 1}"), ("kernel_max", "3")):
        _write(system / name, f"{text}\n")
    for index in range(_CORES):
        _write(system / f"cpu{index}/topology/core_id", f"{index}\n")
        _write(system / f"cpu{index}/topology/physical_package_id", "0\n")
        _write(system / f"cpu{index}/cpufreq/cpuinfo_max_freq", "1500000\n")
        _write(system / f"cpu{index}/cpufreq/cpuinfo_min_freq", "600000\n")


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def interpreter(root: Path) -> Path:
    """The root's Python, for example ``ROOT/usr/bin/python3.11``."""
    found = sorted((root / "usr/bin").glob("python3.[0-9]*[0-9]"))
    if not found:
        raise _common.BenchmarkError(f"{root} has no Python: remove the folder and build it again")
    return found[-1]


# -- the wheels ----------------------------------------------------------------------------------------------------


def install_wheels(site: Path, python: Path, formats: set[str]) -> None:
    """What a board would install, in the folder `site`: libraries once, the runtime of this checkout anew."""
    packages = ["numpy", "opencv-python-headless", *sorted(WHEELS[format] for format in formats)]
    version = python.name.removeprefix("python")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--target", site]
    pip += ["--only-binary=:all:", "--implementation", "cp", "--python-version", version]
    for platform in _PLATFORMS:
        pip += ["--platform", f"{platform}_aarch64"]
    listed = site / ".packages.json"
    there = json.loads(listed.read_text()) if listed.is_file() else []
    wanted = [package for package in packages if package not in there]
    if wanted:
        print(f"fetching aarch64 wheels of {', '.join(wanted)} …", file=sys.stderr, flush=True)
        # pip --target does not see what is there: naming all of them keeps their versions together.
        _must([*pip, "--upgrade", *sorted({*there, *wanted})], "the aarch64 wheels could not be installed")
        listed.write_text(json.dumps(sorted({*there, *wanted})))
    with tempfile.TemporaryDirectory() as folder:
        wheel = build_wheel(Path(folder))
        _must([*pip, "--no-deps", "--upgrade", wheel], "the runtime's wheel could not be installed")


# -- running -------------------------------------------------------------------------------------------------------


class Emulated:
    """The emulated machine: runs its Python with its site folder."""

    def __init__(self, root: Path, site: Path, cache: Path, cpu: str) -> None:
        self._command = [QEMU, "-cpu", cpu, "-L", root, interpreter(root)]
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "EDGECV", "LD_"))}
        self._environment = {**kept, "PYTHONPATH": str(site), "XDG_CACHE_HOME": str(cache), "LC_ALL": "C.UTF-8"}

    def python(self, *arguments: str | Path) -> Any:
        """The finished process."""
        return _common.run([*self._command, *arguments], env=self._environment)


def answers(python: Any, bundle: Path, images: Sequence[Path], folder: Path) -> dict[str, Any]:
    """The driver's answer, from anything that runs Python with arguments."""
    listed = folder / "images.json"
    listed.write_text(json.dumps([str(path) for path in images]))
    # One thread: under emulation ONNX Runtime cannot pin more of them.
    finished = python("-c", _DRIVER, bundle, "1", listed)
    if finished.returncode != 0:
        raise _common.BenchmarkError(f"{bundle.name} does not run: {_ending(finished)}")
    answer: dict[str, Any] = json.loads(finished.stdout.splitlines()[-1])
    return answer


def compare(here: dict[str, Any], there: dict[str, Any]) -> dict[str, Any]:
    """How many best classes are equal, and the largest difference of the best score where they are."""
    ours, theirs = np.array(here["answers"]), np.array(there["answers"])
    equal = ours[:, 0] == theirs[:, 0]
    gaps = np.abs(ours[:, 1] - theirs[:, 1])[equal]
    return {
        "images": len(equal),
        "equal": int(equal.sum()),
        "agreement": float(equal.mean()),
        "largest_score_difference": float(gaps.max(initial=0.0)),
        "different": np.flatnonzero(~equal).tolist(),
        "here": here["model"],
        "there": there["model"],
    }


def verify(machine: Emulated, bundle: Path) -> dict[str, Any]:
    finished = machine.python("-c", _COMMAND, "verify", bundle, "--threads", "1", "--json")
    if finished.returncode not in (0, 1):
        raise _common.BenchmarkError(f"`edgecv verify {bundle.name}` ends badly there: {_ending(finished)}")
    verification: dict[str, Any] = json.loads(finished.stdout)
    return verification


def spaced(paths: Sequence[Path], count: int) -> list[Path]:
    """At most `count` of them, evenly spaced."""
    chosen = np.linspace(0, len(paths) - 1, min(count, len(paths))).round().astype(int)
    return [paths[index] for index in chosen]


def _must(command: Sequence[str | Path], failure: str) -> None:
    finished = _common.run(command)
    if finished.returncode != 0:
        raise _common.BenchmarkError(f"{failure}: {_ending(finished)}")


def _ending(finished: Any) -> str:
    if finished.returncode < 0:
        return f"ended by signal {-finished.returncode}"
    return _common.last_line(finished)


# -- the table -----------------------------------------------------------------------------------------------------


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, required=True, metavar="DIR", help="where root and wheels are kept")
    parser.add_argument("--bundles", type=Path, nargs="+", required=True, metavar="BUNDLE")
    parser.add_argument("--images", type=Path, required=True, metavar="DIR")
    parser.add_argument("--count", type=_common.positive, default=50, metavar="N", help="images (default: 50)")
    parser.add_argument("--cpu", choices=CPUS, default="cortex-a72", help="default: cortex-a72, the Raspberry Pi 4's")
    parser.add_argument("--require", type=float, default=99.0, metavar="PERCENT", help="equal answers (default: 99)")
    parser.add_argument("--suite", default="bookworm", metavar="NAME", help="Debian release (default: bookworm)")
    parser.add_argument("--mirror", metavar="URL", help="Debian mirror (default: the one apt is configured for)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures as JSON, too")
    options = parser.parse_args()
    try:
        rows = _measure_all(options)
    except (_common.BenchmarkError, EdgecvError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    print(f"emulated {options.cpu} ({CPUS[options.cpu][0]}) against this machine: {_common.machine_line()}")
    print(table(_HEADER, [_row(row) for row in rows]))
    _common.write_json(options.json, {"emulated": options.cpu, "rows": rows})
    return 0 if all(row["verify"]["passed"] and 100 * row["agreement"] >= options.require for row in rows) else 1


def _measure_all(options: argparse.Namespace) -> list[dict[str, Any]]:
    missing = missing_tools()
    if missing:
        packages = sorted({TOOLS[tool] for tool in missing})
        raise _common.BenchmarkError(f"{', '.join(missing)} needed and not here: apt-get install {' '.join(packages)}")
    bundles = [path.resolve() for path in options.bundles]
    formats = {Bundle(path).manifest.format for path in bundles}  # refuses what is no bundle before any work
    images = spaced([path.resolve() for path in list_images(options.images)], options.count)
    folder = options.root.resolve()
    root, site = folder / "root", folder / "site"
    build_root(root, options.suite, options.mirror)
    describe_cpu(root, options.cpu)
    install_wheels(site, interpreter(root), formats)
    machine = Emulated(root, site, folder / "cache", options.cpu)
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        for bundle in bundles:
            print(f"{bundle.name}: {len(images)} images here and there …", file=sys.stderr, flush=True)
            here = answers(lambda *words: _common.run([sys.executable, *words]), bundle, images, Path(temporary))
            there = answers(machine.python, bundle, images, Path(temporary))
            rows.append({"bundle": bundle.name, **compare(here, there), "verify": verify(machine, bundle)})
    return rows


_HEADER = ("bundle", "images", "equal", "agreement %", "max |Δ score|", "kernels", "verify there")


def _row(row: dict[str, Any]) -> list[str]:
    return [
        row["bundle"],
        f"{row['images']}",
        f"{row['equal']}",
        f"{100 * row['agreement']:.1f}",
        f"{row['largest_score_difference']:.1e}",
        row["verify"].get("kernels") or "–",
        "passed" if row["verify"]["passed"] else "FAILED",
    ]


if __name__ == "__main__":
    raise SystemExit(main())
