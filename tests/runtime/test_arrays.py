"""Inputs that are no pictures: arrays, files, normalisation, quantization, and their place in the manifest."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgecv_runtime.arrays import (
    ArrayPreprocessor,
    as_example,
    examples,
    list_array_files,
    named_examples,
    preprocessor_of,
    read_array_file,
)
from edgecv_runtime.decoders import make_decoder
from edgecv_runtime.errors import BundleError, InputError, MissingFileError, UnsupportedError
from edgecv_runtime.golden import Golden
from edgecv_runtime.manifest import (
    DecoderSpec,
    InputSpec,
    Manifest,
    Normalization,
    Quantization,
    Resize,
    TensorSpec,
)
from edgecv_runtime.preprocess import Preprocessor

SIGNAL = InputSpec("input", (1, 4, 2), "float32", layout="NWC")
MONO = InputSpec("input", (1, 4, 1), "float32", layout="NWC")
VOLUME = InputSpec("input", (1, 2, 3, 4, 1), "float32", layout="NDHWC")


def manifest(spec: InputSpec, decoder: DecoderSpec) -> Manifest:
    return Manifest(
        name="m",
        task=decoder.name,
        architecture={"name": "custom"},
        format="onnx",
        precision="fp32",
        inputs=(spec,),
        outputs=(TensorSpec("scores", (1, 3), "float32"),),
        decoder=decoder,
        labels=("a", "b", "c"),
    )


# -- the manifest --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spec", [SIGNAL, VOLUME, replace(SIGNAL, normalization=Normalization((1.0, 2.0), (3.0, 4.0)))])
def test_an_array_input_survives_json_and_has_nothing_of_a_picture(spec: InputSpec) -> None:
    made = manifest(spec, DecoderSpec("signal-classification"))
    assert Manifest.from_json(made.to_json(), origin="test") == made
    (written,) = json.loads(made.to_json())["inputs"]
    assert {"color", "resize"}.isdisjoint(written)
    assert written["layout"] == spec.layout
    assert not spec.is_image
    assert spec.channels == spec.shape[-1]
    with pytest.raises(UnsupportedError, match=r"takes no pictures: its input is a (signal|volume)"):
        _ = spec.size


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"shape": (1, 4, 4, 2)}, "layout NWC must have 3 dimensions"),
        ({"shape": (1, None, 2)}, "fixed but for the batch"),
        ({"color": "GRAY"}, "color and resize are of pictures"),
        ({"resize": Resize("letterbox")}, "color and resize are of pictures"),
        ({"normalization": Normalization((0.0,), (1.0,))}, "normalization must have 2 value"),
        ({"layout": "NCW"}, "layout must be one of NHWC, NCHW, NWC, NDHWC"),
    ],
)
def test_what_an_array_input_must_be(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        replace(SIGNAL, **changes)


# -- one array -----------------------------------------------------------------------------------------------------


def test_an_array_is_taken_as_it_is() -> None:
    values = np.arange(8, dtype=np.int16).reshape(4, 2)
    tensor, _ = ArrayPreprocessor(SIGNAL)(values)
    assert tensor.dtype == np.float32
    np.testing.assert_array_equal(tensor, values[None])


def test_a_single_channel_may_be_left_out() -> None:
    occupied = np.arange(24).reshape(2, 3, 4) % 5 == 0
    np.testing.assert_array_equal(as_example(occupied, VOLUME)[..., 0], occupied.astype(np.float32))
    assert as_example(np.zeros(4), MONO).shape == (4, 1)


def test_normalised_and_quantized_by_hand() -> None:
    spec = replace(
        SIGNAL,
        dtype="int8",
        normalization=Normalization((1.0, 10.0), (2.0, 5.0)),
        quantization=Quantization(0.5, -3),
    )
    values = np.array([[1, 10], [3, 0], [2, 12.5], [1000, -1000]], np.float64)
    # (x - mean) / std: 0 0, 1 -2, 0.5 0.5, 499.5 -202; over 0.5, less 3, within -128..127.
    wanted = [[-3, -3], [-1, -7], [-2, -2], [127, -128]]
    tensor, _ = preprocessor_of(spec)(values)
    assert tensor.dtype == np.int8
    np.testing.assert_array_equal(tensor[0], wanted)


def test_an_integer_input_must_say_its_scale() -> None:
    with pytest.raises(InputError, match="must state scale and zero point"):
        ArrayPreprocessor(replace(SIGNAL, dtype="int8"))


def test_pictures_keep_their_road() -> None:
    assert isinstance(preprocessor_of(InputSpec("image", (1, 8, 8, 3), "uint8")), Preprocessor)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        ([[1, 2]], "must be a numpy array or the path of one; received list"),
        (np.zeros((4, 3)), r"a signal must have shape \(4, 2\); received \(4, 3\)"),
        (np.zeros((9, 4, 2)), "Pass a list of them"),
        (np.zeros(4), r"must have shape \(4, 2\)"),  # two channels: none may be left out
        (np.full((4, 2), "x"), "must hold numbers; received <U1"),
        (np.full((4, 2), np.nan), "must hold finite numbers"),
    ],
)
def test_what_is_no_signal(array: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        as_example(array, SIGNAL)


# -- files ---------------------------------------------------------------------------------------------------------


def test_files_hold_one_example_or_a_stack(tmp_path: Path) -> None:
    one, many = np.arange(8.0).reshape(4, 2), np.arange(24.0).reshape(3, 4, 2)
    np.save(tmp_path / "b.npy", one)
    np.savez(tmp_path / "a.npz", x=many, y=one)
    (tmp_path / "notes.txt").write_text("not read")
    names, found = zip(*named_examples(tmp_path, SIGNAL), strict=True)
    assert [name.removeprefix(f"{tmp_path}/") for name in names] == [
        "a.npz[0]", "a.npz[1]", "a.npz[2]", "a.npz[3]", "b.npy",
    ]  # fmt: skip
    np.testing.assert_array_equal(np.stack(found), [*many, one, one])
    np.testing.assert_array_equal(ArrayPreprocessor(SIGNAL).read(tmp_path / "b.npy"), one)
    with pytest.raises(InputError, match="holds 4 signals"):
        ArrayPreprocessor(SIGNAL).read(tmp_path / "a.npz")


def test_a_shape_that_fits_one_is_one() -> None:
    square = InputSpec("input", (1, 4, 4), "float32", layout="NWC")
    assert len(examples([np.zeros((4, 4))], square, "x")) == 1
    assert len(examples([np.zeros((4, 4))], MONO, "x")) == 4  # four of four values each
    with pytest.raises(InputError, match=r"x: a signal must have shape \(4, 1\); received \(5, 5\)"):
        examples([np.zeros((5, 5))], MONO, "x")


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="it is a folder"):
        read_array_file(tmp_path)
    with pytest.raises(InputError, match="holds no array"):
        list_array_files(tmp_path)
    with pytest.raises(MissingFileError, match="no folder at"):
        list_array_files(tmp_path / "none")
    objects = tmp_path / "objects.npy"
    np.save(objects, np.array([{}], object), allow_pickle=True)
    for name, content in {"empty.npy": b"", "text.npz": b"PK\x03\x04 not a zip", "objects.npy": None}.items():
        if content is not None:
            (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=r"is not a .npy or .npz file that can be read"):
            read_array_file(tmp_path / name)


def test_an_archive_that_asks_for_a_password(tmp_path: Path) -> None:
    """zipfile says so with a RuntimeError."""
    path = tmp_path / "locked.npz"
    np.savez(path, a=np.zeros(3))
    content = bytearray(path.read_bytes())
    for signature, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):  # the flags of APPNOTE.TXT 4.3.7 and 4.3.12
        content[content.index(signature) + place] |= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"can be read \(File .* is encrypted"):
        read_array_file(path)


# -- decoder and contract ------------------------------------------------------------------------------------------


def test_decoders_know_their_inputs() -> None:
    decoder = make_decoder(manifest(SIGNAL, DecoderSpec("signal-classification", {"activation": "softmax"})))
    _, geometry = ArrayPreprocessor(SIGNAL)(np.zeros((4, 2)))
    (scores,) = decoder.activate([np.log(np.array([[1.0, 2.0, 5.0]], np.float32))])
    result = decoder.decode([scores[0]], geometry)
    assert decoder.task == "signal-classification"
    assert result.labels == ("c", "b", "a")
    np.testing.assert_allclose(result.scores, [0.625, 0.25, 0.125], rtol=1e-6)
    with pytest.raises(BundleError, match="is for inputs of layout NDHWC; the manifest says NWC"):
        make_decoder(manifest(SIGNAL, DecoderSpec("volume-classification")))
    with pytest.raises(BundleError, match="class activation maps are of pictures"):
        make_decoder(manifest(VOLUME, DecoderSpec("volume-classification", {"outputs": {}})))
    pose = replace(
        manifest(SIGNAL, DecoderSpec("regression-pose")),
        outputs=(TensorSpec("points", (1, 4), "float32"),),
        labels=None,
    )
    with pytest.raises(UnsupportedError, match="takes no pictures"):
        make_decoder(pose)


def test_a_contract_keeps_float_arrays_as_they_are() -> None:
    array = np.linspace(-3, 3, 8, dtype=np.float32).reshape(4, 2)
    golden = Golden((array,), (np.zeros((1, 3), np.float32),), np.zeros((1, 2)), "calibration")
    (read,) = Golden.from_bytes(golden.to_bytes(), origin="test").images
    np.testing.assert_array_equal(read, array)
    assert read.dtype == np.float32
