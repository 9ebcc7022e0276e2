"""One vector of class scores per image."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from edgecv_runtime.class_maps import ClassMaps, unpack_weights
from edgecv_runtime.decoders.base import Decoder, output_roles
from edgecv_runtime.errors import BundleError
from edgecv_runtime.manifest import Manifest
from edgecv_runtime.preprocess import Geometry
from edgecv_runtime.results import Classification

_ACTIVATIONS = ("none", "softmax", "sigmoid")


class ClassificationDecoder(Decoder):
    """Class scores to a ranking.

    Decoder parameters
    ------------------
    activation : {"none", "softmax", "sigmoid"}
        What the device applies to the output. Integer artefacts leave the softmax to it: rounding
        probabilities to 1/256 would tie classes that the logits still tell apart.
    outputs : {"scores": NAME, "features": NAME}
        Of an artefact that gives its last feature map, too: results then have class activation maps.
    weights : {"shape": [channels, classes], "float16": base64}
        Of the linear layer behind that map (`edgecv_runtime.class_maps.pack_weights`).
    """

    task = "classification"

    def __init__(self, manifest: Manifest) -> None:
        super().__init__(manifest)
        self.activation = self.parameters.get("activation", "none")
        unknown = sorted(set(self.parameters) - {"activation", "outputs", "weights"})
        if unknown or self.activation not in _ACTIVATIONS:
            raise BundleError(
                f"decoder 'classification' takes activation = {' | '.join(_ACTIVATIONS)}; "
                f"the manifest says {self.parameters!r:.80}"
            )
        self._scores, self._features = self._roles(manifest)
        shape = manifest.outputs[self._scores].shape
        if len(shape) < 2 or any(size not in (1, None) for size in shape[1:-1]):
            raise BundleError(f"a classification output must be (batch, classes); the manifest says {list(shape)}")
        classes = shape[-1]
        if self.labels is not None and classes is not None and len(self.labels) != classes:
            raise BundleError(f"there must be one label per class: {classes} classes, {len(self.labels)} labels")

    def _roles(self, manifest: Manifest) -> tuple[int, int | None]:
        """Which output holds the scores, and which the last feature map, if any.

        Raises
        ------
        BundleError
            Several outputs without a word on them, or a map that the class weights do not fit.
        """
        given = self.parameters.get("outputs")
        if given is None:
            if len(manifest.outputs) != 1:
                raise BundleError(
                    f"a classification model must have one output; the manifest names {len(manifest.outputs)}"
                )
            return 0, None
        roles = output_roles(manifest, given, ("scores", "features"))
        self._size = manifest.inputs[0].size
        shape, classes = (manifest.outputs[roles[role]].shape for role in ("features", "scores"))
        self._weights = unpack_weights(self.parameters.get("weights"))
        if len(shape) != 4 or (shape[3], classes[-1]) != self._weights.shape:
            raise BundleError(
                f"class weights must be (channels, classes) of the features and scores; the manifest says "
                f"{list(self._weights.shape)} for {list(shape)} and {list(classes)}"
            )
        return roles["scores"], roles["features"]

    def activate(self, outputs: Sequence[npt.NDArray[np.float32]]) -> list[npt.NDArray[np.float32]]:
        scores = outputs[self._scores]
        if self.activation == "softmax":
            # The ufuncs themselves: array.max() and .sum() run Python first, dear after an inference (cold caches).
            scores = scores - np.maximum.reduce(scores, axis=-1, keepdims=True)
            np.exp(scores, out=scores)
            scores /= np.add.reduce(scores, axis=-1, keepdims=True)
        elif self.activation == "sigmoid":
            scores = 0.5 * (1 + np.tanh(0.5 * scores))  # the logistic function, without overflow
        if self._features is None:
            return [scores]
        return [scores if index == self._scores else output for index, output in enumerate(outputs)]

    def decode(self, outputs: Sequence[npt.NDArray[np.float32]], geometry: Geometry) -> Classification:
        scores = outputs[self._scores].reshape(-1)
        if self.labels is not None and len(self.labels) != len(scores):  # the classes were dynamic in the manifest
            raise BundleError(f"there must be one label per class: {len(scores)} classes, {len(self.labels)} labels")
        maps = None
        if self._features is not None:
            maps = ClassMaps(outputs[self._features], self._weights, geometry, self._size)
        return Classification.from_scores(scores, self.labels, maps)
