"""The float source: a model, what it expects of a picture, and what it answers.

It is the reference that every artefact is proven against.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from edgecv.models.registry import Preprocessing
from edgecv_export.calibration import CalibrationImages, contract_pictures, load_calibration
from edgecv_export.formats.job import INPUT_NAME
from edgecv_export.plan import Plan
from edgecv_export.quantize.recipe import Recipe
from edgecv_runtime.artefact import Artefact
from edgecv_runtime.errors import UnsupportedError
from edgecv_runtime.manifest import DecoderSpec, InputSpec, TensorSpec
from edgecv_runtime.preprocess import preprocess
from edgecv_runtime.results import Classification

if TYPE_CHECKING:
    from edgecv_export.advice import Advice
    from edgecv_export.training import TrainingPictures


@dataclass(frozen=True, eq=False)
class Source(ABC):
    """A float model with its preprocessing, and how its outputs are read.

    Attributes
    ----------
    model : keras.Model or onnx.ModelProto
        One image input, normalised as `preprocessing` says.
    preprocessing : Preprocessing
    task : str
        One of `edgecv_export.tasks.task_names`.
    architecture : Mapping
        For the manifest.
    decoder : DecoderSpec
        The runtime decoder that reads the float model's outputs.
    """

    model: Any
    preprocessing: Preprocessing
    task: str
    architecture: Mapping[str, Any]
    decoder: DecoderSpec

    @property
    @abstractmethod
    def size(self) -> tuple[int, int]:
        """Height and width of the input, pixels."""

    @property
    @abstractmethod
    def outputs(self) -> tuple[TensorSpec, ...]:
        """The outputs by the names that they bear in every artefact, batch 1, float32, in the model's order."""

    @abstractmethod
    def answers(self, pixels: npt.NDArray[np.uint8]) -> tuple[npt.NDArray[np.float32], ...]:
        """The model's outputs, (N, ...) float32 each, for images that have its input size."""

    @abstractmethod
    def convert(self, plan: Plan, pixels: npt.NDArray[np.uint8], recipe: Recipe | None = None) -> Artefact:
        """Make the artefact.

        Parameters
        ----------
        plan : Plan
        pixels : (N, H, W, C) uint8
            Calibration images at the input's size.
        recipe : Recipe, optional
            How an integer artefact is made.

        Raises
        ------
        UnsupportedError
            The format cannot take this model.
        """

    def decoder_of(self, plan: Plan) -> DecoderSpec:
        """The decoder of an artefact, told what that leaves to the device."""
        return self.decoder

    @abstractmethod
    def cost(self) -> dict[str, int | None]:
        """``parameters`` and ``macs``, None where it is not known."""

    def with_feature_map(self) -> Source:
        """The same source with its last feature map as a second output, for class activation maps.

        Raises
        ------
        UnsupportedError
            Its layers are not known.
        InputError
            Its head is not made for them.
        """
        raise UnsupportedError("class activation maps need a Keras model, whose last feature map is known")

    # -- what a search may ask for; a source without layers of its own has none of it ---------------------------------

    @property
    def trainable(self) -> bool:
        """Whether it can be trained for quantization."""
        return False

    @property
    def sixteen_bit(self) -> bool:
        """Whether int16 activations are worth a try."""
        return self.trainable

    @property
    def equalizable(self) -> bool:
        """Whether equalization would change anything."""
        return False

    def sensitivities(self, pixels: npt.NDArray[np.uint8], recipe: Recipe) -> dict[str, float]:
        """What quantizing one layer alone costs at the output, by the layer's name, most sensitive first."""
        return {}

    def train(
        self, plan: Plan, training: TrainingPictures, pixels: npt.NDArray[np.uint8], seed: int
    ) -> tuple[Recipe, str]:
        """Train for the integer arithmetic of the plan's format; the trained network's recipe, and a remark on it.

        Raises
        ------
        UnsupportedError
            It cannot be trained.
        """
        raise UnsupportedError("only a Keras model can be trained for quantization")

    def float_layers(self, plan: Plan, recipe: Recipe) -> tuple[str, ...]:
        """The layers with weights or coordinates that an integer artefact, once made, has in float."""
        return ()

    def advice(self, plan: Plan, recipe: Recipe) -> Sequence[Advice]:
        """What is known to cost accuracy in this network; of an artefact that was made, by the plan and the recipe."""
        return ()

    def layer_report(
        self,
        plan: Plan,
        artefact: Artefact,
        pixels: npt.NDArray[np.uint8],
        recipe: Recipe,
        sensitivities: Mapping[str, float] | None,
    ) -> list[dict[str, Any]]:
        """Each layer of an integer artefact against the float network; empty for other precisions."""
        return []

    # -- pictures ----------------------------------------------------------------------------------------------------

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

    def read_calibration(self, given: Any) -> CalibrationImages:
        """The pictures of ``calibration=``, in any form that it takes (see `load_calibration`)."""
        return load_calibration(given)

    def generated(self) -> Sequence[npt.NDArray[Any]]:
        """Pictures for the parity contract where none are given."""
        return contract_pictures(self.size)

    def pixels(self, images: Sequence[npt.NDArray[np.uint8]]) -> npt.NDArray[np.uint8]:
        """(N, H, W, C) uint8: the images as the device will resize them."""
        spec = self.input_spec
        empty = np.empty((0, *self.size, len(self.preprocessing.mean)), np.uint8)
        return np.concatenate([empty, *(preprocess(image, spec)[0] for image in images)])

    def normalize(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """``(pixel - mean) / std``, float32."""
        mean, std = (np.array(values, np.float32) for values in (self.preprocessing.mean, self.preprocessing.std))
        return (pixels.astype(np.float32) - mean) / std

    @property
    def classes(self) -> int:
        """How many numbers the first output has: classes of a classifier, the length of an embedder's vectors."""
        return int(self.outputs[0].shape[-1] or 0)

    def predict_pixels(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """(N, ...) float32: the first output for images that have the input size."""
        return self.answers(pixels)[0]

    def predict(self, images: Sequence[npt.NDArray[np.uint8]]) -> npt.NDArray[np.float32]:
        """(N, ...) float32: the first output for pictures of any size."""
        return self.predict_pixels(self.pixels(images))

    def expected(self, plan: Plan, images: Sequence[npt.NDArray[np.uint8]]) -> tuple[npt.NDArray[np.float32], ...]:
        """The model's values where the artefact will end, (N, ...) float32 for each output."""
        return self.answers(self.pixels(images))

    def rank(self, image: npt.NDArray[np.uint8]) -> list[int]:
        """The five best classes of one picture, best first."""
        return Classification.from_scores(self.predict([image])[0]).top(5).indices.tolist()
