"""Detectors and embedders whose answers are known: a detector that always sees the same boxes or landmarks, and an
embedder whose vector is the mean colour of what it is shown."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgecv_runtime.artefact import METADATA_KEY, Artefact
from edgecv_runtime.bundle import write_bundle
from edgecv_runtime.golden import Golden
from edgecv_runtime.manifest import DecoderSpec, InputSpec, Manifest, Normalization, Resize, TensorSpec
from edgecv_runtime.model import Model

SIDE = 64  # of the detectors' and the embedder's input
PIXEL = InputSpec("image", (1, SIDE, SIDE, 3), "uint8")


def _manifest(name: str, task: str, outputs: tuple[TensorSpec, ...], decoder: DecoderSpec, labels: Any) -> Manifest:
    return Manifest(
        name=name,
        task=task,
        architecture={"name": "made by hand"},
        format="onnx",
        precision="fp32",
        inputs=(PIXEL,),
        outputs=outputs,
        decoder=decoder,
        labels=labels,
    )


def _write(path: Path, manifest: Manifest, nodes: list[Any], constants: dict[str, np.ndarray]) -> Path:
    graph = helper.make_graph(
        nodes,
        "made by hand",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, [1, SIDE, SIDE, 3])],
        [
            helper.make_tensor_value_info(spec.name, TensorProto.FLOAT, [size or 1 for size in spec.shape])
            for spec in manifest.outputs
        ],
        [numpy_helper.from_array(value.astype(np.float32), name) for name, value in constants.items()],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    helper.set_model_props(proto, {METADATA_KEY: manifest.to_json()})
    onnx.checker.check_model(proto)
    artefact = Artefact("onnx", proto.SerializeToString())
    answers = tuple(np.zeros([size or 1 for size in spec.shape], np.float32) for spec in manifest.outputs)
    golden = Golden((np.zeros((SIDE, SIDE, 3), np.uint8),), answers, np.full((len(answers), 2), 1e-5), "generated")
    write_bundle(path, manifest, artefact.members() | {"golden.npz": golden.to_bytes()})
    return path


_MEAN = [
    helper.make_node("Cast", ["image"], ["real"], to=TensorProto.FLOAT),
    helper.make_node("ReduceMean", ["real"], ["mean"], axes=[1, 2], keepdims=0),
]


@pytest.fixture(scope="session")
def embedder_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """(mean red, mean green, mean blue), which the decoder brings to length one."""
    manifest = _manifest(
        "colour", "embedding", (TensorSpec("mean", (1, 3), "float32"),), DecoderSpec("embedding"), None
    )
    return _write(tmp_path_factory.mktemp("embedder") / "colour.edgecv", manifest, _MEAN, {})


@pytest.fixture
def detector_bundle(tmp_path: Path) -> Callable[..., Path]:
    """``detector_bundle([(x1, y1, x2, y2, score), …])``, in fractions of the picture: an UltraFace that always sees
    those."""

    def make(boxes: list[tuple[float, ...]], labels: tuple[str, ...] | None = ("face",)) -> Path:
        count = len(boxes)
        rows = np.array(boxes, np.float32).reshape(1, count, 5)
        scores = np.stack([1 - rows[:, :, 4], rows[:, :, 4]], axis=2)
        roles = {"boxes": "boxes", "scores": "scores"}
        manifest = _manifest(
            "boxes",
            "detection",
            (TensorSpec("boxes", (1, count, 4), "float32"), TensorSpec("scores", (1, count, 2), "float32")),
            DecoderSpec("ultraface", {"outputs": roles, "score_threshold": 0.1}),
            labels,
        )
        nodes = [
            *_MEAN,
            helper.make_node("ReduceMean", ["mean"], ["grey"], axes=[0, 1], keepdims=0),
            helper.make_node("Mul", ["grey", "nothing"], ["zero"]),
            helper.make_node("Add", ["b", "zero"], ["boxes"]),
            helper.make_node("Add", ["s", "zero"], ["scores"]),
        ]
        constants = {"b": rows[:, :, :4], "s": scores, "nothing": np.array(0)}
        return _write(tmp_path / "boxes.edgecv", manifest, nodes, constants)

    return make


@pytest.fixture(scope="session")
def texture() -> Callable[..., np.ndarray]:
    """A picture of one tint with enough detail to pass for sharp: noise of ±40 around the colour."""

    def make(colour: tuple[int, int, int], size: tuple[int, int] = (300, 300), seed: int = 0) -> np.ndarray:
        noise = np.random.default_rng(seed).integers(-40, 41, (size[0] // 4, size[1] // 4, 1))
        noise = noise.repeat(4, axis=0).repeat(4, axis=1)
        return np.clip(np.array(colour) + noise, 0, 255).astype(np.uint8)

    return make


# -- the real ones -------------------------------------------------------------------------------------------------


def _real(path: Path, decoder: str, outputs: dict[str, str] | None, color: Normalization, **more: Any) -> Model:
    """A model file as ``edgecv wrap`` would wrap it, without the workstation's packages."""
    from edgecv_runtime.backends import open_backend

    artefact = Artefact.from_file(path)
    with open_backend(artefact) as backend:
        found, answers = backend.inputs[0], backend.outputs
    layout = "NCHW" if found.shape[1] == 3 else "NHWC"
    resize = more.pop("resize", Resize())
    manifest = Manifest(
        name=path.stem,
        task="embedding" if decoder == "embedding" else "detection",
        architecture={"name": "foreign"},
        format=artefact.format,
        precision="fp32",
        inputs=(InputSpec(found.name, found.shape, found.dtype, None, layout, "RGB", resize, color),),
        outputs=answers,
        decoder=DecoderSpec(decoder, {**({} if outputs is None else {"outputs": outputs}), **more}),
        labels=None if decoder == "embedding" else ("face",),
    )
    return Model(artefact, manifest)


@pytest.fixture(scope="session")
def mobilefacenet(data_dir: Path) -> Iterator[Model]:
    """Its first two nodes are (pixel - 127.5) / 128."""
    plain = Normalization((0.0,) * 3, (1.0,) * 3)
    with _real(data_dir / "models" / "face" / "mobilefacenet_y1.onnx", "embedding", None, plain) as model:
        yield model


@pytest.fixture(scope="session")
def blazeface(data_dir: Path) -> Iterator[Model]:
    with _real(
        data_dir / "models" / "face" / "blazeface_back.tflite",
        "blazeface",
        {"boxes": "regressors", "scores": "classificators"},
        Normalization((127.5,) * 3, (127.5,) * 3),
        resize=Resize("letterbox", pad_value=0),
        strides=[16, 32, 32, 32],
    ) as model:
        yield model


@pytest.fixture(scope="session")
def ultraface(data_dir: Path) -> Iterator[Model]:
    with _real(
        data_dir / "models" / "face" / "ultraface_rfb_320.onnx",
        "ultraface",
        {"boxes": "boxes", "scores": "scores"},
        Normalization((127.0,) * 3, (128.0,) * 3),
    ) as model:
        yield model


@pytest.fixture
def save() -> Callable[[Path, np.ndarray], Path]:
    """Write an RGB picture."""

    def write(path: Path, image: np.ndarray) -> Path:
        assert cv2.imwrite(str(path), np.ascontiguousarray(image[..., ::-1]))
        return path

    return write
