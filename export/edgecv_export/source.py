"""The float source: a Keras model, what it expects of a picture, and what it answers.

It is the reference that every artefact is proven against.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecv.models.factory import architecture_of
from edgecv.models.registry import Preprocessing
from edgecv_export.quantize.fold import split_activation
from edgecv_export.quantize.graph import functional
from edgecv_runtime.errors import InputError, MissingPackageError, UnsupportedError
from edgecv_runtime.manifest import InputSpec
from edgecv_runtime.preprocess import preprocess
from edgecv_runtime.results import Classification

INPUT_NAME = "image"


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
class Source:
    """A float Keras model with its preprocessing.

    Attributes
    ----------
    model : keras.Model
        Functional, one image input (N, H, W, C), normalised as `preprocessing` says.
    preprocessing : Preprocessing
    task : str
    architecture : Mapping
        For the manifest.
    """

    model: Any
    preprocessing: Preprocessing
    task: str
    architecture: Mapping[str, Any]

    @classmethod
    def of(cls, model: Any, preprocessing: Preprocessing | None = None, task: str | None = None) -> Source:
        """What is known of a Keras model: from `create_model`, or from the arguments.

        Raises
        ------
        InputError
            The model was not built by `create_model` and no preprocessing is given, or its input is no image.
        UnsupportedError
            A subclassed model, several inputs or outputs, or a task without a decoder.
        """
        require_tensorflow()
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
        """Height and width of the input, pixels."""
        _, height, width, _ = self.model.inputs[0].shape
        return height, width

    @property
    def classes(self) -> int:
        return int(self.model.outputs[0].shape[-1])

    @property
    def input_spec(self) -> InputSpec:
        """The artefact's input: uint8 pixels, batch 1, normalisation in the graph."""
        return InputSpec(
            name=INPUT_NAME,
            shape=(1, *self.size, len(self.preprocessing.mean)),
            dtype="uint8",
            color=self.preprocessing.color,
            resize=self.preprocessing.resize_for(self.size),
        )

    @cached_property
    def logits(self) -> tuple[Any, str]:
        """The model without its final activation, and the activation's name."""
        return split_activation(self.model)

    def pixels(self, images: Sequence[npt.NDArray[np.uint8]]) -> npt.NDArray[np.uint8]:
        """(N, H, W, C) uint8: the images as the device will resize them."""
        spec = self.input_spec
        empty = np.empty((0, *self.size, len(self.preprocessing.mean)), np.uint8)
        return np.concatenate([empty, *(preprocess(image, spec)[0] for image in images)])

    def normalize(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """``(pixel - mean) / std``, float32."""
        mean, std = (np.array(values, np.float32) for values in (self.preprocessing.mean, self.preprocessing.std))
        return (pixels.astype(np.float32) - mean) / std

    def predict(self, images: Sequence[npt.NDArray[np.uint8]]) -> npt.NDArray[np.float32]:
        """(N, classes) float32: the model's answers to pictures of any size."""
        return self.predict_pixels(self.pixels(images))

    def predict_pixels(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """(N, classes) float32: the model's answers to images that have its input size."""
        with warnings.catch_warnings():
            # Keras's data adapter warns of the structure of inputs for models rebuilt from a Sequential one.
            warnings.filterwarnings("ignore", message="The structure of `inputs` doesn't match", category=UserWarning)
            answers: npt.NDArray[np.float32] = self.model.predict(self.normalize(pixels), batch_size=16, verbose=0)
        return answers

    def rank(self, image: npt.NDArray[np.uint8]) -> list[int]:
        """The five best classes of one picture, best first."""
        return Classification.from_scores(self.predict([image])[0]).top(5).indices.tolist()
