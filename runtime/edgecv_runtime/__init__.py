"""edgecv on the device: load a bundle, feed it pictures, read results.

>>> import edgecv_runtime as ert
>>> model = ert.load("mobilenet_v2.edgecv")          # doctest: +SKIP
>>> model("photo.jpg").top(5)                        # doctest: +SKIP

Importing this package loads neither numpy nor an inference library; each name is resolved on first use.
"""

from __future__ import annotations

import importlib

from edgecv_runtime._version import __version__

TYPE_CHECKING = False  # as typing.TYPE_CHECKING, without the time that importing typing takes

if TYPE_CHECKING:
    from edgecv_runtime.augmented import AugmentedModel as AugmentedModel
    from edgecv_runtime.augmented import TiledModel as TiledModel
    from edgecv_runtime.augmented import tta as tta
    from edgecv_runtime.bundle import Bundle as Bundle
    from edgecv_runtime.comparison import compare as compare
    from edgecv_runtime.drawing import draw as draw
    from edgecv_runtime.errors import BackendError as BackendError
    from edgecv_runtime.errors import BundleError as BundleError
    from edgecv_runtime.errors import CheckFailedError as CheckFailedError
    from edgecv_runtime.errors import EdgecvError as EdgecvError
    from edgecv_runtime.errors import InputError as InputError
    from edgecv_runtime.errors import MissingFileError as MissingFileError
    from edgecv_runtime.errors import MissingPackageError as MissingPackageError
    from edgecv_runtime.errors import NewerFormatError as NewerFormatError
    from edgecv_runtime.errors import OutputError as OutputError
    from edgecv_runtime.errors import UnsupportedError as UnsupportedError
    from edgecv_runtime.faces.pipeline import Face as Face
    from edgecv_runtime.faces.pipeline import FacePipeline as FacePipeline
    from edgecv_runtime.gallery.gallery import Gallery as Gallery
    from edgecv_runtime.images import read_image as read_image
    from edgecv_runtime.model import Model as Model
    from edgecv_runtime.model import load as load
    from edgecv_runtime.parity import verify as verify
    from edgecv_runtime.pipeline import Pipeline as Pipeline
    from edgecv_runtime.results import Classification as Classification
    from edgecv_runtime.results import Detections as Detections
    from edgecv_runtime.results import Embedding as Embedding
    from edgecv_runtime.results import Pose as Pose
    from edgecv_runtime.results import Segmentation as Segmentation
    from edgecv_runtime.results_picture import Picture as Picture
    from edgecv_runtime.streams import Frame as Frame
    from edgecv_runtime.streams import Stream as Stream
    from edgecv_runtime.streams import open_stream as open_stream
    from edgecv_runtime.suppression import nms as nms
    from edgecv_runtime.suppression import suppress as suppress
    from edgecv_runtime.tracking import MotionGate as MotionGate
    from edgecv_runtime.tracking import Tracker as Tracker

_HOME = {
    "load": "model",
    "Model": "model",
    "Bundle": "bundle",
    "verify": "parity",
    "compare": "comparison",
    "Classification": "results",
    "Detections": "results",
    "Segmentation": "results",
    "Pose": "results",
    "Embedding": "results",
    "Picture": "results_picture",
    "nms": "suppression",
    "suppress": "suppression",
    "tta": "augmented",
    "AugmentedModel": "augmented",
    "TiledModel": "augmented",
    "Pipeline": "pipeline",
    "Tracker": "tracking",
    "MotionGate": "tracking",
    "draw": "drawing",
    "FacePipeline": "faces.pipeline",
    "Face": "faces.pipeline",
    "read_image": "images",
    "open_stream": "streams",
    "Stream": "streams",
    "Frame": "streams",
    "Gallery": "gallery.gallery",
    "EdgecvError": "errors",
    "InputError": "errors",
    "MissingFileError": "errors",
    "OutputError": "errors",
    "MissingPackageError": "errors",
    "UnsupportedError": "errors",
    "BundleError": "errors",
    "NewerFormatError": "errors",
    "BackendError": "errors",
    "CheckFailedError": "errors",
}

__all__ = ["__version__", *_HOME]


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'edgecv_runtime' has no attribute {name!r}")
    value: object = getattr(importlib.import_module(f"edgecv_runtime.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
