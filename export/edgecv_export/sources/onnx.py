"""A float ONNX file from elsewhere as the source of an export.

ONNX and OpenVINO can be made from it. Of the Keras-side transforms batch norms are folded and channels equalized; the
others (learned rounding, bias correction) do not apply. Of networks whose answer is places in the picture, what eight
bits would ruin stays in float (`onnx_guard`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from edgecv.models.registry import Preprocessing
from edgecv_export.formats import onnx as onnx_format
from edgecv_export.formats import openvino as openvino_format
from edgecv_export.formats.half import to_half
from edgecv_export.formats.job import INPUT_NAME, InputGrid, grid_of
from edgecv_export.graph_nms import append_suppression
from edgecv_export.plan import Plan
from edgecv_export.quantize.recipe import Recipe
from edgecv_export.sources.base import Source
from edgecv_export.sources.onnx_equalize import equalizable_pairs, equalize
from edgecv_export.sources.onnx_folding import fold_batch_norms
from edgecv_export.sources.onnx_guard import fragile_convolutions, head_tail, name_nodes
from edgecv_export.sources.onnx_scaling import peel_input_scaling
from edgecv_export.sources.onnx_swish import tighten_swish_pairs, without_pairs_in_swishes
from edgecv_export.tasks.reading import Decoder, choose_decoder, float_manifest
from edgecv_runtime.artefact import Artefact
from edgecv_runtime.backends import Backend, open_backend
from edgecv_runtime.errors import InputError, UnsupportedError
from edgecv_runtime.manifest import TensorSpec

if TYPE_CHECKING:
    from edgecv_export.advice import Advice

# What a format's back end computes in one step with a convolution. ONNX Runtime runs PRelu by itself, in float: without
# a pair before it the convolution would be in float too.
_FUSED = {"openvino": ("PRelu",)}
# Formats whose back end computes a convolution and the swish behind it in one step.
_FUSED_SWISH = ("openvino",)

# Tasks that are read off single numbers of a long list. A classifier's or an embedder's answer is a mean of many, and
# loses less than layers in float cost.
_GUARDED = ("detection", "pose", "segmentation", "anomaly")


@dataclass(frozen=True, eq=False)
class OnnxSource(Source):
    """A float32 ONNX model: one image input (NHWC or NCHW), and outputs that a decoder reads.

    Attributes
    ----------
    kept_float : dict of Recipe to tuple of str
        The nodes with weights that the integer artefacts made so far have in float.
    """

    kept_float: dict[Recipe, tuple[str, ...]] = field(default_factory=dict)

    @classmethod
    def of_file(
        cls,
        path: str | Path,
        preprocessing: Preprocessing | None,
        task: str | None = None,
        decoder: Decoder | None = None,
        *,
        nms_in_graph: bool = False,
    ) -> OnnxSource:
        """Read an ONNX file.

        Parameters
        ----------
        path : str or Path
        preprocessing : Preprocessing
        task : str, optional
        decoder : DecoderSpec or (name, parameters), optional
        nms_in_graph : bool
            Of a detector: decode and suppress in the graph (`graph_nms`).

        Raises
        ------
        MissingFileError
            No such file.
        InputError
            No preprocessing is given, or it does not fit the input.
        UnsupportedError
            Not ONNX, several inputs, not float32, or a task that is not exported.
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
        with open_backend(artefact) as backend:
            inputs, outputs = backend.inputs, backend.outputs
        if len(inputs) != 1 or inputs[0].dtype != "float32":
            raise UnsupportedError(
                f"one float32 image input is required; {path.name} has {len(inputs)} input(s) "
                f"({', '.join(spec.dtype for spec in inputs)})"
            )
        channels, shape = len(preprocessing.mean), inputs[0].shape
        if len(shape) != 4 or None in shape[1:] or channels not in (shape[1], shape[3]):
            raise InputError(
                f"the input must have a fixed height and width and {channels} channel(s); {path.name} has {list(shape)}"
            )
        model = fold_batch_norms(_with_batch_one(onnx.load_from_string(artefact.model)))
        name_nodes(model)
        model, preprocessing = peel_input_scaling(model, preprocessing, channels_first=shape[3] != channels)
        named = tuple(replace(spec, shape=(1, *spec.shape[1:])) for spec in outputs)
        task, spec = choose_decoder(task, decoder, named, preprocessing)
        source = cls(model, preprocessing, task, {"name": "foreign", "file": path.name}, spec)
        manifest = float_manifest(source)
        if nms_in_graph:
            listing, spec = append_suppression(model, manifest)
            name_nodes(listing)
            source = cls(listing, preprocessing, task, source.architecture, spec)
        return source

    @property
    def channels_first(self) -> bool:
        return self._shape[3] != len(self.preprocessing.mean)

    @property
    def size(self) -> tuple[int, int]:
        height, width = self._shape[2:4] if self.channels_first else self._shape[1:3]
        return height, width

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        return tuple(replace(spec, shape=(1, *spec.shape[1:])) for spec in self._backend.outputs)

    @property
    def _shape(self) -> tuple[int, ...]:
        return tuple(size.dim_value for size in self.model.graph.input[0].type.tensor_type.shape.dim)

    @cached_property
    def _backend(self) -> Backend:
        return open_backend(Artefact("onnx", self.model.SerializeToString()))

    def answers(self, pixels: npt.NDArray[np.uint8]) -> tuple[npt.NDArray[np.float32], ...]:
        values = self.normalize(pixels)
        if self.channels_first:
            values = np.ascontiguousarray(values.transpose(0, 3, 1, 2))
        rows = [self._backend.infer([value[None]]) for value in values]
        return tuple(np.concatenate(column) for column in zip(*rows, strict=True))

    def convert(self, plan: Plan, pixels: npt.NDArray[np.uint8], recipe: Recipe | None = None) -> Artefact:
        if plan.format == "tflite":
            raise UnsupportedError(
                "TFLite cannot be made from ONNX; use --format onnx or openvino, or export from Keras"
            )
        with onnx_format.quiet():
            fused = _FUSED.get(plan.format, ())
            model = self._converted(Plan("onnx", self._inner_precision(plan)), pixels, recipe, fused)
            if plan.integer:
                model = without_pairs_in_swishes(model) if plan.format in _FUSED_SWISH else tighten_swish_pairs(model)
            if plan.format == "openvino":
                return openvino_format.from_onnx(model.SerializeToString(), half=plan.precision == "fp16")
        return Artefact("onnx", bytes(model.SerializeToString()))

    @cached_property
    def equalizable(self) -> bool:
        return bool(equalizable_pairs(self.model))

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
            recipe = recipe or Recipe()
            if recipe.equalize:
                model = equalize(model, values)
            return onnx_format.quantize_graph(model, grid, values, self._guarded(model, values, recipe), fused=fused)
        model = self._behind_pixels(np.uint8, mean, std)
        if plan.precision == "fp16":
            return to_half(model)
        return onnx_format.quantize_weights_only(model) if plan.precision == "dynamic" else model

    def _guarded(self, model: Any, values: Sequence[npt.NDArray[np.float32]], recipe: Recipe) -> Recipe:
        """The recipe, with what eight bits would ruin in float, too."""
        self.kept_float[recipe] = recipe.float_layers
        if self.task not in _GUARDED:
            return recipe
        kinds = {node.name: node.op_type for node in model.graph.node}
        tail = head_tail(model)
        fragile = [*fragile_convolutions(model, values), *(name for name in tail if kinds[name] == "Conv")]
        kept = self.kept_float[recipe] = tuple(dict.fromkeys((*recipe.float_layers, *fragile)))
        return replace(recipe, float_layers=tuple(dict.fromkeys((*kept, *tail))))

    def float_layers(self, plan: Plan, recipe: Recipe) -> tuple[str, ...]:
        return self.kept_float.get(recipe, ()) if plan.integer else ()

    def advice(self, plan: Plan, recipe: Recipe) -> Sequence[Advice]:
        """What an integer artefact has in float."""
        kept = self.float_layers(plan, recipe)
        if not kept:
            return ()
        from edgecv_export.advice.network import Advice

        return (
            Advice(
                rule="kept-in-float",
                severity="low",
                title="kept in float",
                layers=kept,
                cost="their share of the time that int8 saves",
                remedy="none is needed: rounding their input to 256 levels would drown what they compute",
                source="measured on the calibration pictures (sources/onnx_guard.py)",
            ),
        )

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
