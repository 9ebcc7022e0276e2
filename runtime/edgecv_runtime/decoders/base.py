"""What a decoder must do, and how the manifest's name leads to one."""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from edgecv_runtime.errors import BundleError
from edgecv_runtime.manifest import Manifest
from edgecv_runtime.preprocess import Geometry

# Decoder name -> "module:class". Each family adds its line.
_DECODERS = {"classification": "edgecv_runtime.decoders.classification:ClassificationDecoder"}


class Decoder(ABC):
    """Turns the outputs of one image into a result.

    Parameters
    ----------
    manifest : Manifest
        Its `decoder.parameters` are checked here, once, when the model is loaded.
    """

    task: ClassVar[str]

    def __init__(self, manifest: Manifest) -> None:
        self.labels = manifest.labels
        self.parameters = dict(manifest.decoder.parameters)

    @abstractmethod
    def activate(self, outputs: Sequence[npt.NDArray[np.float32]]) -> list[npt.NDArray[np.float32]]:
        """Finish what the artefact left out (a softmax, say), so that outputs compare with the source model's."""

    @abstractmethod
    def decode(self, outputs: Sequence[npt.NDArray[np.float32]], geometry: Geometry) -> Any:
        """The result for one image from its activated outputs, without the batch dimension."""


def make_decoder(manifest: Manifest) -> Decoder:
    """The decoder that a manifest names.

    Raises
    ------
    BundleError
        Unknown name, or parameters it does not take.
    """
    name = manifest.decoder.name
    if name not in _DECODERS:
        raise BundleError(f"decoder must be one of {', '.join(sorted(_DECODERS))}; the manifest says {name!r}")
    module, _, attribute = _DECODERS[name].partition(":")
    decoder: Decoder = getattr(importlib.import_module(module), attribute)(manifest)
    return decoder
