from __future__ import annotations

import io
import json
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import edgecv_runtime as ert
from edgecv_runtime import cpu
from edgecv_runtime.artefact import Artefact
from edgecv_runtime.bundle import Bundle, write_bundle
from edgecv_runtime.errors import (
    BackendError,
    BundleError,
    EdgecvError,
    InputError,
    MissingFileError,
    UnsupportedError,
)
from edgecv_runtime.manifest import Resize
from edgecv_runtime.model import Model
from edgecv_runtime.parity import Golden, Verification, differences, replay, verify


def failure(path: Path, **options: Any) -> tuple[str, str]:
    """Name and message of the one check that fails."""
    verification = verify(path, **options)
    assert not verification.passed
    (failed,) = [check for check in verification.checks if not check.passed]
    assert "\n" not in failed.detail
    return failed.name, failed.detail


def rewritten(path: Path, to: Path, *, manifest: Any = None, **members: bytes | None) -> Path:
    """Members exchanged, the digests brought up to date: as somebody would who knows the format."""
    bundle = Bundle(path)
    content: dict[str, bytes | None] = {name: bundle.member(name) for name in bundle.manifest.members}
    content |= {name.replace("__", "."): data for name, data in members.items()}
    kept = {name: data for name, data in content.items() if data is not None}
    write_bundle(to, manifest or bundle.manifest, kept)
    return to


def arrays_of(path: Path) -> dict[str, np.ndarray]:
    with np.load(io.BytesIO(Bundle(path).member("golden.npz") or b"")) as arrays:
        return {name: arrays[name] for name in arrays.files}


def npz(**arrays: Any) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


# -- good bundles --------------------------------------------------------------------------------------------------


def test_passes_on_a_good_bundle(any_bundle: Path) -> None:
    verification = verify(any_bundle)
    assert verification.passed
    assert [check.name for check in verification.checks] == ["integrity", "manifest", "load", "parity"]
    assert verification.checks[-1].detail == (
        "3 images; scores: max |Δ| 0 (≤ 1e-05), rms 0 (≤ 1e-05); "
        f"where it was proven is not known, here {cpu.describe()}"
    )
    assert verification.latency_ratio is None
    answer = verification.to_dict()
    assert json.loads(json.dumps(answer)) == answer
    assert answer["passed"] is True and answer["bundle"] == str(any_bundle) and len(answer["checks"]) == 4


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_passes_on_each_back_end_that_reads_the_format(bundle: Path, backend: str) -> None:
    assert verify(bundle, backend=backend, threads=1).passed


def test_the_mock_does_not_pass(bundle: Path) -> None:
    name, message = failure(bundle, backend="mock")
    assert name == "parity" and "no longer answers as its float source did" in message


# -- kernels -------------------------------------------------------------------------------------------------------


ELSEWHERE = {"edgecv": "0.1.0", "cpu": "m68k"}  # a CPU that computes otherwise, whatever this one is


def remembered(cache: Path) -> list[str]:
    file = cache / "kernels.json"
    return list(json.loads(file.read_text())["kernels"].values()) if file.is_file() else []


def contract(path: Path, **options: Any) -> tuple[Verification, str]:
    """The verification, and what it says of the contract."""
    verification = verify(path, backend="saturating", **options)
    return verification, verification.checks[-1].detail


def reaches_400(tiny: Any) -> bool:
    return any(tiny.reference.scores(tiny.image(seed)).max() > 400 for seed in range(3))


def test_fast_kernels_that_break_the_contract_give_way(
    tiny: Any, bundle: Path, saturating: Any, own_cache: Path
) -> None:
    assert reaches_400(tiny)  # the fake back end cuts something off
    with ert.load(bundle, backend="saturating") as model:
        assert model.backend.kernels == "fast"
    verification, detail = contract(bundle)
    assert verification.passed and verification.kernels == "precise"
    assert detail.startswith("3 images; scores: max |Δ| 0 (≤ 1e-05)")
    assert "with the precise kernels, since the fast ones break the contract (scores: max |Δ| " in detail
    assert verification.latency_ratio is not None and verification.latency_ratio > 0
    assert f"the precise kernels take {verification.latency_ratio:.2f} times as long as the fast ones" in detail
    answer = verification.to_dict()
    assert answer["kernels"] == "precise" and answer["latency_ratio_precise_to_fast"] == verification.latency_ratio
    assert remembered(own_cache) == ["precise"]
    with ert.load(bundle, backend="saturating") as model:
        assert model.backend.kernels == "precise"
        assert "precise kernels" in repr(model)
        np.testing.assert_array_equal(model.outputs(tiny.image(0))[0][0], tiny.reference.scores(tiny.image(0)))


def test_kernels_that_are_named_are_replayed_alone(bundle: Path, saturating: Any, own_cache: Path) -> None:
    verification, detail = contract(bundle, kernels="fast")
    assert not verification.passed and verification.kernels == "fast" and verification.latency_ratio is None
    assert "no longer answers" in detail and "fast kernels]" in detail and "precise" not in detail
    verification, detail = contract(bundle, kernels="precise")
    assert verification.passed and verification.kernels == "precise" and verification.latency_ratio is None
    assert not own_cache.exists()


def test_both_break_it(bundle: Path, saturating: Any, own_cache: Path) -> None:
    contract(bundle)
    assert remembered(own_cache) == ["precise"]
    saturating.wrong = ("fast", "precise")
    verification, detail = contract(bundle)
    assert not verification.passed and verification.kernels == "fast" and verification.latency_ratio is None
    assert "no longer answers" in detail and "the precise kernels break it too (scores: max |Δ| " in detail
    assert remembered(own_cache) == []  # what was remembered holds no more


def test_precise_kernels_chosen_by_the_cpu_are_compared_with_the_fast_ones(
    tiny: Any, tmp_path: Path, saturating: Any, own_cache: Path
) -> None:
    """An integer artefact on a CPU that computes otherwise than the one it was proven on."""
    path = tiny.write(tmp_path / "a.edgecv", precision="int8", made_with=ELSEWHERE)
    saturating.preferred = "precise"
    verification, detail = contract(path)
    assert verification.passed and verification.kernels == "precise" and verification.latency_ratio is not None
    assert "with the precise kernels; the fast ones break it (scores: max |Δ| " in detail
    assert f"proven on m68k, here {cpu.describe()} (another architecture, " in detail
    answer = verification.to_dict()
    assert answer["proven_on"] == "m68k" and answer["cpu_differences"][0].startswith("another architecture, ")
    assert remembered(own_cache) == ["precise"]


def test_fast_kernels_that_keep_it_on_another_cpu_stay(tiny: Any, tmp_path: Path, saturating: Any) -> None:
    path = tiny.write(tmp_path / "a.edgecv", precision="int8", made_with=ELSEWHERE)
    saturating.wrong = ()
    verification, detail = contract(path)
    assert verification.passed and verification.kernels == "fast"
    assert "with the fast kernels; the precise ones keep it too; the precise kernels take " in detail


@pytest.mark.parametrize(
    "changes", [{"precision": "int8", "made_with": {"cpu": "here"}}, {"precision": "fp32", "made_with": ELSEWHERE}]
)
def test_nothing_is_compared_without_a_reason(
    tiny: Any, tmp_path: Path, saturating: Any, own_cache: Path, changes: dict[str, Any]
) -> None:
    if changes["made_with"] == {"cpu": "here"}:
        changes = changes | {"made_with": {"cpu": cpu.describe()}}
    saturating.wrong = ()
    verification, detail = contract(tiny.write(tmp_path / "a.edgecv", **changes))
    assert verification.passed and verification.kernels == "fast" and verification.latency_ratio is None
    assert "precise" not in detail
    assert not own_cache.exists()


def test_the_choice_that_cannot_be_remembered_is_a_warning(
    bundle: Path, saturating: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.warns(RuntimeWarning, match="the choice of kernels cannot be remembered .*kernels='precise'"):
        verification, _ = contract(bundle)
    assert verification.passed and verification.kernels == "precise"


def test_kernels_that_cannot_be_opened(bundle: Path, saturating: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    choose = saturating.choose_kernels

    def refuse(kernels: str, manifest: Any, device: Any) -> str:
        if kernels == "precise":
            raise BackendError("this version knows no such option")
        return choose(kernels, manifest, device)

    monkeypatch.setattr(saturating, "choose_kernels", staticmethod(refuse))
    verification, detail = contract(bundle)
    assert not verification.passed
    assert "precise kernels cannot be tried: this version knows no such option" in detail


def test_one_set_of_kernels_and_a_request_for_the_other(tiny: Any, tmp_path: Path) -> None:
    path = tiny.write(tmp_path / "a.edgecv", "tflite", precision="int8", made_with=ELSEWHERE)
    verification = verify(path)
    assert verification.passed and verification.kernels == "precise" and verification.latency_ratio is None
    with pytest.raises(UnsupportedError, match="back end 'litert' has precise kernels; received kernels 'fast'"):
        verify(path, kernels="fast")
    with pytest.raises(InputError, match="kernels must be one of auto, fast, precise; received 'slow'"):
        verify(path, kernels="slow")


# -- altered bundles -----------------------------------------------------------------------------------------------


def other_model(tiny: Any, metadata: str | None) -> Artefact:
    """The same network, one weight changed."""
    weights = tiny.reference.weights.astype(np.float32)
    changed = weights.copy()
    changed[70, 2] += 1
    content = tiny.onnx(metadata)
    assert content.count(weights.tobytes()) == 1
    return Artefact("onnx", content.replace(weights.tobytes(), changed.tobytes()))


def test_model_exchanged_without_its_digest(tiny: Any, bundle: Path, tmp_path: Path) -> None:
    content = bundle.read_bytes()
    ours, theirs = Bundle(bundle).artefact().model, other_model(tiny, tiny.manifest("onnx").to_json()).model
    assert len(ours) == len(theirs)
    path = tmp_path / "a.edgecv"
    path.write_bytes(content.replace(ours, theirs))
    name, message = failure(path)  # the zip's own checksum sees it first
    assert name == "integrity" and "Bad CRC-32" in message and str(path) in message


def test_model_exchanged_and_digest_updated(tiny: Any, bundle: Path, tmp_path: Path) -> None:
    theirs = other_model(tiny, tiny.manifest("onnx").to_json()).model
    name, message = failure(rewritten(bundle, tmp_path / "a.edgecv", model__onnx=theirs))
    assert name == "parity"
    assert "on this machine the model no longer answers as its float source did on 3 images: scores: max" in message
    assert "onnxruntime" in message


def test_model_exchanged_for_a_bare_one(tiny: Any, bundle: Path, tmp_path: Path) -> None:
    path = rewritten(bundle, tmp_path / "a.edgecv", model__onnx=tiny.onnx())
    assert failure(path) == (
        "manifest",
        "the artefact carries no edgecv metadata: it is not the one this bundle was made with",
    )


def test_model_exchanged_for_garbage(bundle: Path, tmp_path: Path) -> None:
    path = rewritten(bundle, tmp_path / "a.edgecv", model__onnx=b"garbage" * 10)
    failed = {check.name: check.detail for check in verify(path).checks if not check.passed}
    assert set(failed) == {"manifest", "load"}
    assert failed["load"].startswith("onnxruntime refuses the model")


def edit_resize(manifest: Any, rule: Resize) -> Any:
    return replace(manifest, inputs=(replace(manifest.inputs[0], resize=rule),))


def test_preprocessing_edited_in_the_manifest(any_bundle: Path, tmp_path: Path) -> None:
    manifest = Bundle(any_bundle).manifest
    path = rewritten(any_bundle, tmp_path / "a.edgecv", manifest=edit_resize(manifest, Resize("letterbox")))
    failed = {check.name: check.detail for check in verify(path).checks if not check.passed}
    assert failed["manifest"] == (
        "the manifest differs from the one inside the artefact in inputs: it was edited after the export; "
        "do not use this bundle, export it again"
    )
    assert "parity" in failed  # the golden pictures are not of the input's size: they feel it too


def test_preprocessing_edited_in_both_places(tiny: Any, bundle: Path, tmp_path: Path) -> None:
    manifest = edit_resize(tiny.manifest("onnx"), Resize("stretch"))
    path = rewritten(bundle, tmp_path / "a.edgecv", manifest=manifest, model__onnx=tiny.onnx(manifest.to_json()))
    assert failure(path)[0] == "parity"


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"labels": ("bee", "ant", "cat", "dog")}, "labels"),
        ({"precision": "int8"}, "precision"),
        ({"target": "raspberry-pi-5"}, "target"),
    ],
)
def test_any_field_edited_is_named(bundle: Path, tmp_path: Path, changes: dict[str, Any], field: str) -> None:
    path = rewritten(bundle, tmp_path / "a.edgecv", manifest=replace(Bundle(bundle).manifest, **changes))
    name, message = failure(path)
    assert name == "manifest" and f"in {field}: it was edited" in message


def test_truncated(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "a.edgecv").write_bytes(bundle.read_bytes()[:-30])
    name, message = failure(tmp_path / "a.edgecv")
    assert name == "integrity" and "truncated" in message


def test_golden_missing(bundle: Path, tmp_path: Path) -> None:
    path = rewritten(bundle, tmp_path / "a.edgecv", golden__npz=None)
    assert failure(path) == ("parity", f"{path} carries no parity contract (golden.npz): export it again")


def test_golden_altered(bundle: Path, tmp_path: Path) -> None:
    arrays = arrays_of(bundle)
    arrays["output_0"] = arrays["output_0"] + np.float32(0.001)
    name, message = failure(rewritten(bundle, tmp_path / "a.edgecv", golden__npz=npz(**arrays)))
    assert name == "parity" and "max |Δ| 0.001" in message
    arrays = arrays_of(bundle)
    arrays["output_0"] = arrays["output_0"] * np.float32(np.nan)  # comparisons with NaN are false: it must not pass
    name, message = failure(rewritten(bundle, tmp_path / "a.edgecv", golden__npz=npz(**arrays)))
    assert name == "parity" and "max |Δ| nan" in message


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tolerance": np.full((1, 2), np.nan)}, "tolerance must be finite"),
        ({"tolerance": np.full((1, 2), np.inf)}, "tolerance must be finite"),
        ({"tolerance": np.zeros((2, 2))}, r"tolerance must be \(1, 2\); received shape \(2, 2\)"),
        ({"tolerance": np.array([["a", "b"]])}, "golden.npz is damaged"),
        ({"tolerance": np.zeros((1, 2), complex)}, "golden.npz is damaged"),
        ({"tolerance": None}, "tolerance"),
        ({"origin": None}, "origin"),
        ({"output_0": np.zeros((2, 4), np.float32)}, "one row of outputs for each of its images"),
        ({"output_0": np.float32(1)}, "golden.npz is damaged"),
        ({"output_0": np.array([["x"] * 4] * 3)}, "golden.npz is damaged"),
        ({"output_0": np.zeros((3, 5), np.float32)}, r"output 0 must have shape \(3, 5\); the model gives \(3, 4\)"),
        ({"output_0": None}, "tolerance must be"),
        ({"image_0": None}, "one row of outputs for each of its images"),
        ({"image_1": np.zeros((5, 5, 3), np.float32)}, "an image must be uint8"),
        ({"image_1": np.zeros((3, 50, 50), np.uint8)}, "Channels must come last"),
        ({"output_1": np.zeros((3, 1), np.float32)}, "tolerance must be"),
    ],
)
def test_golden_that_makes_no_sense(bundle: Path, tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    arrays = {name: value for name, value in (arrays_of(bundle) | changes).items() if value is not None}
    path = rewritten(bundle, tmp_path / "a.edgecv", golden__npz=npz(**arrays))
    name, detail = failure(path)
    assert name == "parity"
    with pytest.raises(AssertionError, match=message):
        raise AssertionError(detail)


def test_golden_of_all_kinds_of_bytes(bundle: Path) -> None:
    """Whatever stands in golden.npz, only a BundleError comes out."""
    good = Bundle(bundle).member("golden.npz") or b""
    single, pickled, empty = io.BytesIO(), io.BytesIO(), io.BytesIO()
    np.save(single, np.zeros(3))
    np.savez(pickled, tolerance=np.array([{}], object), origin=np.array("x"))
    zipfile.ZipFile(empty, "w").close()
    huge = io.BytesIO()
    header = b"\x93NUMPY\x01\x00v\x00" + f"{{'descr':'<f8','fortran_order':False,'shape':({10**15},)}}".encode().ljust(
        117
    )
    with zipfile.ZipFile(huge, "w") as archive:
        archive.writestr("tolerance.npy", header + b"\n")
    cases = [b"", b"x", b"\x80\x04K\x01.", single.getvalue(), pickled.getvalue(), empty.getvalue(), huge.getvalue()]
    cases += [good[:length] for length in range(0, len(good), 97)]
    for content in cases:
        with pytest.raises(BundleError, match=r"here: golden.npz is damaged") as caught:
            Golden.from_bytes(content, origin="here")
        assert "\n" not in str(caught.value)
    generator = np.random.default_rng(4)
    for position in generator.integers(0, len(good), 2000).tolist():
        changed = bytearray(good)
        changed[position] ^= 1 << int(generator.integers(8))
        try:
            Golden.from_bytes(bytes(changed), origin="here")
        except EdgecvError as error:
            assert isinstance(error, BundleError) and "\n" not in str(error)


def test_golden_survives_its_file(tiny: Any) -> None:
    golden = tiny.golden(tiny.manifest("onnx"))
    again = Golden.from_bytes(golden.to_bytes(), origin="here")
    for image, other in zip(golden.images, again.images, strict=True):
        np.testing.assert_array_equal(image, other)
    np.testing.assert_array_equal(golden.outputs[0], again.outputs[0])
    assert again.outputs[0].dtype == np.float32 and again.tolerance.dtype == np.float64
    np.testing.assert_array_equal(golden.tolerance, again.tolerance)
    assert again.origin == "generated"


# -- bad requests say nothing about the bundle ---------------------------------------------------------------------


def test_requests_that_cannot_be_met_are_raised(bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="no bundle at"):
        verify(tmp_path / "none.edgecv")
    with pytest.raises(InputError, match="backend must be one of"):
        verify(bundle, backend="nonsense")
    with pytest.raises(InputError, match="threads must be in"):
        verify(bundle, threads=0)
    with pytest.raises(UnsupportedError, match="back end 'litert' runs tflite; this artefact is onnx"):
        verify(bundle, backend="litert")
    with pytest.raises(UnsupportedError, match="received device 'TPU'"):
        verify(bundle, device="TPU")


def test_a_library_that_is_missing_is_raised(bundle: Path, block_import: Any) -> None:
    block_import("onnxruntime")
    with pytest.raises(ImportError, match=r"edgecv-runtime\[onnx\]"):
        verify(bundle, backend="onnxruntime")


# -- the measure ---------------------------------------------------------------------------------------------------


def test_differences_by_hand(tiny: Any) -> None:
    """Two pictures; four scores off by 0, 0, 0, 3 and 4, 0, 0, 0: largest 4, rms sqrt(25 / 8)."""
    manifest = tiny.manifest("onnx")
    with Model(tiny.artefact("onnx"), manifest) as model:
        images = [tiny.image(1), tiny.image(2)]
        expected = np.stack([tiny.reference.scores(image) for image in images])
        expected += np.array([[0, 0, 0, 3], [-4, 0, 0, 0]], np.float32)
        np.testing.assert_allclose(differences(model, images, [expected]), [[4, np.sqrt(25 / 8)]])
        with pytest.raises(BundleError, match="the parity contract has 2 outputs; the model gives 1"):
            differences(model, images, [expected, expected])
        for tolerance, passes in (([4, 1.77], True), ([3.99, 1.77], False), ([4, 1.76], False)):
            golden = Golden(tuple(images), (expected,), np.array([tolerance]), "generated")
            if passes:
                assert replay(model, golden) == "2 images; scores: max |Δ| 4 (≤ 4), rms 1.77 (≤ 1.77)"
            else:
                with pytest.raises(BundleError, match="no longer answers"):
                    replay(model, golden)
