"""A float ONNX file from elsewhere as the source of an export.

ONNX and OpenVINO can be made from it. Of the Keras-side transforms batch norms are folded and channels equalized; the
others (learned rounding, bias correction) do not apply.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecv.models.registry import Preprocessing
from edgecv_export.formats import onnx as onnx_format
from edgecv_export.formats import openvino as openvino_format
from edgecv_export.formats.job import INPUT_NAME, InputGrid, grid_of
from edgecv_export.plan import Plan
from edgecv_export.quantize.recipe import Recipe
from edgecv_export.sources.base import Source, check_task
from edgecv_export.sources.onnx_equalize import equalizable_pairs, equalize
from edgecv_export.sources.onnx_folding import fold_batch_norms
from edgecv_export.sources.onnx_scaling import peel_input_scaling
from edgecv_runtime.artefact import Artefact
from edgecv_runtime.backends import Backend, open_backend
from edgecv_runtime.errors import InputError, UnsupportedError

# What a format's back end computes in one step with a convolution. ONNX Runtime runs PRelu by itself, in float: without
# a pair before it the convolution would be in float too.
_FUSED = {"openvino": ("PRelu",)}


@dataclass(frozen=True, eq=False)
class OnnxSource(Source):
    """A float32 ONNX model: one image input (NHWC or NCHW), one output of class scores or of an embedder's vectors."""

    @classmethod
    def of_file(cls, path: str | Path, preprocessing: Preprocessing | None, task: str | None = None) -> OnnxSource:
        """Read an ONNX file.

        Raises
        ------
        MissingFileError
            No such file.
        InputError
            No preprocessing is given, or it does not fit the input.
        UnsupportedError
            Not ONNX, several inputs or outputs, not float32, or a task without a decoder.
        """
        import onnx

        path = Path(path)
        artefact = Artefact.from_file(path)
        if artefact.format != "onnx":
            raise UnsupportedError(
                f"a {artefact.format} file cannot be converted further; export from Keras or ONNX, or make a bundle "
                f"of it as it is: edgecv wrap {path.name}"
            )
        if preprocessing is None:
            raise InputError(f"what {path.name} expects of a pixel must be given: --mean and --std (0 and 1 for none)")
        task = check_task(task or "classification")
        with open_backend(artefact) as backend:
            inputs, outputs = backend.inputs, backend.outputs
        if len(inputs) != 1 or len(outputs) != 1 or inputs[0].dtype != "float32":
            raise UnsupportedError(
                f"one float32 image input and one output are required; {path.name} has {len(inputs)} input(s) "
                f"({', '.join(spec.dtype for spec in inputs)}) and {len(outputs)} output(s)"
            )
        channels, shape = len(preprocessing.mean), inputs[0].shape
        if len(shape) != 4 or None in shape[1:] or channels not in (shape[1], shape[3]):
            raise InputError(
                f"the input must have a fixed height and width and {channels} channel(s); {path.name} has {list(shape)}"
            )
        model = fold_batch_norms(_with_batch_one(onnx.load_from_string(artefact.model)))
        model, preprocessing = peel_input_scaling(model, preprocessing, channels_first=shape[3] != channels)
        return cls(model, preprocessing, task, {"name": "foreign", "file": path.name})

    @property
    def channels_first(self) -> bool:
        return self._shape[3] != len(self.preprocessing.mean)

    @property
    def size(self) -> tuple[int, int]:
        height, width = self._shape[2:4] if self.channels_first else self._shape[1:3]
        return height, width

    @property
    def classes(self) -> int:
        return int(self._backend.outputs[0].shape[-1] or 0)

    @property
    def _shape(self) -> tuple[int, ...]:
        return tuple(size.dim_value for size in self.model.graph.input[0].type.tensor_type.shape.dim)

    @cached_property
    def _backend(self) -> Backend:
        return open_backend(Artefact("onnx", self.model.SerializeToString()))

    def predict_pixels(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        values = self.normalize(pixels)
        if self.channels_first:
            values = np.ascontiguousarray(values.transpose(0, 3, 1, 2))
        return np.concatenate([self._backend.infer([value[None]])[0].reshape(1, -1) for value in values])

    def convert(self, plan: Plan, pixels: npt.NDArray[np.uint8], recipe: Recipe | None = None) -> Artefact:
        if plan.format == "tflite":
            raise UnsupportedError(
                "TFLite cannot be made from ONNX; use --format onnx or openvino, or export from Keras"
            )
        with onnx_format.quiet():
            fused = _FUSED.get(plan.format, ())
            model = self._converted(Plan("onnx", self._inner_precision(plan)), pixels, recipe, fused)
            if plan.format == "openvino":
                return openvino_format.from_onnx(model.SerializeToString(), half=plan.precision == "fp16")
        return Artefact("onnx", bytes(model.SerializeToString()))

    @cached_property
    def equalizable(self) -> bool:
        return bool(equalizable_pairs(self.model))

    def final_activation(self, plan: Plan) -> str:
        return "none"  # the file ends as it ends

    def cost(self) -> dict[str, int | None]:
        return {"parameters": sum(int(np.prod(tensor.dims)) for tensor in self.model.graph.initializer), "macs": None}

    def _inner_precision(self, plan: Plan) -> str:
        # OpenVINO stores float16 weights itself.
        return "fp32" if plan.format == "openvino" and plan.precision == "fp16" else plan.precision

    def _converted(
        self, plan: Plan, pixels: npt.NDArray[np.uint8], recipe: Recipe | None, fused: tuple[str, ...]
    ) -> Any:
        mean, std = self.preprocessing.mean, self.preprocessing.std
        if plan.integer:
            grid = grid_of(mean, std)
            model = self._behind_pixels(np.float32, *((), ()) if grid is not None else (mean, std))
            grid = grid or InputGrid(1.0, 0)
            values = [grid.to_real(image[None]) for image in pixels]
            if recipe is not None and recipe.equalize:
                model = equalize(model, values)
            return onnx_format.quantize_graph(model, grid, values, recipe, fused=fused)
        model = self._behind_pixels(np.uint8, mean, std)
        if plan.precision == "fp16":
            return onnx_format.to_half(model)
        return onnx_format.quantize_weights_only(model) if plan.precision == "dynamic" else model

    def _behind_pixels(self, dtype: Any, mean: tuple[float, ...], std: tuple[float, ...]) -> Any:
        """The model with an NHWC image input of `dtype`, and the normalisation (where given) in the graph."""
        import onnx
        from onnx import helper, numpy_helper

        model = onnx.ModelProto()
        model.CopyFrom(self.model)
        graph = model.graph
        wanted, tensor = graph.input[0].name, INPUT_NAME
        if wanted == INPUT_NAME:
            onnx_format.rename(model, wanted, wanted := f"{INPUT_NAME}_normalized")
        nodes: list[Any] = []

        def then(operation: str, *constants: Any, **attributes: Any) -> None:
            nonlocal tensor
            names = [f"edgecv_{operation.lower()}_{len(nodes)}_{index}" for index in range(len(constants))]
            graph.initializer.extend(numpy_helper.from_array(c, n) for c, n in zip(constants, names, strict=True))
            result = f"edgecv_{operation.lower()}_{len(nodes)}"
            nodes.append(helper.make_node(operation, [tensor, *names], [result], name=result, **attributes))
            tensor = result

        channels_first = [0, 3, 1, 2]
        if np.dtype(dtype) != np.float32:
            then("Cast", to=onnx.TensorProto.FLOAT)
        if mean and np.dtype(dtype) != np.float32:
            then("Sub", np.array(mean, np.float32))
            then("Mul", (1 / np.array(std, np.float64)).astype(np.float32))
        elif mean:
            # To be quantized: as a 1×1 depthwise convolution, whose per-channel weights int8 holds exactly.
            scale = 1 / np.array(std, np.float64)
            kernel, bias = scale.reshape(-1, 1, 1, 1), -np.array(mean) * scale
            then("Transpose", perm=channels_first)
            then("Conv", kernel.astype(np.float32), bias.astype(np.float32), group=len(mean))
            then("Transpose", perm=[0, 2, 3, 1])
        then("Transpose", perm=channels_first) if self.channels_first else then("Identity")
        nodes[-1].output[0] = wanted
        nodes.extend(graph.node)
        del graph.node[:]
        graph.node.extend(nodes)
        del graph.input[:]
        kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        shape = [1, *self.size, len(self.preprocessing.mean)]
        graph.input.append(helper.make_tensor_value_info(INPUT_NAME, kind, shape))
        onnx.checker.check_model(model)
        return model


def _with_batch_one(model: Any) -> Any:
    """The model with batch size 1, at an opset that every step here reads, its weights no longer named as inputs."""
    from onnx import version_converter

    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in weights]
    del model.graph.input[:]
    model.graph.input.extend(inputs)
    for value in (*model.graph.input, *model.graph.output):
        if value.type.tensor_type.shape.dim:
            value.type.tensor_type.shape.dim[0].ClearField("dim_param")
            value.type.tensor_type.shape.dim[0].dim_value = 1
    opset = next(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
    return model if opset >= 13 else version_converter.convert_version(model, onnx_format.OPSET)
