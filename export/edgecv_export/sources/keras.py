"""A Keras model as the source of an export."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecv.models.factory import architecture_of
from edgecv.models.registry import Preprocessing
from edgecv_export.formats.job import INPUT_NAME, InputGrid, Job, grid_of
from edgecv_export.plan import Plan
from edgecv_export.quantize.correct import FLOAT16, INT8, INT8_WEIGHTS, round_and_correct
from edgecv_export.quantize.fold import fold_batch_norms, split_activation
from edgecv_export.quantize.graph import functional
from edgecv_export.quantize.inputs import Channels, peel_input_scaling, with_scaling_layer
from edgecv_export.sources.base import Source
from edgecv_runtime.artefact import Artefact
from edgecv_runtime.errors import InputError, MissingPackageError, UnsupportedError

# The corrected biases come from this many calibration images: a mean needs few, and both networks' activations are
# held in memory.
_CORRECTION_IMAGES = 32

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
    """A functional Keras model (N, H, W, C) to (N, classes)."""

    @classmethod
    def of_model(cls, model: Any, preprocessing: Preprocessing | None = None, task: str | None = None) -> KerasSource:
        """What is known of a Keras model: from `create_model`, or from the arguments.

        Raises
        ------
        InputError
            It is no Keras model; it was not built by `create_model` and no preprocessing is given; or its input is no
            image.
        UnsupportedError
            A subclassed model, several inputs or outputs, or a task without a decoder.
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
        task = task or (built.record.task if built is not None else "classification")
        if task != "classification":
            raise UnsupportedError(f"this version exports classification models; received task {task!r}")
        model = functional(model)
        if len(model.inputs) != 1 or len(model.outputs) != 1:
            raise UnsupportedError(
                f"a classification model has one input and one output; received {len(model.inputs)} and "
                f"{len(model.outputs)}"
            )
        shape = model.inputs[0].shape
        channels = len(preprocessing.mean)
        if len(shape) != 4 or None in shape[1:] or shape[3] != channels:
            raise InputError(
                f"the model's input must be (N, height, width, {channels}) for {preprocessing.color} images; "
                f"received {tuple(shape)}"
            )
        if len(model.outputs[0].shape) != 2:
            raise InputError(f"a classification model must give (N, classes); received {tuple(model.outputs[0].shape)}")
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

    def convert(self, plan: Plan, pixels: npt.NDArray[np.uint8]) -> Artefact:
        from edgecv_export.formats import exporter_of

        return exporter_of(plan.format)(make_job(self, plan, pixels))

    def final_activation(self, plan: Plan) -> str:
        return self.logits[1] if plan.integer else "none"

    def cost(self) -> dict[str, int | None]:
        from edgecv.complexity import complexity

        found = complexity(self.model)
        return {"parameters": found.parameters, "macs": found.macs}


def _predict(network: Any, values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    with warnings.catch_warnings():
        # Keras's data adapter warns of the structure of inputs for models rebuilt from a Sequential one.
        warnings.filterwarnings("ignore", message="The structure of `inputs` doesn't match", category=UserWarning)
        answers: npt.NDArray[np.float32] = network.predict(values, batch_size=16, verbose=0)
    return answers


def make_job(source: KerasSource, plan: Plan, pixels: npt.NDArray[np.uint8]) -> Job:
    """Prepare a source model for one conversion."""
    mean, std = source.preprocessing.mean, source.preprocessing.std
    few = pixels[:_CORRECTION_IMAGES]
    if not plan.integer:
        network = source.model
        if plan.precision in _WEIGHT_ROUNDING:
            normalized = source.normalize(few)
            rounding = _WEIGHT_ROUNDING[plan.precision]
            network = round_and_correct(fold_batch_norms(network), normalized, normalized, rounding)
        return Job(plan, network, lambda image: (image - list(mean)) / list(std), InputGrid(1.0, 0), pixels, "scores")
    network, mean, std, grid = _onto_grid(fold_batch_norms(source.logits[0]), mean, std)
    exact = ((few - np.array(mean)) / np.array(std)).astype(np.float32)
    rounding = INT8 if plan.precision == "int8" else INT8_WEIGHTS
    network = round_and_correct(network, exact, grid.to_real(few), rounding)
    return Job(plan, network, lambda image: image, grid, pixels, "logits")


def _onto_grid(network: Any, mean: Channels, std: Channels) -> tuple[Any, Channels, Channels, InputGrid]:
    """The network with as much of the normalisation in the grid of its uint8 input as fits.

    Returns the network, the exact mean and std of the input it now takes, and the grid that stands for them.
    """
    network, mean, std = peel_input_scaling(network, mean, std)
    if (grid := grid_of(mean, std)) is not None:
        return network, mean, std, grid
    network = with_scaling_layer(network, mean, std, INPUT_NAME)
    return network, (0.0,) * len(mean), (1.0,) * len(std), InputGrid(1.0, 0)
