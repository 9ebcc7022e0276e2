"""What a device needs: the runtime alone, from its wheel, in an empty environment of its own.

    python benchmarks/device_install.py [--extras litert onnx openvino] [--python PYTHON] [--json FILE]

For each extra: build edgecv-runtime's wheel, make a virtual environment, install edgecv-runtime[EXTRA,cv] into it
(the dependencies come from the package index that pip is configured for), and use nothing but that environment:

- no host package may be importable, and `edgecv export` must say where it belongs;
- `edgecv verify` and `edgecv run` of an int8 MobileNetV2 must succeed.

Sizes are apparent sizes of the files in site-packages, byte code included, without pip; MB are 10⁶ bytes. The peak
memory is VmHWM of `edgecv run` on one picture. The import time is what `import edgecv_runtime` adds to that
environment's bare interpreter. Exit status 1 if a check fails.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import _common

from edgecv_runtime.cli.output import table

EXTRAS = {"litert": "tflite", "onnx": "onnx", "openvino": "openvino"}  # extra -> format of the bundle it runs
HOST_PACKAGES = ("tensorflow", "keras", "onnx", "edgecv", "edgecv_export", "edgecv_targets", "tf2onnx")

# Run in the environment; each prints one JSON line. Sizes by distribution, from what pip recorded.
_INVENTORY = """
import importlib.metadata, importlib.util, json, pathlib, sys, sysconfig
folder = pathlib.Path(sysconfig.get_path("purelib"))
sizes = {}
for distribution in importlib.metadata.distributions(path=[str(folder)]):
    files = {str(path.locate().resolve()) for path in distribution.files or ()}
    inside = [pathlib.Path(file) for file in files if file.startswith(str(folder.resolve()))]
    sizes[distribution.metadata["Name"]] = sum(file.stat().st_size for file in inside if file.is_file())
total = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file() and not file.is_symlink())
print(json.dumps({
    "python": sys.version.split()[0],
    "found": [name for name in sys.argv[1:] if importlib.util.find_spec(name)],
    "sizes": sizes,
    "total": total,
}))
"""
_RUN = """
import json, sys
from edgecv_runtime.cli import main
status = main(sys.argv[1:])
lines = open("/proc/self/status").read().splitlines()
print(json.dumps({"status": status, "peak_kib": next(int(l.split()[1]) for l in lines if l.startswith("VmHWM"))}))
"""
_TOOLS = ("pip", "setuptools", "wheel")  # part of the environment, not of what was installed


def build_wheel(folder: Path) -> Path:
    """The runtime's wheel, built from this checkout."""
    finished = _common.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, _common.ROOT / "runtime"]
    )
    wheels = list(folder.glob("edgecv_runtime-*.whl"))
    if finished.returncode != 0 or len(wheels) != 1:
        raise _common.BenchmarkError(f"the wheel could not be built: {_common.last_line(finished)}")
    return wheels[0]


def install(wheel: Path, extra: str, python: str, folder: Path) -> Path:
    """A new environment in `folder` with the wheel and its extras; its interpreter."""
    environment = folder / extra
    finished = _common.run([python, "-m", "venv", environment])
    if finished.returncode != 0:
        raise _common.BenchmarkError(f"{python} makes no virtual environment: {_common.last_line(finished)}")
    interpreter = environment / "bin" / "python"
    print(f"installing edgecv-runtime[{extra},cv] …", file=sys.stderr, flush=True)
    requirement = f"edgecv-runtime[{extra},cv] @ {wheel.as_uri()}"
    finished = _common.run([interpreter, "-m", "pip", "install", "--quiet", requirement], env=_clean())
    if finished.returncode != 0:
        raise _common.BenchmarkError(f"{requirement} cannot be installed: {_common.last_line(finished)}")
    return interpreter


def inspect(interpreter: Path, bundle: Path, picture: Path, extra: str) -> dict[str, Any]:
    """All checks and figures of one environment, away from the checkout so that it cannot leak in."""
    empty = interpreter.parents[1]
    inventory = json.loads(_ask(interpreter, empty, "-c", _INVENTORY, *HOST_PACKAGES))
    if inventory["found"]:
        raise _common.BenchmarkError(f"host packages are importable on the device: {', '.join(inventory['found'])}")
    command = interpreter.with_name("edgecv")
    refused = _common.run([command, "export", "mobilenet_v2"], env=_clean(), cwd=empty)
    if refused.returncode != 2 or "edgecv-export" not in refused.stderr:
        raise _common.BenchmarkError(f"`edgecv export` on the device: {_common.last_line(refused)}")
    verified = _common.run([command, "verify", bundle, "--json"], env=_clean(), cwd=empty)
    if verified.returncode != 0:
        raise _common.BenchmarkError(f"`edgecv verify` fails on the device: {_common.last_line(verified)}")
    *answer, figures = _ask(
        interpreter, empty, "-c", _RUN, "run", bundle, "--source", picture, "--top", "1", "--json"
    ).splitlines()
    used = json.loads(figures)
    if used["status"] != 0:
        raise _common.BenchmarkError(f"`edgecv run` ends with {used['status']} on the device")
    imports = _common.import_times(interpreter, ["edgecv_runtime"], 15, cwd=empty)
    sizes = {name: size for name, size in inventory["sizes"].items() if name not in _TOOLS}
    return {
        "extra": extra,
        "python": inventory["python"],
        "packages": dict(sorted(sizes.items(), key=lambda item: -item[1])),
        "installed_bytes": sum(sizes.values()),
        "site_packages_bytes": inventory["total"],
        "peak_bytes": 1024 * used["peak_kib"],
        "bare_ms": imports["bare"],
        "import_ms": imports["edgecv_runtime"],
        "import_ratio": 1 + imports["edgecv_runtime"] / imports["bare"],
        "verify": json.loads(verified.stdout),
        "answer": json.loads(answer[-1]),
    }


def _ask(interpreter: Path, folder: Path, *arguments: str | Path) -> str:
    finished = _common.run([interpreter, *arguments], env=_clean(), cwd=folder)
    if finished.returncode != 0:
        raise _common.BenchmarkError(f"the device's environment fails: {_common.last_line(finished)}")
    return finished.stdout


def _clean() -> dict[str, str]:
    """This process's environment without what would lead Python elsewhere."""
    return {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")}


def _picture(folder: Path) -> Path:
    import cv2

    frame, _ = _common.video_frame()
    path = folder / "frame.png"
    cv2.imwrite(str(path), cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
    return path


def main() -> int:
    parser = _common.parser(__doc__ or "")
    parser.add_argument("--extras", nargs="+", choices=EXTRAS, default=list(EXTRAS))
    parser.add_argument("--python", default=sys.executable, metavar="PYTHON", help="the device's (default: this one)")
    options = parser.parse_args()
    try:
        rows = _measure_all(options)
    except _common.BenchmarkError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"edgecv-runtime in an empty environment, Python {rows[0]['python']}; int8 MobileNetV2, one picture")
    print(_common.machine_line())
    print(table(_HEADER, [_row(row) for row in rows]))
    for row in rows:
        packages = ", ".join(f"{name} {size / 1e6:.1f}" for name, size in row["packages"].items())
        print(f"[{row['extra']},cv] MB: {packages}")
    _common.write_json(options.json, {"rows": rows})
    return 0


def _measure_all(options: argparse.Namespace) -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        bundles = (options.bundles or folder).resolve()
        bundles.mkdir(parents=True, exist_ok=True)
        wheel = build_wheel(folder)
        picture = _picture(folder)
        rows = []
        for extra in options.extras:
            bundle = _common.bundle(EXTRAS[extra], "int8", bundles)
            rows.append(inspect(install(wheel, extra, options.python, folder), bundle, picture, extra))
        return rows


_HEADER = (
    "extras",
    "installed MB",
    "packages",
    "peak MB",
    "bare ms",
    "import adds ms",
    "ratio",
    "host packages",
    "verify",
)


def _row(row: dict[str, Any]) -> list[str]:
    return [
        f"{row['extra']},cv",
        f"{row['installed_bytes'] / 1e6:.1f}",
        f"{len(row['packages'])}",
        f"{row['peak_bytes'] / 1e6:.0f}",
        f"{row['bare_ms']:.1f}",
        f"{row['import_ms']:+.1f}",
        f"{row['import_ratio']:.2f}",
        "none",
        "passed",
    ]


if __name__ == "__main__":
    raise SystemExit(main())
