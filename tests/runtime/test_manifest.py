from __future__ import annotations

import copy
import json
import random
from dataclasses import replace
from typing import Any

import pytest

from edgecv_runtime.errors import BundleError, EdgecvError, InputError, NewerFormatError
from edgecv_runtime.manifest import (
    DecoderSpec,
    InputSpec,
    Manifest,
    Normalization,
    Quantization,
    Resize,
    TensorSpec,
)

FULL = Manifest(
    name="größe",
    task="classification",
    architecture={"name": "mobilenet_v2", "options": {"alpha": 0.35}},
    format="tflite",
    precision="int8",
    inputs=(
        InputSpec(
            "image",
            (1, 3, 224, 160),
            "int8",
            Quantization(0.0078125, -1),
            layout="NCHW",
            color="BGR",
            resize=Resize("letterbox", align="top-left", pad_value=0, interpolation="area"),
            normalization=Normalization((103.5, 116.25, 123.75), (57.0, 57.5, 58.0)),
        ),
    ),
    outputs=(TensorSpec("scores", (None, 3), "int8", Quantization(0.1, 7)),),
    decoder=DecoderSpec("classification", {"activation": "softmax"}),
    labels=("猫", "dog", "a\tb"),
    target="raspberry-pi-4",
    made_with={"edgecv": "0.1.0", "cpu": "x86_64 avx2"},
    members={"model.tflite": "00"},
)


def read(data: Any) -> Manifest:
    return Manifest.from_json(json.dumps(data), origin="test")


def test_every_field_survives_the_round_trip() -> None:
    assert Manifest.from_json(FULL.to_json(), origin="test") == FULL
    assert Manifest.from_json(FULL.to_json().encode(), origin="test") == FULL


def test_json_is_the_documented_one() -> None:
    data = json.loads(FULL.to_json())
    assert list(data)[:4] == ["format_version", "name", "task", "architecture"]
    assert data["format_version"] == 1
    assert data["inputs"][0] == {
        "name": "image",
        "shape": [1, 3, 224, 160],
        "dtype": "int8",
        "quantization": {"scale": 0.0078125, "zero_point": -1},
        "layout": "NCHW",
        "color": "BGR",
        "resize": {
            "mode": "letterbox",
            "crop_fraction": 1.0,
            "align": "top-left",
            "pad_value": 0,
            "interpolation": "area",
        },
        "normalization": {"mean": [103.5, 116.25, 123.75], "std": [57.0, 57.5, 58.0]},
    }
    assert data["outputs"][0]["shape"] == [None, 3]
    in_graph = replace(FULL, inputs=(replace(FULL.inputs[0], normalization=None),))
    assert json.loads(in_graph.to_json())["inputs"][0]["normalization"] == "in-graph"
    assert Manifest.from_json(in_graph.to_json(), origin="test") == in_graph


def test_layers_in_float_are_named_where_there_are_some() -> None:
    assert "float_layers" not in json.loads(FULL.to_json()) and FULL.described_precision() == "int8"
    one = replace(FULL, float_layers=("head",))
    assert one.described_precision() == "int8, 1 layer in float: head"
    several = replace(FULL, float_layers=("a", "b", "c", "d"))
    assert Manifest.from_json(several.to_json(), origin="test") == several
    assert several.described_precision() == "int8, 4 layers in float: a, b, c, …"
    assert several.described_precision(4) == "int8, 4 layers in float: a, b, c, d"
    data = json.loads(FULL.to_json())
    for wrong in ("head", [1]):
        with pytest.raises(BundleError, match="float_layers must be"):
            read({**data, "float_layers": wrong})


def test_embedded_copy_has_no_digests_and_the_fingerprint_does_not_depend_on_them() -> None:
    assert FULL.embedded().members == {}
    assert FULL.fingerprint() == FULL.embedded().fingerprint()
    other = replace(FULL, inputs=(replace(FULL.inputs[0], color="RGB"),))
    assert other.fingerprint() != FULL.fingerprint()


def test_size_channels_and_batch_follow_the_layout() -> None:
    nchw = FULL.inputs[0]
    assert (nchw.size, nchw.channels, nchw.batch) == ((224, 160), 3, 1)
    nhwc = InputSpec("image", (None, 32, 48, 1), "uint8", color="GRAY")
    assert (nhwc.size, nhwc.channels, nhwc.batch) == ((32, 48), 1, None)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Resize("fit"), "resize mode must be stretch, letterbox or crop; received 'fit'"),
        (lambda: Resize("crop", 0.0), r"crop_fraction must be in \(0, 1\]; received 0.0"),
        (lambda: Resize("crop", float("nan")), "crop_fraction must be in"),
        (lambda: Resize("stretch", 0.875), "crop_fraction applies to mode 'crop' only"),
        (lambda: Resize(pad_value=256), r"pad_value must be an integer in \[0, 255\]; received 256"),
        (lambda: Resize(pad_value=0.5), "pad_value must be an integer"),
        (lambda: Resize(interpolation="lanczos"), "interpolation must be one of nearest, linear, cubic, area"),
        (lambda: Resize(align="left"), "align must be center or top-left"),
        (lambda: Normalization((0.0,), (1.0, 1.0)), "one value per channel; received 1 and 2"),
        (lambda: Normalization((0.0,), (0.0,)), "std must be positive"),
        (lambda: Normalization((float("inf"),), (1.0,)), "mean must be finite"),
        (lambda: Normalization((0.0,), (float("nan"),)), "std must be positive"),
        (lambda: Quantization(0.0, 0), "scale must be positive"),
        (lambda: Quantization(float("inf"), 0), "scale must be positive"),
        (lambda: Quantization(1.0, 2**31), "zero_point must fit 32 bits"),
        (lambda: InputSpec("x", (1, 8, 8, 4), "uint8"), "a RGB input must have 3 channel"),
        (lambda: InputSpec("x", (1, 8, 8, 3), "uint8", color="GRAY"), "a GRAY input must have 1 channel"),
        (lambda: InputSpec("x", (1, 8, 8, 3), "uint8", layout="NCHW"), "must have 3 channel"),
        (lambda: InputSpec("x", (1, None, 8, 3), "uint8"), "must have a fixed height and width"),
        (lambda: InputSpec("x", (8, 8, 3), "uint8"), "must have 4 dimensions"),
        (
            lambda: InputSpec("x", (1, 8, 8, 3), "float32", normalization=Normalization((0.0,), (1.0,))),
            "normalization must have 3 value",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(make: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()


# -- what a file may hold ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not valid JSON"),
        ("{", "not valid JSON"),
        (b"\xff\xfe\x00", "not valid JSON"),
        ("[" * 100_000, "not valid JSON"),
        ("[]", "must be a JSON object; received list"),
        ('"text"', "must be a JSON object; received str"),
        ("null", "must be a JSON object; received NoneType"),
        ("{}", "format_version must be a positive integer; received None"),
        ('{"format_version": true}', "format_version must be a positive integer; received True"),
        ('{"format_version": "1"}', "format_version must be a positive integer; received '1'"),
        ('{"format_version": 0}', "format_version must be a positive integer; received 0"),
        ('{"format_version": 1}', "field 'name' is missing"),
    ],
)
def test_text_that_is_no_manifest(text: str | bytes, message: str) -> None:
    with pytest.raises(BundleError, match=message) as caught:
        Manifest.from_json(text, origin="the origin")
    assert str(caught.value).startswith("the origin")


def test_newer_format_says_what_to_do() -> None:
    with pytest.raises(NewerFormatError) as caught:
        read({"format_version": 2, "anything": "else"})
    assert str(caught.value) == (
        "test has format version 2; this runtime reads up to 1: pip install --upgrade edgecv-runtime"
    )


def edited(path: tuple[Any, ...], value: Any) -> dict[str, Any]:
    data = json.loads(FULL.to_json())
    place: Any = data
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return data


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("format",), "caffe", "format must be one of tflite, onnx, openvino; received 'caffe'"),
        (("precision",), "int4", "precision must be one of"),
        (("inputs",), [], "at least one input and one output"),
        (("inputs", 0, "shape"), [1, 3, -1, 160], "shape must hold positive integers or null; received -1"),
        (("inputs", 0, "shape"), [1, 3, True, 160], "shape must hold positive integers or null; received True"),
        (("inputs", 0, "shape"), [1, 3, 10**30, 160], "shape must hold positive integers"),
        (("inputs", 0, "dtype"), "complex128", "dtype must be one of .*received 'complex128'"),
        (("outputs", 0, "dtype"), "float", "dtype must be one of .*received 'float'"),
        (("outputs", 0, "quantization", "scale"), "0.1", "scale must be a number; received '0.1'"),
        (("outputs", 0, "quantization", "scale"), float("nan"), "scale must be positive"),
        (("outputs", 0, "quantization", "scale"), 10**400, "manifest is not valid"),
        (("outputs", 0, "quantization", "zero_point"), 0.5, "zero_point must be of type int; received 0.5"),
        (("outputs", 0, "quantization", "zero_point"), 10**400, "zero_point must fit 32 bits"),
        (("inputs", 0, "normalization"), None, "an object holding 'mean' was required"),
        (("inputs", 0, "normalization", "std"), [1, 2, "3"], "std must be a number"),
        (("inputs", 0, "resize", "colour"), 1, "colour"),
        (("labels",), ["a", 1], "labels must be a list of strings"),
        (("labels",), "abc", "labels must be of type list; received 'abc'"),
        (("labels",), ["\ud800"], "not valid JSON"),
        (("members",), {"model.tflite": 3}, "members must map names to strings"),
        (("architecture",), {}, "field 'name' is missing"),
        (("architecture", "options"), [], "options must be of type dict"),
        (("decoder",), None, "an object holding 'name' was required; received NoneType"),
    ],
)
def test_wrong_fields_are_named(path: tuple[Any, ...], value: Any, message: str) -> None:
    with pytest.raises(BundleError, match=message) as caught:
        read(edited(path, value))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


JUNK: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**31, 10**400, 0.0, -0.5, 1e308, float("nan"), float("inf"), "", "x",
    "\u0000", "\ud83d", "in-graph",
    "a" * 500, [], [None], [1, 2, 3], ["a"], [[]], {}, {"name": 3}, {"mean": [1], "std": [0]},
)  # fmt: skip


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    keys: Any = value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    found = [path] if path else []
    for key in keys:
        found += places(value[key], (*path, key))
    return found


def test_each_field_replaced_by_each_kind_of_junk_or_removed_gives_an_edgecv_error_or_a_manifest() -> None:
    original = json.loads(FULL.to_json())
    accepted = 0
    for path in places(original):
        for value in (..., *JUNK):
            data = copy.deepcopy(original)
            place: Any = data
            for key in path[:-1]:
                place = place[key]
            if value is ...:
                del place[path[-1]]
            else:
                place[path[-1]] = value
            try:
                manifest = read(data)
            except EdgecvError as error:
                assert "\n" not in str(error)
            else:
                accepted += 1
                assert Manifest.from_json(manifest.to_json(), origin="again").fingerprint() == manifest.fingerprint()
    assert accepted > 50  # names, labels, options and so on are free


def test_random_bytes_in_the_text_give_an_edgecv_error_or_a_manifest() -> None:
    text = FULL.to_json().encode()
    generator = random.Random(7)
    for _ in range(2000):
        changed = bytearray(text)
        for _ in range(generator.choice((1, 1, 2, 8))):
            changed[generator.randrange(len(changed))] = generator.randrange(256)
        try:
            Manifest.from_json(bytes(changed), origin="test")
        except EdgecvError as error:
            assert "\n" not in str(error)


@pytest.mark.parametrize("release", [1, 2**53])
def test_release(tiny: Any, release: int) -> None:
    """An optional field: what does not know it reads the rest, and what has none writes none."""
    manifest = tiny.manifest("onnx", release=release)
    document = json.loads(manifest.to_json())
    assert document["release"] == release and document["format_version"] == 1
    assert Manifest.from_json(manifest.to_json(), origin="it") == manifest
    assert "release" not in json.loads(tiny.manifest("onnx").to_json())
    assert (
        manifest.embedded() == tiny.manifest("onnx") and manifest.fingerprint() == tiny.manifest("onnx").fingerprint()
    )


@pytest.mark.parametrize("release", [0, -1, 2**53 + 1, 1.0, True, "1", [1]])
def test_releases_that_are_none(tiny: Any, release: Any) -> None:
    document = {**json.loads(tiny.manifest("onnx").to_json()), "release": release}
    with pytest.raises(BundleError, match="release must be"):
        Manifest.from_json(json.dumps(document), origin="it")
