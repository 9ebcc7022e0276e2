"""A bundle of a few kilobytes for the mock back end: whole, proven and quick to load, without any inference library."""

from __future__ import annotations

import json

import numpy as np

from edgecv_runtime.artefact import METADATA_KEY, Artefact
from edgecv_runtime.bundle import pack, write_bundle
from edgecv_runtime.golden import Golden
from edgecv_runtime.manifest import DecoderSpec, InputSpec, Manifest, Quantization, Resize, TensorSpec
from edgecv_runtime.model import Model

__all__ = ["make", "manifest", "model_file", "pack", "write_bundle"]


def manifest(release: int | None = None) -> Manifest:
    return Manifest(
        name="tiny",
        task="classification",
        architecture={"name": "tiny", "options": {"alpha": 1.0}},
        format="onnx",
        precision="fp32",
        inputs=(InputSpec("image", (1, 6, 8, 3), "uint8", Quantization(0.5, 3), resize=Resize("crop", 0.875)),),
        outputs=(TensorSpec("scores", (1, 4), "float32"),),
        decoder=DecoderSpec("classification", {"activation": "none"}),
        labels=("ant", "bee", "cat", "dog"),
        made_with={"edgecv": "0.1.0", "cpu": "none"},
        release=release,
    )


def model_file(metadata: str, ballast: bytes = b"") -> bytes:
    """An ONNX file of two entries of metadata and no graph: the mock back end wants no more."""
    entries = {METADATA_KEY: metadata.encode(), "ballast": ballast}
    return b"".join(_field(14, _field(1, key.encode()) + _field(2, value)) for key, value in entries.items())


def _field(number: int, content: bytes) -> bytes:
    """A length-delimited field of protobuf."""
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    groups = []
    while value > 0x7F:
        groups.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*groups, value])


def make(release: int | None = None, *, broken: bool = False, ballast: int = 0) -> dict[str, bytes]:
    """The members of a bundle, without the manifest, for `write_bundle`.

    Parameters
    ----------
    release : int or None
        Seeds the ballast, so that each release has another model file.
    broken : bool
        Its parity contract promises what the model does not answer.
    ballast : int
        Bytes without a meaning in the model file.
    """
    about = manifest(release)
    noise = np.random.default_rng(release or 0).bytes(ballast)
    artefact = Artefact("onnx", model_file(about.embedded().to_json(), noise))
    images = tuple(np.random.default_rng(seed).integers(0, 256, (8, 10, 3), np.uint8) for seed in range(2))
    with Model(artefact, about, backend="mock") as model:
        answers = np.concatenate([model.raw_outputs(image)[0] for image in images])
    golden = Golden(images, (answers + (1 if broken else 0),), np.full((1, 2), 1e-5), "generated")
    report = json.dumps({"parameters": 580, "macs": 576}).encode()
    return {**artefact.members(), "golden.npz": golden.to_bytes(), "report.json": report}
