"""What a gallery remembers of its embedder: `Bundle.fingerprint` and `Model.fingerprint`."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import edgecv_runtime as ert
from edgecv_runtime.bundle import Bundle
from edgecv_runtime.manifest import DecoderSpec, Resize


def embedder(tiny: Any, path: Path, **changes: Any) -> Path:
    parameters = changes.pop("parameters", {})
    decoder = DecoderSpec("embedding", parameters)
    made: Path = tiny.write(path, task="embedding", decoder=decoder, labels=None, embed=False, **changes)
    return made


def test_it_is_the_digest_of_files_and_preprocessing(tiny: Any, tmp_path: Path) -> None:
    bundle = Bundle(embedder(tiny, tmp_path / "a.edgecv"))
    manifest = bundle.manifest.to_dict()
    described = {key: manifest[key] for key in ("task", "inputs", "outputs", "decoder")}
    files = {"model.onnx": hashlib.sha256(bundle.artefact().model).hexdigest()}
    text = json.dumps({**described, "files": files}, sort_keys=True, separators=(",", ":"))
    assert bundle.fingerprint == hashlib.sha256(text.encode()).hexdigest()


def test_a_model_has_that_of_its_bundle(tiny: Any, tmp_path: Path, any_bundle: Path) -> None:
    for path in (embedder(tiny, tmp_path / "a.edgecv"), any_bundle):
        with ert.load(path) as model:
            assert model.fingerprint == Bundle(path).fingerprint


def test_so_has_the_bare_file(bundle: Path, tmp_path: Path) -> None:
    whole = Bundle(bundle)
    (tmp_path / "model.onnx").write_bytes(whole.artefact().model)
    with ert.load(tmp_path / "model.onnx") as model:
        assert model.fingerprint == whole.fingerprint


def test_names_do_not_count_and_numbers_do(tiny: Any, tmp_path: Path) -> None:
    first = Bundle(embedder(tiny, tmp_path / "a.edgecv")).fingerprint
    renamed = embedder(tiny, tmp_path / "b.edgecv", name="another", made_with={"edgecv": "9"}, extra={"note": b"x"})
    assert Bundle(renamed).fingerprint == first
    resized = tiny.manifest("onnx").inputs[0].__class__("image", (1, 6, 8, 3), "uint8", resize=Resize("letterbox"))
    others = [
        embedder(tiny, tmp_path / "c.edgecv", parameters={"normalize": False}),
        embedder(tiny, tmp_path / "d.edgecv", inputs=(resized,)),
        embedder(tiny, tmp_path / "e.edgecv", artefact=tiny.artefact("onnx", "{}")),
        embedder(tiny, tmp_path / "f.edgecv", format="tflite"),
    ]
    assert len({first, *(Bundle(path).fingerprint for path in others)}) == 5


def test_parameters_that_are_changed_later_count(tiny: Any, tmp_path: Path) -> None:
    with ert.load(embedder(tiny, tmp_path / "a.edgecv")) as model:
        usual = model.fingerprint
        with model.configured(normalize=False):
            assert model.fingerprint != usual
        assert model.fingerprint == usual
