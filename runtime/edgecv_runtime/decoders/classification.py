"""One vector of class scores per image."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from edgecv_runtime.decoders.base import Decoder
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
    """

    task = "classification"

    def __init__(self, manifest: Manifest) -> None:
        super().__init__(manifest)
        self.activation = self.parameters.get("activation", "none")
        unknown = sorted(set(self.parameters) - {"activation"})
        if unknown or self.activation not in _ACTIVATIONS:
            raise BundleError(
                f"decoder 'classification' takes activation = {' | '.join(_ACTIVATIONS)}; "
                f"the manifest says {self.parameters!r:.80}"
            )
        if len(manifest.outputs) != 1:
            raise BundleError(
                f"a classification model must have one output; the manifest names {len(manifest.outputs)}"
            )
        shape = manifest.outputs[0].shape
        if len(shape) < 2 or any(size not in (1, None) for size in shape[1:-1]):
            raise BundleError(f"a classification output must be (batch, classes); the manifest says {list(shape)}")
        classes = shape[-1]
        if self.labels is not None and classes is not None and len(self.labels) != classes:
            raise BundleError(f"there must be one label per class: {classes} classes, {len(self.labels)} labels")

    def activate(self, outputs: Sequence[npt.NDArray[np.float32]]) -> list[npt.NDArray[np.float32]]:
        scores = outputs[0]
        if self.activation == "softmax":
            # The ufuncs themselves: array.max() and .sum() run Python first, dear after an inference (cold caches).
            scores = scores - np.maximum.reduce(scores, axis=-1, keepdims=True)
            np.exp(scores, out=scores)
            scores /= np.add.reduce(scores, axis=-1, keepdims=True)
        elif self.activation == "sigmoid":
            scores = 0.5 * (1 + np.tanh(0.5 * scores))  # the logistic function, without overflow
        return [scores]

    def decode(self, outputs: Sequence[npt.NDArray[np.float32]], geometry: Geometry) -> Classification:
        scores = outputs[0].reshape(-1)
        if self.labels is not None and len(self.labels) != len(scores):  # the classes were dynamic in the manifest
            raise BundleError(f"there must be one label per class: {len(scores)} classes, {len(self.labels)} labels")
        return Classification.from_scores(scores, self.labels)
