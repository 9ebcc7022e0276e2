"""Faces: from a picture to unit vectors, and from the frames of a stream to names.

Detector and embedder are bundles like any other; what lies between them is here: alignment, the quality gate, and the
vote of several frames.
"""

from edgecv_runtime.faces.alignment import BoxCrop
from edgecv_runtime.faces.pipeline import Face, FacePipeline
from edgecv_runtime.faces.quality import Gate, Quality, Rejection

__all__ = ["BoxCrop", "Face", "FacePipeline", "Gate", "Quality", "Rejection"]
