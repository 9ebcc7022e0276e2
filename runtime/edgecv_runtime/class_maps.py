"""Class activation maps without a gradient: the last feature map, weighed by what its averages count for a class.

M_c(x, y) = Σ_k w_k^c f_k(x, y) (Zhou et al. 2016, "Learning Deep Features for Discriminative Localization", eq. 2).
"""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecv_runtime.decoders.places import interpolated
from edgecv_runtime.errors import BundleError
from edgecv_runtime.preprocess import Geometry


@dataclass(frozen=True, eq=False)
class ClassMaps:
    """What the maps of one picture are made of.

    Attributes
    ----------
    features : (h, w, C) float32
        The map before global average pooling.
    weights : (C, classes) float16
        Of the linear layer behind it.
    geometry : Geometry
    size : (height, width) of the input, pixels
    """

    features: npt.NDArray[np.float32]
    weights: npt.NDArray[np.float16]
    geometry: Geometry
    size: tuple[int, int]

    def map_of(self, class_index: int) -> npt.NDArray[np.float32]:
        """(h, w): the class's map as it is; its mean is the class's score up to the bias."""
        mapped: npt.NDArray[np.float32] = self.features @ self.weights[:, class_index].astype(np.float32)
        return mapped

    def in_source(self, class_index: int) -> npt.NDArray[np.float32]:
        """(H, W): the map at every pixel of the source image, linear between the middles of its places."""
        return interpolated(self.map_of(class_index), self.geometry, self.size)


def pack_weights(weights: npt.NDArray[Any]) -> dict[str, Any]:
    """(C, classes) weights as plain JSON values: float16, little-endian, base64."""
    packed = np.ascontiguousarray(weights, "<f2")
    return {"shape": list(packed.shape), "float16": base64.b64encode(packed.tobytes()).decode()}


def unpack_weights(packed: Any) -> npt.NDArray[np.float16]:
    """The weights of `pack_weights`.

    Raises
    ------
    BundleError
        They are not in that form.
    """
    try:
        if not isinstance(packed, Mapping) or set(packed) != {"shape", "float16"}:
            raise ValueError("an object with shape and float16 is required")
        channels, classes = packed["shape"]
        if any(not isinstance(size, int) or isinstance(size, bool) or size < 1 for size in (channels, classes)):
            raise ValueError("the shape must be two positive numbers")
        content = base64.b64decode(packed["float16"], validate=True)
        if len(content) != 2 * math.prod((channels, classes)):
            raise ValueError(f"{channels} x {classes} weights take {2 * channels * classes} bytes")
        return np.frombuffer(content, "<f2").reshape(channels, classes)
    except (ValueError, TypeError, binascii.Error) as error:
        raise BundleError(f"the class weights of decoder 'classification' are damaged: {error}") from None
