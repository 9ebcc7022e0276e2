"""Fixtures for the exporters: small source models, pictures, and each export made once for all tests."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgecv_runtime.bundle import Bundle

# TensorFlow reads it when it is imported; Keras its own once.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

COMBINATIONS = [
    (format, precision)
    for format in ("tflite", "onnx", "openvino")
    for precision in ("fp32", "fp16", "dynamic", "int8", "int16x8")
    if format == "tflite" or precision != "int16x8"
]


@dataclass(frozen=True, eq=False)
class Made:
    """One export: the bundle, its artefact as bare files, and what it was made from."""

    path: Path
    report: dict[str, Any]
    source: Any

    @cached_property
    def bundle(self) -> Bundle:
        return Bundle(self.path)

    @cached_property
    def bare(self) -> Path:
        """The model file, taken out of the bundle (its weights beside it)."""
        folder = self.path.with_suffix(".files")
        folder.mkdir(exist_ok=True)
        for name, content in self.bundle.artefact().members().items():
            (folder / name).write_bytes(content)
        return next(path for path in sorted(folder.iterdir()) if path.suffix != ".bin")


@pytest.fixture(params=COMBINATIONS, ids="-".join)
def combination(request: pytest.FixtureRequest) -> tuple[str, str]:
    """(format, precision): every one that is not refused."""
    return request.param


@pytest.fixture(scope="session")
def settle() -> Callable[..., None]:
    """Give every batch norm a seeded gamma and beta and the statistics of some inputs: a signal reaches the end."""

    def fill(model: Any, inputs: np.ndarray, seed: int = 0) -> None:
        generator = np.random.default_rng(seed)
        for layer in model.layers:
            if type(layer).__name__ == "BatchNormalization":
                channels = layer.gamma.shape[0]
                layer.gamma.assign(generator.uniform(0.5, 1.5, channels))
                layer.beta.assign(generator.normal(0, 0.3, channels))
                layer.momentum = 0.0
        with warnings.catch_warnings():
            # Keras says this of models made with lists of one input.
            warnings.filterwarnings(
                "ignore", message="[^$]*The structure of `inputs` doesn't match", category=UserWarning
            )
            model(inputs, training=True)

    return fill


@pytest.fixture(scope="session")
def digits() -> tuple[list[np.ndarray], np.ndarray]:
    """60 drawn digits as colour pictures, and what they are."""
    from edgecv.data.digits import draw_digits

    images, labels = draw_digits(60, seed=11)
    return [np.repeat(image[:, :, None], 3, axis=2) for image in images], labels


@pytest.fixture(scope="session")
def calibration() -> list[np.ndarray]:
    """40 other drawn digits."""
    from edgecv.data.digits import draw_digits

    images, _ = draw_digits(40, seed=12)
    return [np.repeat(image[:, :, None], 3, axis=2) for image in images]


@pytest.fixture(scope="session")
def lenet() -> Any:
    from edgecv.models.factory import create_model

    return create_model("lenet5", weights="digits")


@pytest.fixture(scope="session")
def scenes() -> tuple[np.ndarray, ...]:
    """12 generated colour pictures for a 96×96 input."""
    from edgecv_export.calibration import contract_pictures

    return contract_pictures((96, 96), 12)


@pytest.fixture(scope="session")
def mobilenet(settle: Callable[..., None], scenes: tuple[np.ndarray, ...]) -> Any:
    """MobileNetV2 0.35 at 96×96 with ten classes, seeded weights and batch statistics."""
    import keras

    from edgecv.models.factory import create_model
    from edgecv_export.sources import source_of

    keras.utils.set_random_seed(5)
    model = create_model("mobilenet_v2", input_shape=(96, 96, 3), classes=10, alpha=0.35)
    source = source_of(model)
    settle(model, source.normalize(source.pixels(scenes)))
    return model


@pytest.fixture(scope="session")
def made(
    tmp_path_factory: pytest.TempPathFactory,
    lenet: Any,
    calibration: list[np.ndarray],
    request: pytest.FixtureRequest,
) -> Callable[..., Made]:
    """``made("lenet" | "mobilenet", format, precision)``: an export, made at its first use."""
    from edgecv_export.exporter import export
    from edgecv_export.sources import source_of

    folder = tmp_path_factory.mktemp("bundles")
    done: dict[tuple[str, ...], Made] = {}

    def make(name: str, format: str, precision: str) -> Made:
        key = (name, format, precision)
        if key not in done:
            model = lenet if name == "lenet" else request.getfixturevalue("mobilenet")
            images = calibration if name == "lenet" else request.getfixturevalue("scenes")[:6]
            path = folder / f"{'_'.join(key)}.edgecv"
            report = export(model, path, format=format, precision=precision, calibration=images, name=name).report
            done[key] = Made(path, report, source_of(model))
        return done[key]

    return make


# -- networks whose answers to quantization are known beforehand -------------------------------------------------------


@pytest.fixture(scope="session")
def noise() -> list[np.ndarray]:
    """Eight generated colour pictures of 20×18."""
    from edgecv_export.calibration import generated_images

    return list(generated_images(8, (20, 18), seed=3))


@pytest.fixture(scope="session")
def chain() -> Any:
    """(16, 16, 3) → ``first`` (Conv2D) → ``depth`` (DepthwiseConv2D) → ``point`` (Conv2D) → ``last`` (Dense).

    Each activation has a name of its own; for `chain_preprocessing`.
    """
    import keras
    from keras import layers

    keras.utils.set_random_seed(1)
    image = keras.Input((16, 16, 3))
    x = layers.Conv2D(8, 3, strides=2, padding="same", name="first")(image)
    x = layers.ReLU(6.0, name="first_relu")(x)
    x = layers.DepthwiseConv2D(3, padding="same", name="depth")(x)
    x = layers.ReLU(6.0, name="depth_relu")(x)
    x = layers.Dropout(0.1, name="drop")(x)
    x = layers.ReLU(name="point_relu")(layers.Conv2D(8, 1, name="point")(x))
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(image, layers.Softmax(name="softmax")(layers.Dense(5, name="last")(x)), name="chain")


@pytest.fixture(scope="session")
def chain_preprocessing() -> Any:
    from edgecv.models.registry import Preprocessing

    return Preprocessing(mean=(127.5,) * 3, std=(127.5,) * 3)


@dataclass(frozen=True, eq=False)
class Lamps:
    """Pictures of lamps: red is always off, green and blue are on or off, and the class is 2·green + blue."""

    folder: Path
    images: list[np.ndarray]
    classes: list[int]


@pytest.fixture(scope="session")
def lamps(tmp_path_factory: pytest.TempPathFactory) -> Lamps:
    """40 labelled pictures of 8×8, in folders named after the class index."""
    import cv2

    generator = np.random.default_rng(7)
    folder = tmp_path_factory.mktemp("lamps")
    images, classes = [], []
    for index in range(40):
        number = index % 4
        image = np.zeros((8, 8, 3), np.uint8)
        image[..., 1] = generator.integers(150, 230) if number & 2 else generator.integers(30, 90)
        image[..., 2] = generator.integers(150, 230) if number & 1 else generator.integers(30, 90)
        (folder / str(number)).mkdir(exist_ok=True)
        cv2.imwrite(str(folder / str(number) / f"{index:02d}.png"), image[..., ::-1])
        images.append(image)
        classes.append(number)
    return Lamps(folder, images, classes)


@pytest.fixture(scope="session")
def lamp_reader() -> Callable[[int], Any]:
    """``lamp_reader(wild)``: a network that tells the lamps apart, with so many layers whose weights int8 ruins.

    Such a layer gives red a weight of 1000 and green and blue one of 1. Red is off, so the float network does not
    mind; in int8 a channel has steps of 1000/127 = 7.9, and the weights of 1 become 0. No range of an activation, no
    equalization and no rounding helps: float does, as soon as all of them are kept in it.
    """
    import keras
    from keras import layers

    def build(wild: int) -> Any:
        keras.utils.set_random_seed(3)
        x = image = keras.Input((8, 8, 3))
        for index in range(max(1, wild)):
            layer = layers.Conv2D(3, 1, name=f"wild_{index}" if wild else "tame")
            x = layers.ReLU(name=f"relu_{index}")(layer(x))
            kernel = np.eye(3, dtype=np.float32)
            kernel[0, 1:] = 1000.0 if wild else 0.0
            layer.set_weights([kernel.reshape(1, 1, 3, 3), np.zeros(3, np.float32)])
        x = layers.GlobalAveragePooling2D(name="pool")(x)
        last = layers.Dense(4, name="last")
        model = keras.Model(image, layers.Softmax(name="softmax")(last(x)), name=f"lamps_{wild}")
        signs = np.array([[-1, -1, 1, 1], [-1, 1, -1, 1]], np.float32)  # green and blue of the classes
        last.set_weights([np.concatenate([np.zeros((1, 4), np.float32), 8 * signs]), -4 * signs.sum(0)])
        return model

    return build


@pytest.fixture(scope="session")
def lamp_preprocessing() -> Any:
    from edgecv.models.registry import Preprocessing

    return Preprocessing(mean=(0.0,) * 3, std=(255.0,) * 3)


# -- TFLite files written by hand --------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def tflite_file() -> Callable[..., bytes]:
    """``tflite_file(tensors, operators, inputs, outputs)``: the bytes of a TFLite file, without any converter.

    tensors : mapping of name to dict with shape, dtype, and as needed scale, zero, values, signature
    operators : sequence of (kind, inputs, outputs, options class or None, options)
    """
    from ai_edge_litert import schema_py_generated as schema
    from flatbuffers import Builder

    def quantization(spec: dict[str, Any]) -> Any:
        found = schema.QuantizationParametersT()
        if "scale" in spec:
            found.scale = np.atleast_1d(np.float32(spec["scale"])).tolist()
            found.zeroPoint = np.broadcast_to(spec.get("zero", 0), len(found.scale)).astype(np.int64).tolist()
            found.quantizedDimension = spec.get("axis", 0)
        return found

    def write(
        tensors: dict[str, dict[str, Any]],
        operators: list[tuple[str, list[str], list[str], str | None, dict[str, Any]]],
        inputs: list[str],
        outputs: list[str],
    ) -> bytes:
        model, graph = schema.ModelT(), schema.SubGraphT()
        model.version, model.buffers, model.operatorCodes, graph.tensors = 3, [schema.BufferT()], [], []
        index = {name: place for place, name in enumerate(tensors)}
        for name, spec in tensors.items():
            tensor = schema.TensorT()
            tensor.name, tensor.shape = name.encode(), list(spec["shape"])
            tensor.type = getattr(schema.TensorType, spec.get("dtype", "int8").upper())
            tensor.shapeSignature = spec.get("signature")
            tensor.quantization = quantization(spec)
            if "values" in spec:
                buffer = schema.BufferT()
                buffer.data = np.frombuffer(np.ascontiguousarray(spec["values"]).tobytes(), np.uint8)
                model.buffers.append(buffer)
                tensor.buffer = len(model.buffers) - 1
            else:
                tensor.buffer = 0
            graph.tensors.append(tensor)
        kinds = list(dict.fromkeys(kind for kind, *_ in operators))
        for kind in kinds:
            code = schema.OperatorCodeT()
            builtin = hasattr(schema.BuiltinOperator, kind)
            code.builtinCode = getattr(schema.BuiltinOperator, kind if builtin else "CUSTOM")
            code.deprecatedBuiltinCode, code.version = min(code.builtinCode, 127), 1
            code.customCode = None if builtin else kind.encode()
            model.operatorCodes.append(code)
        graph.operators = []
        for kind, given, made, options, values in operators:
            operator = schema.OperatorT()
            operator.opcodeIndex = kinds.index(kind)
            operator.inputs = [index[name] if name else -1 for name in given]
            operator.outputs = [index[name] for name in made]
            if options is not None:
                operator.builtinOptionsType = getattr(schema.BuiltinOptions, options)
                operator.builtinOptions = getattr(schema, f"{options}T")()
                for key, value in values.items():
                    assert hasattr(operator.builtinOptions, key), key
                    setattr(operator.builtinOptions, key, value)
            graph.operators.append(operator)
        graph.inputs, graph.outputs = [index[name] for name in inputs], [index[name] for name in outputs]
        model.subgraphs = [graph]
        builder = Builder(1024)
        builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
        return bytes(builder.Output())

    return write
