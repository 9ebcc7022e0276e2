"""The manifest inside the artefact: written here, read by the runtime."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from edgecv_export.metadata import embed
from edgecv_runtime.artefact import Artefact, read_metadata
from edgecv_runtime.manifest import Manifest
from edgecv_runtime.model import Model

FORMATS = ("tflite", "onnx", "openvino")

LABELS = (
    "plain",
    "Grüße, 猫 und 🐈",
    'say "cheese"',
    "it's",
    "<b>&amp;</b> & co",
    "two\nlines\r\nand a\ttab",
    "back\\slash",
    "]]> <!-- -->",
    "  spaces  ",
    "",
)


@pytest.fixture(params=FORMATS)
def bundle(request: pytest.FixtureRequest, made: Callable[..., Any]) -> Any:
    return made("lenet", request.param, "fp32").bundle


def scores(artefact: Artefact, manifest: Manifest) -> np.ndarray:
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    with Model(artefact, manifest) as model:
        return model.outputs(image)[0]


def test_what_is_embedded_is_read_back(bundle: Any) -> None:
    manifest = replace(bundle.manifest, labels=LABELS, name='<näme "& co">')
    artefact = embed(bundle.artefact(), manifest)
    assert artefact.manifest() == manifest.embedded()
    assert artefact.manifest().labels == LABELS


def test_the_artefact_runs_and_answers_the_same(bundle: Any) -> None:
    before = scores(bundle.artefact(), bundle.manifest)
    manifest = replace(bundle.manifest, labels=LABELS)
    np.testing.assert_array_equal(scores(embed(bundle.artefact(), manifest), manifest), before)


def test_embedding_twice_replaces(bundle: Any) -> None:
    labels = tuple("abcdefghij")
    once = embed(bundle.artefact(), replace(bundle.manifest, labels=labels))
    twice = embed(embed(once, replace(bundle.manifest, labels=LABELS)), replace(bundle.manifest, labels=labels))
    assert twice.manifest().labels == labels
    assert twice.model.count(b'"format_version"') + twice.model.count(b"&quot;format_version&quot;") == 1
    assert abs(twice.size - once.size) < 64  # nothing of the old ones is carried along


def test_embedding_the_same_again_changes_nothing(bundle: Any) -> None:
    once = embed(bundle.artefact(), bundle.manifest)
    assert embed(once, bundle.manifest).model == once.model


def test_members_are_not_embedded(bundle: Any) -> None:
    assert bundle.manifest.members
    assert bundle.artefact().manifest().members == {}


def test_an_artefact_without_metadata_says_none(bundle: Any) -> None:
    assert read_metadata(bare(bundle.artefact())) is None


def test_the_weights_are_not_touched(bundle: Any) -> None:
    artefact = bundle.artefact()
    assert embed(artefact, bundle.manifest).weights == artefact.weights


def test_foreign_metadata_stays(made: Callable[..., Any]) -> None:
    import onnx
    from tensorflow.lite.tools import flatbuffer_utils

    for format in FORMATS:
        bundle = made("lenet", format, "fp32").bundle
        artefact = bundle.artefact()
        if format == "onnx":
            model = onnx.load_from_string(artefact.model)
            model.metadata_props.add(key="author", value="somebody")
            kept = embed(Artefact(format, model.SerializeToString()), bundle.manifest).model
            assert {entry.key for entry in onnx.load_from_string(kept).metadata_props} == {"author", "edgecv"}
        elif format == "tflite":
            names = [
                {entry.name for entry in flatbuffer_utils.convert_bytearray_to_object(bytearray(content)).metadata}
                for content in (artefact.model, bare(artefact).model, embed(bare(artefact), bundle.manifest).model)
            ]
            assert names[0] == names[1] | {b"edgecv"} == names[2]
            assert b"min_runtime_version" in names[2]
        else:
            theirs = b'<rt_info>\n\t\t<author value="somebody" />'
            model = artefact.model.replace(b"<rt_info>", theirs, 1) if b"</rt_info>" in artefact.model else b""
            kept = embed(Artefact(format, model, artefact.weights), bundle.manifest)
            assert theirs in kept.model
            assert kept.manifest() == bundle.manifest.embedded()


def test_openvino_itself_reads_the_same(made: Callable[..., Any]) -> None:
    import openvino

    bundle = made("lenet", "openvino", "fp32").bundle
    manifest = replace(bundle.manifest, labels=LABELS)
    artefact = embed(bundle.artefact(), manifest)
    model = openvino.Core().read_model(model=artefact.model, weights=artefact.weights)
    assert Manifest.from_json(model.get_rt_info(["edgecv"]).value, origin="rt_info") == manifest.embedded()


def test_onnx_itself_reads_the_same(made: Callable[..., Any]) -> None:
    import onnxruntime

    bundle = made("lenet", "onnx", "fp32").bundle
    manifest = replace(bundle.manifest, labels=LABELS)
    session = onnxruntime.InferenceSession(embed(bundle.artefact(), manifest).model)
    text = session.get_modelmeta().custom_metadata_map["edgecv"]
    assert Manifest.from_json(text, origin="metadata_props") == manifest.embedded()


def bare(artefact: Artefact) -> Artefact:
    """The artefact as another exporter would have left it."""
    import re

    import onnx
    from tensorflow.lite.tools import flatbuffer_utils

    if artefact.format == "onnx":
        model = onnx.load_from_string(artefact.model)
        del model.metadata_props[:]
        return Artefact("onnx", model.SerializeToString())
    if artefact.format == "openvino":
        return Artefact("openvino", re.sub(rb'\s*<edgecv value="[^"]*"\s*/>', b"", artefact.model), artefact.weights)
    model = flatbuffer_utils.convert_bytearray_to_object(bytearray(artefact.model))
    model.metadata = [entry for entry in model.metadata if entry.name != b"edgecv"]
    return Artefact("tflite", bytes(flatbuffer_utils.convert_object_to_bytearray(model)))
