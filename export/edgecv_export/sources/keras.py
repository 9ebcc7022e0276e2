"""A Keras model as the source of an export."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from edgecv.models.factory import architecture_of
from edgecv.models.registry import Preprocessing
from edgecv_export.formats.job import INPUT_NAME, InputGrid, Job, grid_of
from edgecv_export.plan import Plan
from edgecv_export.quantize.correct import FLOAT16, INT8, INT8_WEIGHTS, learnable_layers, round_and_correct
from edgecv_export.quantize.equalize import equalization, equalize
from edgecv_export.quantize.fold import fold_batch_norms, split_activation
from edgecv_export.quantize.graph import Graph, functional
from edgecv_export.quantize.inputs import Channels, peel_input_scaling, with_scaling_layer
from edgecv_export.quantize.keep_float import with_activations
from edgecv_export.quantize.pooling import with_global_pooling
from edgecv_export.quantize.recipe import Recipe
from edgecv_export.quantize.sensitivity import layer_sensitivities
from edgecv_export.sources.base import Source, check_task
from edgecv_runtime.artefact import Artefact
from edgecv_runtime.errors import InputError, MissingPackageError, UnsupportedError

if TYPE_CHECKING:
    from edgecv_export.advice import Advice
    from edgecv_export.training import TrainingPictures

# The corrected biases come from this many calibration images: a mean needs few, and both networks' activations are
# held in memory.
_CORRECTION_IMAGES = 32

_REPORT_IMAGES = 8  # that each layer is compared on

_GRAPH_NAME = re.compile(r"[A-Za-z0-9_.\\/>-]+")  # what tf.name_scope takes inside another scope

# Float precisions that round the weights all the same.
_WEIGHT_ROUNDING = {"fp16": FLOAT16, "dynamic": INT8_WEIGHTS}


def require_tensorflow() -> None:
    """Refuse early where Keras runs on another back end: the converters read TensorFlow graphs.

    Raises
    ------
    MissingPackageError
    """
    import keras

    if keras.backend.backend() != "tensorflow":
        raise MissingPackageError(
            f"export needs Keras on TensorFlow; Keras runs on {keras.backend.backend()} here: save the weights, "
            "set KERAS_BACKEND=tensorflow and build the model again"
        )


@dataclass(frozen=True, eq=False)
class KerasSource(Source):
    """A functional Keras model (N, H, W, C) to (N, classes), or to the vectors (N, D) of an embedder."""

    @classmethod
    def of_model(cls, model: Any, preprocessing: Preprocessing | None = None, task: str | None = None) -> KerasSource:
        """What is known of a Keras model: from `create_model`, or from the arguments.

        Raises
        ------
        InputError
            It is no Keras model; it was not built by `create_model` and no preprocessing is given; or its input is no
            image.
        UnsupportedError
            A subclassed model, several inputs or outputs, a task without a decoder, or a layer whose name
            TensorFlow does not take.
        """
        import keras

        require_tensorflow()
        if not isinstance(model, keras.Model):
            raise InputError(f"a Keras model, or the path of an .onnx file, is required; received {model!r:.60}")
        built = architecture_of(model)
        if preprocessing is None:
            if built is None:
                raise InputError(
                    "preprocessing is required for a model that edgecv.create_model did not build: "
                    "preprocessing=Preprocessing(mean=..., std=..., color=..., resize=...)"
                )
            preprocessing = built.record.preprocessing
        task = check_task(task or (built.record.task if built is not None else "classification"))
        kind = "an embedder" if task == "embedding" else f"a {task} model"
        model = functional(model)
        _check_layer_names(model)
        if len(model.inputs) != 1 or len(model.outputs) != 1:
            raise UnsupportedError(
                f"{kind} has one input and one output; received {len(model.inputs)} and {len(model.outputs)}"
            )
        shape = model.inputs[0].shape
        channels = len(preprocessing.mean)
        if len(shape) != 4 or None in shape[1:] or shape[3] != channels:
            raise InputError(
                f"the model's input must be (N, height, width, {channels}) for {preprocessing.color} images; "
                f"received {tuple(shape)}"
            )
        if len(model.outputs[0].shape) != 2:
            wanted = "(N, D)" if task == "embedding" else "(N, classes)"
            raise InputError(f"{kind} must give {wanted}; received {tuple(model.outputs[0].shape)}")
        architecture = built.to_dict() if built is not None else {"name": "custom", "keras_name": model.name}
        return cls(model, preprocessing, task, architecture)

    @property
    def size(self) -> tuple[int, int]:
        _, height, width, _ = self.model.inputs[0].shape
        return height, width

    @property
    def classes(self) -> int:
        return int(self.model.outputs[0].shape[-1])

    @cached_property
    def logits(self) -> tuple[Any, str]:
        """The model without its final activation, and the activation's name."""
        return split_activation(self.model)

    def predict_pixels(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        return _predict(self.model, self.normalize(pixels))

    def expected(self, plan: Plan, images: Sequence[npt.NDArray[np.uint8]]) -> npt.NDArray[np.float32]:
        network = self.logits[0] if plan.integer else self.model
        return _predict(network, self.normalize(self.pixels(images)))

    @cached_property
    def integer(self) -> IntegerBase:
        """What integer artefacts are made of."""
        mean, std = self.preprocessing.mean, self.preprocessing.std
        return _onto_grid(with_global_pooling(fold_batch_norms(self.logits[0])), mean, std)

    def convert(self, plan: Plan, pixels: npt.NDArray[np.uint8], recipe: Recipe | None = None) -> Artefact:
        from edgecv_export.formats import exporter_of

        return exporter_of(plan.format)(make_job(self, plan, pixels, recipe or Recipe()))

    @property
    def trainable(self) -> bool:
        return True

    @cached_property
    def equalizable(self) -> bool:
        return bool(equalization(self.integer.network).pairs)

    def sensitivities(self, pixels: npt.NDArray[np.uint8], recipe: Recipe) -> dict[str, float]:
        found = layer_sensitivities(
            self._float_twin(recipe),
            self.integer.grid.to_real(pixels),
            INT8,
            estimator=recipe.estimator,
            widen=recipe.widen,
        )
        return dict(sorted(found.items(), key=lambda entry: -entry[1]))

    def train(
        self, plan: Plan, training: TrainingPictures, pixels: npt.NDArray[np.uint8], seed: int
    ) -> tuple[Recipe, str]:
        from edgecv_export.quantize.aware.train import train_aware

        base = self.integer
        result = train_aware(
            base.network,
            training.pixels,
            training.labels,
            base.grid.to_real,
            calibration=pixels,
            fused_sums=plan.format == "openvino",
            seed=seed,
        )
        return Recipe(network=result.network, ranges=result.ranges, adaround=False), f"{len(training)} pictures"

    def advice(self, plan: Plan) -> Sequence[Advice]:
        from edgecv_export.advice import advise

        return advise(self.model, plan.format, plan.precision)

    def layer_report(
        self,
        plan: Plan,
        artefact: Artefact,
        pixels: npt.NDArray[np.uint8],
        recipe: Recipe,
        sensitivities: Mapping[str, float] | None,
    ) -> list[dict[str, Any]]:
        from edgecv_export.report.layers import layer_report

        if not plan.integer:
            return []
        network = self._float_twin(recipe)
        few = _some(pixels, _REPORT_IMAGES)
        kept = with_activations(network, recipe.float_layers) if recipe.float_layers else ()
        rows = layer_report(
            network, artefact, few, self.integer.exact(few), sensitivities=sensitivities, float_layers=kept
        )
        return [row.to_dict() for row in rows]

    def _float_twin(self, recipe: Recipe) -> Any:
        """The float network that has the artefact's layers."""
        network = recipe.network if recipe.trained else self.integer.network
        return equalize(network) if recipe.equalize else network

    def final_activation(self, plan: Plan) -> str:
        return self.logits[1] if plan.integer else "none"

    def cost(self) -> dict[str, int | None]:
        from edgecv.complexity import complexity

        found = complexity(self.model)
        return {"parameters": found.parameters, "macs": found.macs}


def _check_layer_names(model: Any) -> None:
    """Refuse names under which Keras itself cannot run a layer in a TensorFlow graph.

    Raises
    ------
    UnsupportedError
    """
    import keras

    for step in Graph(model).steps:
        name = step.layer.name
        if not _GRAPH_NAME.fullmatch(name):
            raise UnsupportedError(
                f"a layer's name must be letters, digits and _ - . to be traced by TensorFlow; received {name!r}: "
                "give the layer another (layer.name = ...)"
            )
        if isinstance(step.layer, keras.Model):
            _check_layer_names(step.layer)


def _predict(network: Any, values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    with warnings.catch_warnings():
        # Keras's data adapter warns of the structure of inputs for models rebuilt from a Sequential one.
        warnings.filterwarnings("ignore", message="The structure of `inputs` doesn't match", category=UserWarning)
        answers: npt.NDArray[np.float32] = network.predict(values, batch_size=16, verbose=0)
    return answers


@dataclass(frozen=True, eq=False)
class IntegerBase:
    """The float network that integer artefacts are made of, and how pixels reach it.

    Attributes
    ----------
    network : keras.Model
        Ends at the logits, batch norms folded, takes real values.
    grid : InputGrid
        What the artefact's uint8 input stands for.
    mean, std : tuple of float
        The exact normalisation, which the grid may round by half a level.
    """

    network: Any
    grid: InputGrid
    mean: Channels
    std: Channels

    def exact(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """(N, H, W, C): the real input as the source model takes it."""
        return ((pixels - np.array(self.mean)) / np.array(self.std)).astype(np.float32)


def make_job(source: KerasSource, plan: Plan, pixels: npt.NDArray[np.uint8], recipe: Recipe | None = None) -> Job:
    """Prepare a source model for one conversion."""
    recipe = recipe or Recipe()
    if plan.integer:
        return _integer_job(source.integer, plan, _some(pixels, recipe.images), recipe)
    mean, std = source.preprocessing.mean, source.preprocessing.std
    network = source.model
    if plan.precision in _WEIGHT_ROUNDING:
        normalized = source.normalize(_some(pixels, _CORRECTION_IMAGES))
        rounding = _WEIGHT_ROUNDING[plan.precision]
        network = round_and_correct(fold_batch_norms(network), normalized, normalized, rounding)
    return Job(plan, network, lambda image: (image - list(mean)) / list(std), InputGrid(1.0, 0), pixels, "scores")


def _integer_job(base: IntegerBase, plan: Plan, pixels: npt.NDArray[np.uint8], recipe: Recipe) -> Job:
    few = _some(pixels, _CORRECTION_IMAGES)
    network = recipe.network if recipe.trained else base.network
    if recipe.equalize:
        network = equalize(network)
    if recipe.float_layers:
        recipe = replace(recipe, float_layers=with_activations(network, recipe.float_layers))
    if not recipe.trained:  # a trained network has learned to live with its rounding
        network = round_and_correct(
            network,
            base.exact(few),
            base.grid.to_real(few),
            INT8_WEIGHTS if plan.precision == "int16x8" else INT8,
            estimator=recipe.estimator,
            adaround=learnable_layers(network) if recipe.adaround else (),
            float_layers=recipe.float_layers,
            widen=recipe.widen,
            ranges=recipe.ranges,
            correct=recipe.correct,
        )
    return Job(plan, network, lambda image: image, base.grid, pixels, "logits", recipe)


def _some(pixels: npt.NDArray[np.uint8], count: int | None) -> npt.NDArray[np.uint8]:
    """That many of the images, evenly spaced; all of them where there are fewer."""
    if count is None or count >= len(pixels):
        return pixels
    return pixels[np.linspace(0, len(pixels) - 1, count).round().astype(int)]


def _onto_grid(network: Any, mean: Channels, std: Channels) -> IntegerBase:
    """The network with as much of the normalisation in the grid of its uint8 input as fits."""
    network, mean, std = peel_input_scaling(network, mean, std)
    if (grid := grid_of(mean, std)) is not None:
        return IntegerBase(network, grid, mean, std)
    network = with_scaling_layer(network, mean, std, INPUT_NAME)
    return IntegerBase(network, InputGrid(1.0, 0), (0.0,) * len(mean), (1.0,) * len(std))
