from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgecv_runtime.artefact import Artefact, read_metadata
from edgecv_runtime.errors import BundleError, EdgecvError, InputError, MissingFileError

TEXTS = {
    "empty": "",
    "short": "x",
    "json": '{"format_version": 1, "labels": ["a", "b"]}',
    "number": "5",
    "long": "0123456789" * 30_000,  # longer than a 16-bit length
    "unicode": "größe 猫 😀 \u0085\u00a0\u2028",
    "xml": '<a href="x">&amp; \'q\' &lt; &copy; &#65; </edges> </rt_info></net> <edgecv value="no"/>',
    "whitespace": " a\nb\tc\r\n d ",
}


@pytest.fixture(params=["tflite", "onnx", "openvino"])
def format(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize("kind", TEXTS)
def test_reads_what_the_real_writers_wrote(tiny: Any, format: str, kind: str) -> None:
    assert read_metadata(tiny.artefact(format, TEXTS[kind])) == TEXTS[kind]


def test_none_where_there_is_none(tiny: Any, format: str) -> None:
    artefact = tiny.artefact(format)
    assert read_metadata(artefact) is None
    assert artefact.manifest() is None


def test_manifest_inside(tiny: Any, format: str) -> None:
    manifest = tiny.manifest(format)
    assert tiny.artefact(format, manifest.to_json()).manifest() == manifest


def test_metadata_that_is_no_manifest_names_its_origin(tiny: Any, format: str) -> None:
    with pytest.raises(BundleError, match=f"^the {format} artefact's metadata: the manifest is not valid JSON"):
        tiny.artefact(format, "x").manifest()


def test_damaged_files_give_an_edgecv_error_or_an_answer(tiny: Any, format: str) -> None:
    """Truncated at every 16th byte, and 3,000 random flips: nothing but an EdgecvError may come out."""
    artefact = tiny.artefact(format, TEXTS["json"])
    data, generator = artefact.model, np.random.default_rng(3)
    damaged = [data[:length] for length in range(0, len(data), 16)]
    for position in generator.integers(0, len(data), 3000).tolist():
        changed = bytearray(data)
        changed[position] ^= 1 << int(generator.integers(8))
        damaged.append(bytes(changed))
    refused = 0
    for content in damaged:
        try:
            read_metadata(Artefact(format, content, artefact.weights))
        except EdgecvError as error:
            refused += 1
            assert "\n" not in str(error)
    assert refused > 10


@pytest.mark.parametrize("content", [b"", b"\0", b"hello", bytes(range(256)) * 20])
def test_garbage_is_refused_or_carries_nothing(format: str, content: bytes) -> None:
    try:
        assert read_metadata(Artefact(format, content, b"")) is None
    except BundleError as error:
        assert str(error).startswith(f"the {format} model is damaged: its metadata cannot be read (")


def test_openvino_needs_its_weights(tiny: Any) -> None:
    with pytest.raises(BundleError, match=r"needs its weights \(model.bin\) beside the .xml; received none"):
        Artefact("openvino", tiny.artefact("openvino").model)


def test_size_members_and_repr(tiny: Any) -> None:
    artefact = tiny.artefact("openvino")
    assert artefact.members() == {"model.xml": artefact.model, "model.bin": artefact.weights}
    assert artefact.size == len(zlib.compress(artefact.model, 9, wbits=-15)) + len(artefact.weights)
    assert repr(artefact) == f"<Artefact openvino, {artefact.size:,} bytes>"
    assert list(tiny.artefact("tflite").members()) == ["model.tflite"]


# -- from a file ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("format", "name"), [("tflite", "a.TFLite"), ("onnx", "a.onnx"), ("openvino", "a.xml")])
def test_from_file(tiny: Any, tmp_path: Path, format: str, name: str) -> None:
    artefact = tiny.artefact(format)
    (tmp_path / name).write_bytes(artefact.model)
    if artefact.weights is not None:
        (tmp_path / "a.bin").write_bytes(artefact.weights)
    assert Artefact.from_file(str(tmp_path / name)) == artefact


def test_from_file_refuses(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"must end in .tflite, .onnx or .xml; received 'model.pb'"):
        Artefact.from_file(tmp_path / "model.pb")
    with pytest.raises(MissingFileError, match=r"no model file at .*model.onnx"):
        Artefact.from_file(tmp_path / "model.onnx")
    (tmp_path / "model.xml").write_bytes(b"<net/>")
    with pytest.raises(MissingFileError, match=r"needs its weights beside it; no file at .*model.bin"):
        Artefact.from_file(tmp_path / "model.xml")
    (tmp_path / "folder.onnx").mkdir()
    with pytest.raises(MissingFileError, match=r"no model file at .*folder.onnx"):
        Artefact.from_file(tmp_path / "folder.onnx")
