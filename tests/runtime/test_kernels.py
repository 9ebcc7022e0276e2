from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import edgecv_runtime as ert
from edgecv_runtime import kernels
from edgecv_runtime.backends.registry import backend_class
from edgecv_runtime.kernels import memory_file, recall, remember, settled

ORT, OPENVINO, LITERT = (backend_class(name) for name in ("onnxruntime", "openvino", "litert"))


# -- where ---------------------------------------------------------------------------------------------------------


def test_where_the_file_lies(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert memory_file() == tmp_path / "edgecv" / "kernels.json"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", "/home/somebody")
    assert memory_file() == Path("/home/somebody/.cache/edgecv/kernels.json")
    monkeypatch.setenv("EDGECV_CACHE", str(tmp_path / "own"))
    assert memory_file() == tmp_path / "own" / "kernels.json"


def test_without_a_home(tiny: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "home", homeless)
    assert memory_file() is None
    remember(tiny.artefact("onnx"), ORT, "precise")
    assert recall(tiny.artefact("onnx"), ORT) is None
    assert settled(tiny.artefact("onnx"), None, None, "auto") == "auto"


# -- what ----------------------------------------------------------------------------------------------------------


def test_remembered_forgotten_and_told_apart(tiny: Any, own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    artefact, other = tiny.artefact("onnx"), tiny.artefact("onnx", "{}")
    assert recall(artefact, ORT) is None and not own_cache.exists()
    remember(artefact, ORT, "precise")
    assert recall(artefact, ORT) == "precise"
    assert recall(other, ORT) is None
    assert recall(artefact, OPENVINO) is None
    remember(other, ORT, "fast")
    remember(artefact, OPENVINO, "precise")
    assert (recall(artefact, ORT), recall(other, ORT)) == ("precise", "fast")
    assert len(json.loads((own_cache / "kernels.json").read_text())["kernels"]) == 3
    assert [path.name for path in own_cache.iterdir()] == ["kernels.json"]  # no temporary file
    remember(artefact, ORT, None)
    assert (recall(artefact, ORT), recall(artefact, OPENVINO)) == (None, "precise")
    monkeypatch.setattr("edgecv_runtime.cpu.describe", lambda: "another CPU")
    assert recall(other, ORT) is None
    monkeypatch.undo()


def test_another_version_of_the_library_is_asked_anew(tiny: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    remember(tiny.artefact("onnx"), ORT, "precise")
    monkeypatch.setattr(ORT, "version", classmethod(lambda cls: "99.0"))
    assert recall(tiny.artefact("onnx"), ORT) is None


def test_weights_beside_the_graph_count(tiny: Any) -> None:
    from dataclasses import replace

    artefact = tiny.artefact("openvino")
    other = replace(artefact, weights=artefact.weights[:-1] + bytes([artefact.weights[-1] ^ 1]))
    assert artefact.sha256() != other.sha256()


def test_the_oldest_give_way(tiny: Any, own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "_LIMIT", 2)
    artefact = tiny.artefact("onnx")
    for cpu in ("one", "two", "three"):
        monkeypatch.setattr("edgecv_runtime.cpu.describe", lambda cpu=cpu: cpu)
        remember(artefact, ORT, "precise")
    kept = json.loads((own_cache / "kernels.json").read_text())["kernels"]
    assert [key.split()[2] for key in kept] == ["two", "three"]


# -- the file is never an error ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe",
        b"[1]",
        b"{}",
        b"null",
        b'{"version": 1}',
        b'{"version": 1, "kernels": 3}',
        b"[" * 100_000,
        b" " * 2**21,
        b'{"version": 1, "kernels"',
    ],
)
def test_damaged(tiny: Any, bundle: Path, own_cache: Path, content: bytes) -> None:
    own_cache.mkdir()
    (own_cache / "kernels.json").write_bytes(content)
    with pytest.warns(RuntimeWarning, match=r"kernels.json is not used, it cannot be read or is damaged"):
        assert recall(tiny.artefact("onnx"), ORT) is None
    with pytest.warns(RuntimeWarning, match="run it again") as caught, ert.load(bundle) as model:
        assert model(tiny.image(0)).labels
    assert all("\n" not in str(warning.message) for warning in caught)
    with pytest.warns(RuntimeWarning, match="damaged"):
        remember(tiny.artefact("onnx"), ORT, "precise")  # writes it anew
    assert recall(tiny.artefact("onnx"), ORT) == "precise"


@pytest.mark.parametrize("value", ['"slow"', "1", "null", "[]", "{}"])
def test_entries_that_are_no_kernels_are_passed_over(tiny: Any, own_cache: Path, value: str) -> None:
    remember(tiny.artefact("onnx"), ORT, "precise")
    file = own_cache / "kernels.json"
    file.write_text(file.read_text().replace('"precise"', value))
    assert recall(tiny.artefact("onnx"), ORT) is None


def test_a_set_that_the_back_end_has_not(tiny: Any, own_cache: Path) -> None:
    remember(tiny.artefact("tflite"), LITERT, "precise")
    file = own_cache / "kernels.json"
    file.write_text(file.read_text().replace('"precise"', '"fast"'))
    assert recall(tiny.artefact("tflite"), LITERT) is None


def test_a_newer_file_is_left_unused(tiny: Any, own_cache: Path) -> None:
    remember(tiny.artefact("onnx"), ORT, "precise")
    file = own_cache / "kernels.json"
    file.write_text(file.read_text().replace('"version": 1', '"version": 2'))
    assert recall(tiny.artefact("onnx"), ORT) is None


def test_a_folder_in_its_place(tiny: Any, own_cache: Path) -> None:
    (own_cache / "kernels.json").mkdir(parents=True)
    assert recall(tiny.artefact("onnx"), ORT) is None
    with pytest.warns(RuntimeWarning, match="the choice of kernels cannot be remembered"):
        remember(tiny.artefact("onnx"), ORT, "precise")


def test_nothing_is_written_at_import_or_by_load(bundle: Path, own_cache: Path) -> None:
    program = "import sys, edgecv_runtime as ert; [getattr(ert, n) for n in ert.__all__]; ert.load(sys.argv[1])"
    subprocess.run([sys.executable, "-c", program, str(bundle)], check=True, capture_output=True)
    assert not own_cache.exists()


# -- load ----------------------------------------------------------------------------------------------------------


def test_load_takes_what_is_remembered_unless_told(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from edgecv_runtime.bundle import Bundle
    from edgecv_runtime.model import Model

    monkeypatch.setattr("edgecv_runtime.cpu.saturates_int8", lambda: False)
    opened = Bundle(bundle)
    remember(opened.artefact(), ORT, "precise")
    for asked, used in (("auto", "precise"), ("fast", "fast"), ("precise", "precise")):
        with ert.load(bundle, kernels=asked) as model:
            assert model.backend.kernels == used
    with ert.load(bundle, backend="openvino") as model:
        assert model.backend.kernels == "fast"  # remembered of another back end
    with Model(opened.artefact(), opened.manifest) as model:  # what an exporter proves does not hang on a cache
        assert model.backend.kernels == "fast"


def test_a_bare_artefact_too(tiny: Any, tmp_path: Path) -> None:
    artefact = tiny.artefact("onnx", tiny.manifest("onnx").to_json())
    (tmp_path / "model.onnx").write_bytes(artefact.model)
    remember(artefact, ORT, "precise")
    with ert.load(tmp_path / "model.onnx") as model:
        assert model.backend.kernels == "precise"


def test_only_for_the_cpu(tiny: Any) -> None:
    remember(tiny.artefact("onnx"), ORT, "precise")
    assert settled(tiny.artefact("onnx"), None, "CPU", "auto") == "precise"
    assert settled(tiny.artefact("onnx"), None, "CUDA", "auto") == "auto"
