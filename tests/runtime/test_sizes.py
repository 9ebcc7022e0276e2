"""One network at several input sizes in one bundle."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import edgecv_runtime as ert
from edgecv_runtime.artefact import Artefact
from edgecv_runtime.bundle import Bundle, write_bundle
from edgecv_runtime.cli.main import main
from edgecv_runtime.errors import BundleError, InputError
from edgecv_runtime.golden import Golden
from edgecv_runtime.manifest import DecoderSpec, InputSpec, Manifest, Resize, TensorSpec
from edgecv_runtime.model import load_smaller
from edgecv_runtime.sizes import at_size, join, sizes_of

SIZES = ((32, 32), (24, 24), (16, 12))
Check = Callable[[pytest.ExceptionInfo[Any]], str]


def mean_network(size: tuple[int, int], metadata: str) -> bytes:
    """The mean of each colour, plus a bias that tells the sizes apart: 1000 × the height for the first class."""
    from onnx import TensorProto, helper

    height, width = size
    nodes = [
        helper.make_node("Cast", ["image"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["float", "axes"], ["mean"], keepdims=0),
        helper.make_node("Add", ["mean", "bias"], ["scores"]),
    ]
    constants = [
        helper.make_tensor("axes", TensorProto.INT64, [2], [1, 2]),
        helper.make_tensor("bias", TensorProto.FLOAT, [3], [1000.0 * height, 0.0, 0.0]),
    ]
    graph = helper.make_graph(
        nodes,
        "mean",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, [1, height, width, 3])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, 3])],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    helper.set_model_props(model, {"edgecv": metadata})
    return bytes(model.SerializeToString())


def one_size(folder: Path, size: tuple[int, int], *, wrong: float = 0.0, **changes: Any) -> Path:
    """A bundle of one size; `wrong` is added to what its contract expects."""
    known: dict[str, Any] = {
        "name": "mean",
        "task": "classification",
        "architecture": {"name": "mean"},
        "labels": ("red", "green", "blue"),
        "decoder": DecoderSpec("classification", {"activation": "none"}),
    }
    manifest = Manifest(
        **(known | changes),
        format="onnx",
        precision="fp32",
        inputs=(InputSpec("image", (1, *size, 3), "uint8", resize=Resize("stretch")),),
        outputs=(TensorSpec("scores", (1, 3), "float32"),),
    )
    image = np.random.default_rng(size[0]).integers(0, 256, (*size, 3), np.uint8)
    expected = image.astype(np.float64).mean((0, 1)) + np.array([1000 * size[0] + wrong, 0, 0])
    golden = Golden((image,), (expected[None].astype(np.float32),), np.full((1, 2), 0.1), "generated")
    artefact = Artefact("onnx", mean_network(size, manifest.to_json()))
    path = folder / f"{size[0]}.edgecv"
    write_bundle(path, manifest, artefact.members() | {"golden.npz": golden.to_bytes()})
    return path


@pytest.fixture
def several(tmp_path: Path) -> Path:
    """Three sizes, given in another order than theirs."""
    parts = [one_size(tmp_path, size) for size in (SIZES[1], SIZES[2], SIZES[0])]
    join(tmp_path / "several.edgecv", parts)
    return tmp_path / "several.edgecv"


def test_the_largest_is_what_runs_alone(several: Path) -> None:
    with ert.load(several) as model, ert.load(several.parent / "32.edgecv") as alone:
        assert model.manifest.inputs[0].size == (32, 32)
        assert model.fingerprint == alone.fingerprint
        red = np.zeros((32, 32, 3), np.uint8)
        red[..., 0] = 200
        assert model(red).scores[0] == 32200.0


def test_each_size_is_a_bundle_of_its_own(several: Path) -> None:
    bundle = Bundle(several)
    found = sizes_of(bundle)
    assert tuple(found) == SIZES
    assert found[(32, 32)] is bundle
    for size, one in found.items():
        assert one.manifest.inputs[0].size == size and one.member("golden.npz") is not None
    with ert.load(several, size=24) as square, ert.load(several, size=(16, 12)) as oblong:
        grey = np.full((48, 48, 3), 7, np.uint8)
        assert (square(grey).scores[0], oblong(grey).scores[0]) == (24007.0, 16007.0)
    smaller = load_smaller(several)
    assert [model.manifest.inputs[0].size for model in smaller] == [(24, 24), (16, 12)]
    for model in smaller:
        model.close()
    assert load_smaller(several.parent / "24.edgecv") == []


def test_a_bundle_is_read_once_for_all_of_its_sizes(several: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened, plain = [], Bundle.__init__

    def counted(bundle: Bundle, path: str | Path, content: bytes | None = None) -> None:
        opened.append(Path(path).name)
        plain(bundle, path, content)

    monkeypatch.setattr(Bundle, "__init__", counted)
    for model in load_smaller(several):
        model.close()
    assert sorted(opened) == ["16x12.edgecv", "24x24.edgecv", "several.edgecv"]


def test_every_contract_is_replayed(several: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = [check.name for check in ert.verify(several).checks]
    assert names == [
        "integrity", "manifest", "load", "parity", "sizes",
        "24x24 manifest", "24x24 load", "24x24 parity", "16x12 manifest", "16x12 load", "16x12 parity",
    ]  # fmt: skip
    assert main(["verify", str(several)]) == 0
    assert "✓ 16x12 parity" in capsys.readouterr().out
    (tmp_path / "bad").mkdir()
    join(tmp_path / "broken.edgecv", [one_size(tmp_path / "bad", (16, 12), wrong=5.0), tmp_path / "32.edgecv"])
    verification = ert.verify(tmp_path / "broken.edgecv")
    assert [check.name for check in verification.checks if not check.passed] == ["16x12 parity"]
    assert not verification.passed


def test_what_does_not_belong_together_is_refused(tmp_path: Path, one_line: Check) -> None:
    first, output = one_size(tmp_path, (32, 32)), tmp_path / "out.edgecv"
    (tmp_path / "more").mkdir()
    others = {
        "differ in labels": one_size(tmp_path / "more", (16, 12), labels=("a", "b", "c")),
        "differ in architecture": one_size(tmp_path / "more", (24, 24), architecture={"name": "other"}),
        "once; .* is of 32x32, too": one_size(tmp_path / "more", (32, 32)),
    }
    for message, other in others.items():
        with pytest.raises(InputError, match=message) as caught:
            join(output, [first, other])
        one_line(caught)
    with pytest.raises(InputError, match="two input sizes or more are required; received 1"):
        join(output, [first])
    assert not output.exists()


def test_a_joined_bundle_is_not_joined_again(several: Path, tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    with pytest.raises(InputError, match="several sizes already"):
        join(tmp_path / "out.edgecv", [several, one_size(tmp_path / "x", (8, 8))])


def test_sizes_that_there_are_not(several: Path, one_line: Check) -> None:
    with pytest.raises(InputError, match=r"one of 32x32, 24x24, 16x12, .*; received 99") as caught:
        at_size(Bundle(several), 99)
    one_line(caught)
    with pytest.raises(InputError, match="a bare model has the one size"):
        ert.load(several.with_suffix(".onnx"), size=24)


@pytest.mark.parametrize("content", [b"nothing", None])
def test_a_member_that_is_not_what_its_name_says(tmp_path: Path, content: bytes | None, one_line: Check) -> None:
    """A size's member may be no bundle, or one of another size; the digests are in order."""
    main_part = Bundle(one_size(tmp_path, (32, 32)))
    inner = one_size(tmp_path, (24, 24)).read_bytes() if content is None else content
    members = {name: value for name, value in main_part.members().items() if name != "manifest.json"}
    write_bundle(tmp_path / "odd.edgecv", main_part.manifest, members | {"sizes/20x20.edgecv": inner})
    with pytest.raises(BundleError, match=r"odd\.edgecv") as caught:
        ert.load(tmp_path / "odd.edgecv", size=20)
    one_line(caught)
    failed = [check.name for check in ert.verify(tmp_path / "odd.edgecv").checks if not check.passed]
    assert failed == ["sizes"]


def test_info_names_them(several: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", str(several)]) == 0
    assert "sizes      32x32, 24x24, 16x12" in capsys.readouterr().out
    assert main(["info", "--json", str(several)]) == 0
    assert json.loads(capsys.readouterr().out)["sizes"] == ["32x32", "24x24", "16x12"]
