"""A bundle whose artefact is changed for an accelerator keeps its parity contract."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgecv_export.compatibility import fixed_bundle, place
from edgecv_export.compatibility.fixed_bundle import write_fixed_bundle
from edgecv_export.compatibility.fixes import Fixed
from edgecv_export.compatibility.fixes.draft import Draft
from edgecv_export.metadata import embed
from edgecv_export.tflite_graph import read_graph
from edgecv_runtime.artefact import Artefact
from edgecv_runtime.bundle import Bundle, write_bundle
from edgecv_runtime.errors import CheckFailedError, UnsupportedError
from edgecv_runtime.parity import verify
from edgecv_targets import load_accelerator

TABLE = load_accelerator("ethos-u55")


@pytest.fixture(scope="module")
def island(made: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """LeNet-5 in int8, whose first tanh is computed in float."""
    bundle = made("lenet", "tflite", "int8").bundle
    draft = Draft(bundle.artefact().model)
    tanh = next(operator for operator in draft.operators if draft.kind(operator) == "TANH")
    shape = draft.shape(tanh.outputs[0])
    before, after = (draft.add_constant(np.zeros(shape, np.float32), name) for name in ("before", "after"))
    for tensor in (before, after):
        draft.graph.tensors[tensor].buffer = 0  # computed
    steps = [("DEQUANTIZE", tanh.inputs[0], before), ("TANH", before, after), ("QUANTIZE", after, tanh.outputs[0])]
    draft.replace(tanh, [draft.make(kind, [given], result) for kind, given, result in steps])
    path = tmp_path_factory.mktemp("island") / "island.edgecv"
    members = {name: bundle.member(name) for name in bundle.manifest.members}
    manifest = replace(bundle.manifest, members={})
    write_bundle(path, manifest, members | embed(Artefact("tflite", draft.pack()), manifest).members())
    return path


def left(path: Path) -> list[str]:
    placed = place(read_graph(Bundle(path).artefact().model), TABLE)
    return [operator.kind for operator in placed if operator.where != "accelerator"]


def test_it_runs_there_and_still_verifies(island: Path, tmp_path: Path) -> None:
    assert left(island) == ["DEQUANTIZE", "TANH", "QUANTIZE"]
    fixed = write_fixed_bundle(island, tmp_path / "fixed.edgecv", TABLE)
    assert left(tmp_path / "fixed.edgecv") == []
    assert verify(tmp_path / "fixed.edgecv").passed
    assert [text.split(" ")[0] for text in fixed.done] == ["computed", "fused"]
    assert Bundle(tmp_path / "fixed.edgecv").report()["fixes"] == list(fixed.done)


def test_a_broken_contract_writes_nothing(island: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def spoil(content: bytes, *_: Any, **__: Any) -> Fixed:
        draft = Draft(content)
        weights = next(operator.inputs[1] for operator in draft.operators if draft.kind(operator) == "CONV_2D")
        tensor = draft.graph.tensors[weights]
        draft.model.buffers[tensor.buffer].data = np.zeros_like(draft.model.buffers[tensor.buffer].data)
        return Fixed(draft.pack(), ("spoilt",))

    monkeypatch.setattr(fixed_bundle, "apply_fixes", spoil)
    with pytest.raises(CheckFailedError, match="does not keep the parity contract; nothing was written: "):
        write_fixed_bundle(island, tmp_path / "fixed.edgecv", TABLE)
    assert list(tmp_path.iterdir()) == []


def test_what_was_compiled_from_the_old_artefact_is_left_out(island: Path, tmp_path: Path) -> None:
    bundle = Bundle(island)
    members = {name: bundle.member(name) or b"" for name in bundle.manifest.members}
    manifest = replace(bundle.manifest, members={})
    write_bundle(tmp_path / "old.edgecv", manifest, members | {"compiled.tflite": b"x", "micro/a.c": b"x"})
    write_fixed_bundle(tmp_path / "old.edgecv", tmp_path / "new.edgecv", TABLE)
    assert set(Bundle(tmp_path / "new.edgecv").manifest.members) == set(members)
    write_bundle(tmp_path / "only.edgecv", replace(manifest, compiled_for="ethos-u55-128"), members)
    with pytest.raises(UnsupportedError, match="compiled already, for ethos-u55-128"):
        write_fixed_bundle(tmp_path / "only.edgecv", tmp_path / "new.edgecv", TABLE)
