"""A vector for a picture: faces, places, things to be found again."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from edgecv_runtime.decoders.base import Decoder, Outputs, only_output
from edgecv_runtime.decoders.parameters import Parameter, Parameters, read_parameters
from edgecv_runtime.errors import BundleError
from edgecv_runtime.manifest import Manifest
from edgecv_runtime.preprocess import Geometry
from edgecv_runtime.results import Embedding


class EmbeddingDecoder(Decoder):
    """(batch, D), or any shape with one dimension that is not 1; brought to length one."""

    task = "embedding"
    parameters_known: ClassVar[Parameters] = {"normalize": Parameter(True, "bring vectors to length one")}

    def __init__(self, manifest: Manifest) -> None:
        super().__init__(manifest)
        self.values = read_parameters(manifest.decoder.name, self.parameters_known, manifest.decoder.parameters)
        shape = manifest.outputs[only_output(manifest)].shape
        if len(shape) < 2 or sum(side != 1 for side in shape[1:]) > 1:
            raise BundleError(f"decoder 'embedding' reads (batch, D); the manifest says {list(shape)}")

    def decode(self, outputs: Outputs, geometry: Geometry) -> Embedding:
        vector = outputs[0].reshape(-1)
        length = float(np.sqrt(np.dot(vector, vector)))
        if self.values["normalize"] and length > 0:
            vector = vector / np.float32(length)
        return Embedding(vector)
