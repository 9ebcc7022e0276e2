"""What a format's own converter makes of a float network, without us: the yardstick of `fidelity.py`."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from _common import time_in_turn

from edgecv_export.calibration import load_calibration
from edgecv_export.formats import onnx as onnx_format
from edgecv_export.formats import openvino as openvino_format
from edgecv_export.formats.tflite import quiet as tflite_quiet
from edgecv_export.formats.tracing import freeze
from edgecv_export.plan import Plan
from edgecv_export.sources import Source
from edgecv_export.sources.keras import make_job
from edgecv_runtime.artefact import Artefact
from edgecv_runtime.backends import Backend, open_backend
from edgecv_runtime.evaluate import read_labelled_images
from edgecv_runtime.images import read_image

Pixels = npt.NDArray[np.uint8]

_RUNS, _MOST_RUNS = 200, 2000
_SECONDS = 1.0  # of each network: what takes a fraction of a millisecond is measured more often
_CHUNK = 32


@dataclass(frozen=True, eq=False)
class Plain:
    """A converter's artefact, and how pixels become its input."""

    artefact: Artefact


def convert(source: Source, format: str, calibration: Path) -> Plain | None:
    """int8 by the format's own converter with its default settings; None where its package is not installed."""
    pixels = source.pixels(load_calibration(calibration).images)
    content = {"tflite": _tflite, "onnx": _onnx, "openvino": _openvino}[format](source, pixels)
    return None if content is None else Plain(content)


def _tflite(source: Any, pixels: Pixels) -> Artefact:
    import tensorflow as tf

    job = make_job(source, Plan("tflite", "fp32"), pixels)

    @tf.function(input_signature=[tf.TensorSpec(job.input_shape, tf.float32)])
    def serve(image: Any) -> Any:
        return job.network(image, training=False)

    converter = tf.lite.TFLiteConverter.from_concrete_functions([freeze(serve)])
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([source.normalize(image[None])] for image in pixels)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type, converter.inference_output_type = tf.uint8, tf.uint8
    with tflite_quiet():
        return Artefact("tflite", bytes(converter.convert()))


def _float_onnx(source: Any, pixels: Pixels) -> Any:
    with onnx_format.quiet():
        return onnx_format.convert_float(make_job(source, Plan("onnx", "fp32"), pixels))


def _onnx(source: Any, pixels: Pixels) -> Artefact:
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self._left = iter(pixels)

        def get_next(self) -> dict[str, Any] | None:
            image = next(self._left, None)
            return None if image is None else {"image": image[None]}

    with tempfile.TemporaryDirectory() as folder, onnx_format.quiet():
        path, prepared, result = (Path(folder, f"{name}.onnx") for name in ("float", "prepared", "int8"))
        onnx.save(_float_onnx(source, pixels), path)
        quant_pre_process(str(path), str(prepared))
        quantize_static(
            str(prepared),
            str(result),
            Reader(),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            weight_type=QuantType.QInt8,
        )
        return Artefact("onnx", result.read_bytes())


def _openvino(source: Any, pixels: Pixels) -> Artefact | None:
    try:
        import nncf
    except ImportError:
        return None
    import openvino

    content = openvino_format.from_onnx(_float_onnx(source, pixels).SerializeToString())
    model = openvino.Core().read_model(model=content.model, weights=content.weights)
    quantized = nncf.quantize(model, nncf.Dataset([image[None] for image in pixels]), subset_size=len(pixels))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.xml")
        openvino.save_model(quantized, path, compress_to_fp16=False)
        return Artefact("openvino", path.read_bytes(), path.with_suffix(".bin").read_bytes())


def compare(
    plain: Plain | None, ours: Artefact, source: Source, calibration: Path, evaluation: Path
) -> dict[str, float | None]:
    """Accuracy of the plain artefact, and the median latency of ours over its."""
    if plain is None:
        return {"plain_top1": None, "plain_agreement": None, "plain_size": None, "latency_ratio": None}
    with open_backend(plain.artefact) as theirs, open_backend(ours, manifest=ours.manifest()) as mine:
        items = read_labelled_images(evaluation, None, source.classes)
        truth = np.array([item.class_index for item in items])
        pixels = source.pixels([read_image(item.path) for item in items])
        answers = np.array([theirs.infer([image[None]])[0].argmax() for image in pixels])
        wanted = np.concatenate(
            [source.predict_pixels(pixels[start : start + _CHUNK]) for start in range(0, len(pixels), _CHUNK)]
        ).argmax(-1)
        callers = {"ours": _caller(mine, pixels[0]), "plain": _caller(theirs, pixels[0])}
        times = time_in_turn(callers, _runs(callers["plain"]))
    return {
        "plain_top1": float((answers == truth).mean()),
        "plain_agreement": float((answers == wanted).mean()),
        "plain_size": plain.artefact.size,
        "latency_ratio": float(np.median(times["ours"]) / np.median(times["plain"])),
    }


def _runs(call: Callable[[], Any]) -> int:
    """How often a network is timed: for about `_SECONDS`, within bounds."""
    call()
    started = time.perf_counter()
    call()
    return int(min(max(_SECONDS / (time.perf_counter() - started), _RUNS), _MOST_RUNS))


def _caller(backend: Backend, image: Pixels) -> Callable[[], Any]:
    return lambda: backend.infer([image[None]])
