"""One known model in three formats, made by hand without the exporters, and bundles around it.

The model takes (1, 6, 8, 3) uint8 RGB pixels and gives two outputs: ``scores`` (1, 4), a dense layer over all
pixels, and ``total`` (1, 1), their sum. Weights are small integers, so every float32 sum is exact in any order of
summation, and `TinyModel.scores` computes the same numbers in int64.
"""

from __future__ import annotations

import functools
import importlib.util
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from edgecv_runtime.artefact import METADATA_KEY, Artefact
from edgecv_runtime.bundle import write_bundle
from edgecv_runtime.manifest import DecoderSpec, InputSpec, Manifest, Resize, TensorSpec
from edgecv_runtime.parity import Golden

HEIGHT, WIDTH, CLASSES = 6, 8, 4
PIXELS = HEIGHT * WIDTH * 3
LABELS = ("ant", "bee", "cat", "dog")
BACKENDS = {"tflite": "litert", "onnx": "onnxruntime", "openvino": "openvino"}


@dataclass(frozen=True)
class TinyModel:
    """The reference: what every back end must answer."""

    weights: np.ndarray  # (PIXELS, CLASSES) int64
    bias: np.ndarray  # (CLASSES,) int64
    size: tuple[int, int] = (HEIGHT, WIDTH)
    labels: tuple[str, ...] = LABELS

    def scores(self, image: np.ndarray) -> np.ndarray:
        """(CLASSES,) for one (6, 8, 3) uint8 image."""
        return (image.reshape(-1).astype(np.int64) @ self.weights + self.bias).astype(np.float32)

    def total(self, image: np.ndarray) -> np.ndarray:
        return np.array([image.astype(np.int64).sum()], np.float32)


def reference() -> TinyModel:
    generator = np.random.default_rng(2024)
    return TinyModel(generator.integers(-3, 4, (PIXELS, CLASSES)), generator.integers(-50, 50, CLASSES))


# -- the three formats ---------------------------------------------------------------------------------------------


def tiny_onnx(metadata: str | None = None, *, batch: int | str = 1, quantized: bool = False) -> bytes:
    """With `quantized`, ``scores`` is uint8 with scale 64 and zero point 128 (a power of two: exact)."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    model = reference()
    constants = {
        "weights": model.weights.astype(np.float32),
        "bias": model.bias.astype(np.float32),
        "ones": np.ones((PIXELS, 1), np.float32),
        "flat": np.array([0, -1] if batch != 1 else [1, PIXELS], np.int64),
        "scale": np.array(64, np.float32),
        "zero": np.array(128, np.uint8),
    }
    plain = "dense" if quantized else "scores"
    nodes = [
        helper.make_node("Cast", ["image"], ["real"], to=TensorProto.FLOAT),
        helper.make_node("Reshape", ["real", "flat"], ["vector"]),
        helper.make_node("MatMul", ["vector", "weights"], ["product"]),
        helper.make_node("Add", ["product", "bias"], [plain]),
        helper.make_node("MatMul", ["vector", "ones"], ["total"]),
    ]
    if quantized:
        nodes.append(helper.make_node("QuantizeLinear", ["dense", "scale", "zero"], ["scores"]))
    kind = TensorProto.UINT8 if quantized else TensorProto.FLOAT
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, [batch, HEIGHT, WIDTH, 3])],
        [
            helper.make_tensor_value_info("scores", kind, [batch, CLASSES]),
            helper.make_tensor_value_info("total", TensorProto.FLOAT, [batch, 1]),
        ],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(proto, {"author": "nobody"} | ({} if metadata is None else {METADATA_KEY: metadata}))
    onnx.checker.check_model(proto)
    return proto.SerializeToString()


def tiny_openvino(folder: Path, metadata: str | None = None) -> tuple[bytes, bytes]:
    """(xml, bin)"""
    import openvino
    from openvino import opset13 as ops

    model = reference()
    image = ops.parameter([1, HEIGHT, WIDTH, 3], np.uint8, name="image")
    vector = ops.reshape(ops.convert(image, "f32"), np.array([1, PIXELS]), special_zero=False)
    scores = ops.add(
        ops.matmul(vector, model.weights.astype(np.float32), False, False), model.bias.astype(np.float32)[None]
    )
    total = ops.matmul(vector, np.ones((PIXELS, 1), np.float32), False, False)
    image.output(0).set_names({"image"})
    scores.output(0).set_names({"scores"})
    total.output(0).set_names({"total"})
    graph = openvino.Model([ops.result(scores), ops.result(total)], [image], "tiny")
    if metadata is not None:
        graph.set_rt_info(metadata, METADATA_KEY)
    path = folder / "tiny.xml"
    openvino.save_model(graph, path, compress_to_fp16=False)
    return path.read_bytes(), path.with_suffix(".bin").read_bytes()


def tiny_tflite(metadata: str | None = None) -> bytes:
    """Through the schema's object interface: no converter, and the tensors keep their names."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model = reference()
    buffers = [schema.BufferT()]

    def buffer(content: bytes) -> int:
        entry = schema.BufferT()
        entry.data = np.frombuffer(content, np.uint8)
        buffers.append(entry)
        return len(buffers) - 1

    tensors: list[Any] = []

    def tensor(name: str, shape: list[int], kind: int, data: np.ndarray | None = None) -> int:
        entry = schema.TensorT()
        entry.name, entry.shape, entry.type = name.encode(), np.array(shape, np.int32), kind
        entry.buffer = 0 if data is None else buffer(data.tobytes())
        tensors.append(entry)
        return len(tensors) - 1

    codes: list[Any] = []

    def operator(code: int, inputs: list[int], outputs: list[int], kind: int = 0, options: Any = None) -> Any:
        entry = schema.OperatorCodeT()
        entry.builtinCode = entry.deprecatedBuiltinCode = code
        entry.version = 1
        codes.append(entry)
        node = schema.OperatorT()
        node.opcodeIndex = len(codes) - 1
        node.inputs, node.outputs = np.array(inputs, np.int32), np.array(outputs, np.int32)
        node.builtinOptionsType, node.builtinOptions = kind, options
        return node

    kinds, ops, options = schema.TensorType, schema.BuiltinOperator, schema.BuiltinOptions
    image = tensor("image", [1, HEIGHT, WIDTH, 3], kinds.UINT8)
    real = tensor("real", [1, HEIGHT, WIDTH, 3], kinds.FLOAT32)
    shape = tensor("shape", [2], kinds.INT32, np.array([1, PIXELS], np.int32))
    vector = tensor("vector", [1, PIXELS], kinds.FLOAT32)
    weights = tensor("weights", [CLASSES, PIXELS], kinds.FLOAT32, model.weights.T.astype(np.float32))
    bias = tensor("bias", [CLASSES], kinds.FLOAT32, model.bias.astype(np.float32))
    ones = tensor("ones", [1, PIXELS], kinds.FLOAT32, np.ones((1, PIXELS), np.float32))
    scores = tensor("scores", [1, CLASSES], kinds.FLOAT32)
    total = tensor("total", [1, 1], kinds.FLOAT32)
    reshape = schema.ReshapeOptionsT()
    reshape.newShape = np.array([1, PIXELS], np.int32)
    dense = options.FullyConnectedOptions

    graph = schema.SubGraphT()
    graph.tensors = tensors
    graph.inputs, graph.outputs = np.array([image], np.int32), np.array([scores, total], np.int32)
    graph.operators = [
        operator(ops.CAST, [image], [real], options.CastOptions, schema.CastOptionsT()),
        operator(ops.RESHAPE, [real, shape], [vector], options.ReshapeOptions, reshape),
        operator(ops.FULLY_CONNECTED, [vector, weights, bias], [scores], dense, schema.FullyConnectedOptionsT()),
        operator(ops.FULLY_CONNECTED, [vector, ones, -1], [total], dense, schema.FullyConnectedOptionsT()),
    ]
    root = schema.ModelT()
    root.version, root.description = 3, b"tiny"
    root.operatorCodes, root.subgraphs = codes, [graph]
    root.metadata = []
    for name, content in (("min_runtime_version", "1.5.0"), (METADATA_KEY, metadata)):
        if content is not None:
            entry = schema.MetadataT()
            entry.name, entry.buffer = name.encode(), buffer(content.encode())
            root.metadata.append(entry)
    root.buffers = buffers
    builder = flatbuffers.Builder(4096)
    builder.Finish(root.Pack(builder), b"TFL3")
    return bytes(builder.Output())


# -- bundles -------------------------------------------------------------------------------------------------------


def make_manifest(format: str, **changes: Any) -> Manifest:
    manifest = Manifest(
        name="tiny",
        task="classification",
        architecture={"name": "tiny", "options": {"alpha": 1.0}},
        format=format,
        precision="fp32",
        inputs=(InputSpec("image", (1, HEIGHT, WIDTH, 3), "uint8", resize=Resize("crop")),),
        outputs=(TensorSpec("scores", (1, CLASSES), "float32"),),
        decoder=DecoderSpec("classification", {"activation": "none"}),
        labels=LABELS,
        made_with={"edgecv": "0.1.0"},
    )
    return replace(manifest, **changes)


def make_image(seed: int = 0, size: tuple[int, int] = (HEIGHT, WIDTH)) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)


def enlarge(image: np.ndarray, margin: int = 4) -> np.ndarray:
    """Twice the size, with black margins left and right: a centre crop to the input gives `image` back exactly."""
    return np.pad(image.repeat(2, axis=0).repeat(2, axis=1), ((0, 0), (margin, margin), (0, 0)))


def softmax(scores: np.ndarray) -> np.ndarray:
    exponentials = np.exp(scores.astype(np.float64) - scores.max())
    return (exponentials / exponentials.sum()).astype(np.float32)


class Tiny:
    """Makes artefacts and bundles of the tiny model; artefacts are cached."""

    reference = reference()
    height, width, classes, labels = HEIGHT, WIDTH, CLASSES, LABELS
    image = staticmethod(make_image)
    manifest = staticmethod(make_manifest)
    softmax = staticmethod(softmax)
    enlarge = staticmethod(enlarge)
    onnx = staticmethod(tiny_onnx)
    tflite = staticmethod(tiny_tflite)
    formats = tuple(BACKENDS)

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def openvino(self, metadata: str | None = None) -> tuple[bytes, bytes]:
        return tiny_openvino(self.folder, metadata)

    @functools.cache  # noqa: B019  # one instance per session
    def artefact(self, format: str, metadata: str | None = None) -> Artefact:
        if format == "tflite":
            return Artefact("tflite", tiny_tflite(metadata))
        if format == "onnx":
            return Artefact("onnx", tiny_onnx(metadata))
        return Artefact("openvino", *self.openvino(metadata))

    def golden(self, manifest: Manifest, tolerance: float = 1e-5, count: int = 3) -> Golden:
        """Pictures that only the manifest's own road leads to the known answer.

        Each pixel of the input is four of the picture (halving it is then exact), and the margins left and right
        are what the centre crop takes away.
        """
        small = [make_image(seed) for seed in range(count)]
        rows = [reference().scores(image) for image in small]
        if manifest.decoder.parameters.get("activation") == "softmax":
            rows = [softmax(row) for row in rows]
        pictures = tuple(enlarge(image) for image in small)
        return Golden(pictures, (np.stack(rows),), np.full((1, 2), tolerance), "generated")

    def write(
        self,
        path: Path,
        format: str = "onnx",
        *,
        artefact: Artefact | None = None,
        golden: Golden | None = None,
        extra: dict[str, bytes] | None = None,
        embed: bool = True,
        **changes: Any,
    ) -> Path:
        """A valid bundle: manifest inside and outside, golden contract, report."""
        manifest = make_manifest(format, **changes)
        if artefact is None:
            artefact = self.artefact(format, manifest.to_json() if embed else None)
        golden = golden or self.golden(manifest)
        members = artefact.members() | {
            "golden.npz": golden.to_bytes(),
            "report.json": json.dumps({"parameters": 580, "macs": 576}).encode(),
        }
        write_bundle(path, manifest, members | (extra or {}))
        return path


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    return Tiny(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session", params=list(BACKENDS))
def any_bundle(request: pytest.FixtureRequest, tiny: Tiny) -> Path:
    """A good bundle, in each format in turn. Read only."""
    return tiny.write(tiny.folder / f"{request.param}.edgecv", request.param)


@pytest.fixture(scope="session")
def bundle(tiny: Tiny) -> Path:
    """A good ONNX bundle. Read only."""
    return tiny.write(tiny.folder / "good.edgecv")


@pytest.fixture
def block_import(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Make a package look as if it were not installed."""

    def block(package: str) -> None:
        class Blocker:
            @staticmethod
            def find_spec(name: str, path: object = None, target: object = None) -> None:
                if name.partition(".")[0] == package:
                    raise ModuleNotFoundError(f"No module named {name!r}", name=name)

        for name in [name for name in sys.modules if name.partition(".")[0] == package]:
            monkeypatch.delitem(sys.modules, name)
        monkeypatch.setattr(sys, "meta_path", [Blocker(), *sys.meta_path])
        find_spec = importlib.util.find_spec
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == package else find_spec(name))

    return block


@pytest.fixture
def one_line() -> Callable[[pytest.ExceptionInfo[Any]], str]:
    """The message of an error, which must be a single line."""

    def check(caught: pytest.ExceptionInfo[Any]) -> str:
        message = str(caught.value)
        assert message and message == " ".join(message.split()), message
        return message

    return check


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What `verify` remembers stays within one test. Returns the cache folder, which is not there yet."""
    folder = tmp_path_factory.mktemp("cache") / "edgecv"
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder.parent))
    monkeypatch.delenv("EDGECV_CACHE", raising=False)
    return folder


@pytest.fixture
def saturating(monkeypatch: pytest.MonkeyPatch) -> type[Any]:
    """A back end ``"saturating"`` for ONNX whose fast kernels cut sums off at 400, as a CPU would that saturates.

    Its class attribute `wrong` names the kernel sets that do so.
    """
    from edgecv_runtime.backends import registry
    from edgecv_runtime.backends.onnxruntime import ONNXRuntimeBackend

    class Saturating(ONNXRuntimeBackend):
        name = "saturating"
        wrong: tuple[str, ...] = ("fast",)
        preferred = "fast"

        @classmethod
        def auto_kernels(cls, manifest: Manifest | None) -> str:
            return cls.preferred

        def infer(self, inputs: Any) -> list[np.ndarray]:
            outputs = super().infer(inputs)
            return [np.minimum(output, 400) for output in outputs] if self.kernels in self.wrong else outputs

    points = {**registry._entry_points(), "saturating": SimpleNamespace(load=lambda: Saturating)}
    monkeypatch.setattr(registry, "_entry_points", lambda: points)
    return Saturating


@pytest.fixture
def x86_without_vnni(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr("edgecv_runtime.cpu.saturates_int8", lambda: True)
    yield


def constant_onnx(values: np.ndarray, metadata: str, kind: str) -> bytes:
    """Takes (1, 6, 8, 3) uint8 and answers `values` whatever it sees: what a decoder makes of them is known."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    dtype = getattr(TensorProto, kind)
    nodes = [
        helper.make_node("Cast", ["image"], ["real"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["real"], ["mean"], axes=[0, 1, 2, 3], keepdims=0),
        helper.make_node("Mul", ["mean", "nothing"], ["zero"]),
        helper.make_node("Add", ["values", "zero"], ["sum"]),
        helper.make_node("Cast", ["sum"], ["answer"], to=dtype),
    ]
    graph = helper.make_graph(
        nodes,
        "constant",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, [1, HEIGHT, WIDTH, 3])],
        [helper.make_tensor_value_info("answer", dtype, list(values.shape))],
        [
            numpy_helper.from_array(values.astype(np.float32), "values"),
            numpy_helper.from_array(np.array(0, np.float32), "nothing"),
        ],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    helper.set_model_props(proto, {METADATA_KEY: metadata})
    onnx.checker.check_model(proto)
    return proto.SerializeToString()


@pytest.fixture(scope="session")
def object_bundle(tiny: Tiny) -> Callable[..., Path]:
    """``object_bundle("yolov5", rows, labels=(...), score_threshold=0.3)``: a bundle that always answers those rows.

    Its input is 6 high and 8 wide, stretched.
    """

    def make(decoder: str, values: np.ndarray, *, labels: Any = None, kind: str = "float32", **parameters: Any) -> Path:
        task = {"segmentation": "segmentation", "embedding": "embedding"}.get(decoder, "detection")
        manifest = make_manifest(
            "onnx",
            task=task,
            inputs=(InputSpec("image", (1, HEIGHT, WIDTH, 3), "uint8"),),
            outputs=(TensorSpec("answer", values.shape, kind),),
            decoder=DecoderSpec(decoder, parameters),
            labels=labels,
        )
        content = constant_onnx(values, manifest.to_json(), {"float32": "FLOAT", "int64": "INT64"}[kind])
        artefact = Artefact("onnx", content)
        golden = Golden((make_image(0),), (values.astype(np.float32),), np.full((1, 2), 1e-5), "generated")
        digest = abs(hash((decoder, values.tobytes(), labels, repr(parameters))))
        path = tiny.folder / f"{decoder}_{digest}.edgecv"
        write_bundle(path, manifest, artefact.members() | {"golden.npz": golden.to_bytes()})
        return path

    return make
