"""Importing must cost nothing: modules are counted, not milliseconds."""

from __future__ import annotations

import subprocess
import sys

import pytest

import edgecv_runtime

PUBLIC = [
    "__version__",
    "load",
    "Model",
    "Bundle",
    "verify",
    "compare",
    "Classification",
    "Detections",
    "Segmentation",
    "Pose",
    "Embedding",
    "Picture",
    "nms",
    "suppress",
    "tta",
    "AugmentedModel",
    "TiledModel",
    "Pipeline",
    "Tracker",
    "MotionGate",
    "draw",
    "FacePipeline",
    "Face",
    "read_image",
    "open_stream",
    "Stream",
    "Frame",
    "Gallery",
    "EdgecvError",
    "InputError",
    "MissingFileError",
    "OutputError",
    "MissingPackageError",
    "UnsupportedError",
    "BundleError",
    "NewerFormatError",
    "BackendError",
    "CheckFailedError",
]

HEAVY = {
    "numpy", "cv2", "tensorflow", "keras", "torch", "jax", "onnx", "onnxruntime", "openvino", "ai_edge_litert",
    "tflite_runtime", "h5py", "PIL", "scipy", "pandas", "nncf",
}  # fmt: skip


# What a bare interpreter may or may not have loaded already; typing, dataclasses, pathlib and json are not among it.
STANDARD = {"__future__", "importlib", "importlib._bootstrap", "importlib._bootstrap_external", "warnings", "_warnings"}


def loaded(statement: str) -> set[str]:
    """Names of the modules that `statement` adds to a bare interpreter."""
    program = (
        "import sys\n"
        "before = set(sys.modules)\n"
        f"{statement}\n"
        "sys.stderr.write('\\n'.join(sorted(set(sys.modules) - before)))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(done.stderr.split())


def test_import_loads_two_modules() -> None:
    modules = loaded("import edgecv_runtime")
    assert {name for name in modules if name not in STANDARD} == {"edgecv_runtime", "edgecv_runtime._version"}


def test_an_error_can_be_caught_without_numpy() -> None:
    modules = loaded("from edgecv_runtime import EdgecvError")
    assert {name for name in modules if name not in STANDARD} == {
        "edgecv_runtime",
        "edgecv_runtime._version",
        "edgecv_runtime.errors",
    }


def test_a_driver_imports_what_every_start_needs() -> None:
    modules = loaded("import edgecv_runtime.backends.litert")
    assert not modules & {*HEAVY - {"numpy"}, "edgecv_runtime.backends.litert_compiled"}


def test_load_imports_numpy_but_no_back_end() -> None:
    modules = loaded("from edgecv_runtime import load, open_stream, Bundle, verify, compare")
    assert "numpy" in modules
    assert not modules & (HEAVY - {"numpy"})


@pytest.mark.parametrize(
    "arguments", [["--help"], ["--version"], ["run", "--help"], ["verify", "--help"], ["compare", "--help"]]
)
def test_command_help_imports_nothing_heavy(arguments: list[str]) -> None:
    statement = f"from edgecv_runtime.cli import main\ntry: main({arguments!r})\nexcept SystemExit: pass"
    modules = loaded(statement)
    assert "edgecv_runtime.cli.main" in modules
    assert not modules & HEAVY
    assert not {name for name in modules if name.partition(".")[0] in ("edgecv_export", "edgecv")} & {
        "edgecv_export.exporter",
        "edgecv.models.factory",
    }


def test_commands_of_the_device_do_not_import_the_host() -> None:
    modules = loaded("from edgecv_runtime.cli import main\ntry: main(['run', '--help'])\nexcept SystemExit: pass")
    assert not {name for name in modules if name.partition(".")[0] in ("edgecv", "edgecv_export", "edgecv_targets")}


def test_importing_changes_nothing() -> None:
    program = (
        "import os, sys, warnings, logging, signal\n"
        "state = lambda: (dict(os.environ), list(warnings.filters), logging.root.level, os.getcwd(), sys.path[:],\n"
        "                 signal.getsignal(signal.SIGINT), warnings.showwarning)\n"
        "before = state()\n"
        "import edgecv_runtime\n"
        "[getattr(edgecv_runtime, name) for name in edgecv_runtime.__all__]\n"
        "import edgecv_runtime.cli.main\n"
        "after = state()\n"
        "numpy_s = lambda filters: [f for f in filters if 'numpy' not in str(f)]\n"
        "assert before[0] == after[0] and before[2:] == after[2:], (before, after)\n"
        "assert numpy_s(before[1]) == numpy_s(after[1])\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)


def test_public_names_are_pinned_and_each_resolves() -> None:
    assert edgecv_runtime.__all__ == PUBLIC
    assert dir(edgecv_runtime) == sorted(PUBLIC)
    for name in PUBLIC:
        value = getattr(edgecv_runtime, name)
        assert name == "__version__" or value.__name__ == name
        assert getattr(edgecv_runtime, name) is value


def test_other_names_do_not() -> None:
    with pytest.raises(AttributeError, match="module 'edgecv_runtime' has no attribute 'nothing'"):
        edgecv_runtime.nothing  # noqa: B018


def test_star_import_and_type_checkers_see_the_same_names() -> None:
    from pathlib import Path

    namespace: dict[str, object] = {}
    exec("from edgecv_runtime import *", namespace)
    assert set(PUBLIC) - {"__version__"} <= set(namespace)
    source = Path(edgecv_runtime.__file__).read_text(encoding="utf-8")
    for name in PUBLIC[1:]:
        assert f"import {name} as {name}\n" in source
