"""Class scores of what is no picture: signals, volumes, clips."""

from __future__ import annotations

from typing import ClassVar

from edgecv_runtime.decoders.classification import ClassificationDecoder
from edgecv_runtime.errors import BundleError
from edgecv_runtime.manifest import Manifest


class SignalDecoder(ClassificationDecoder):
    """As `ClassificationDecoder`, for a model that takes signals; without class activation maps."""

    task = "signal-classification"
    layout: ClassVar[str] = "NWC"

    def __init__(self, manifest: Manifest) -> None:
        if manifest.inputs[0].layout != self.layout:
            raise BundleError(
                f"decoder {self.task!r} is for inputs of layout {self.layout}; the manifest says "
                f"{manifest.inputs[0].layout}"
            )
        if "outputs" in manifest.decoder.parameters:
            raise BundleError(f"class activation maps are of pictures; decoder {self.task!r} takes no 'outputs'")
        super().__init__(manifest)


class VolumeDecoder(SignalDecoder):
    """The same for volumes and clips."""

    task = "volume-classification"
    layout = "NDHWC"
