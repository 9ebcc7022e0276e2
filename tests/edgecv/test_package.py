"""``import edgecv`` costs nothing, and its names lead where they should."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

import edgecv
from edgecv_runtime.errors import MissingPackageError

HEAVY = ("numpy", "keras", "tensorflow", "jax", "torch", "h5py", "cv2", "onnxruntime", "openvino", "ai_edge_litert")


def modules_after(code: str) -> set[str]:
    """Top-level modules that a fresh interpreter holds after running `code`."""
    report = "; import sys; sys.stdout.write(' '.join({name.partition('.')[0] for name in sys.modules}))"
    finished = subprocess.run([sys.executable, "-c", code + report], capture_output=True, text=True, check=True)
    return set(finished.stdout.split())


def test_import_loads_nothing_heavy() -> None:
    assert not modules_after("import edgecv") & set(HEAVY)


def test_import_adds_few_modules() -> None:
    count = "; import sys; sys.stdout.write(str(len(sys.modules)))"
    bare, after = (
        int(subprocess.run([sys.executable, "-c", code + count], capture_output=True, text=True, check=True).stdout)
        for code in ("import importlib, typing", "import importlib, typing, edgecv")
    )
    assert after - bare <= 2  # edgecv itself, and what the interpreter pulls in for __future__


def test_listing_models_loads_nothing_heavy() -> None:
    assert not modules_after("import edgecv; edgecv.list_models()") & set(HEAVY)


def test_commands_load_nothing_heavy() -> None:
    code = (
        "import argparse; from edgecv.commands.models import MODELS; from edgecv.commands.info import INFO; "
        "parser = argparse.ArgumentParser(); INFO.configure(parser); "
        "MODELS.run(argparse.Namespace(task=None, json=True))"
    )
    assert not modules_after(code) & set(HEAVY)


def test_public_names() -> None:
    assert set(edgecv.__all__) == {"__version__", "create_model", "export", "list_models", "wrap"}
    assert set(edgecv.__all__) <= set(dir(edgecv))
    assert edgecv.__version__.count(".") == 2
    assert callable(edgecv.create_model)
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = edgecv.nonsense  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", ["export", "wrap"])
def test_exporters_are_found_when_asked_for(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Exporter:
        export = staticmethod(lambda: "exported")
        wrap = staticmethod(lambda: "wrapped")

    monkeypatch.setitem(sys.modules, "edgecv_export", Exporter)
    assert getattr(edgecv, name)() == {"export": "exported", "wrap": "wrapped"}[name]


@pytest.mark.parametrize("name", ["export", "wrap"])
def test_missing_exporters_name_the_package(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(module: str) -> None:
        raise ModuleNotFoundError(f"No module named {module!r}", name=module)

    monkeypatch.setattr(importlib, "import_module", absent)
    with pytest.raises(MissingPackageError, match=rf"edgecv\.{name} needs .* pip install 'edgecv-export'"):
        getattr(edgecv, name)


def test_models_import_no_tensorflow() -> None:
    folder = Path(importlib.util.find_spec("edgecv").origin or "").parent  # type: ignore[union-attr]
    for path in [*folder.glob("models/*.py"), *folder.glob("layers/*.py"), folder / "complexity.py"]:
        assert "import tensorflow" not in path.read_text(encoding="utf-8"), path
