"""Edge filters with fixed weights: Prewitt, Sobel, Scharr; vertical edges, horizontal edges, or their magnitude.

They are ordinary depthwise convolutions and are exported and quantized like any other.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from edgecv_runtime.errors import InputError

_PACKAGE = "edgecv"

# What lies along the edge: a vertical edge is the difference of the columns, smoothed by these over the rows.
SMOOTHING = {"prewitt": (1.0, 1.0, 1.0), "sobel": (1.0, 2.0, 1.0), "scharr": (3.0, 10.0, 3.0)}
DIRECTIONS = ("vertical", "horizontal", "magnitude")


def edge_kernel(operator: str = "sobel", direction: str = "vertical") -> Any:
    """The 3×3 weights; a picture that is brighter on the left (or above) gives positive values.

    Parameters
    ----------
    operator : {"prewitt", "sobel", "scharr"}
    direction : {"vertical", "horizontal"}
        Of the edges that are found.

    Returns
    -------
    (3, 3) float32

    Raises
    ------
    InputError
        Another operator or direction.

    Examples
    --------
    >>> edge_kernel("sobel", "vertical").tolist()
    [[1.0, 0.0, -1.0], [2.0, 0.0, -2.0], [1.0, 0.0, -1.0]]
    """
    if operator not in SMOOTHING:
        raise InputError(f"operator must be one of {', '.join(SMOOTHING)}; received {operator!r}")
    if direction not in DIRECTIONS[:2]:
        raise InputError(f"direction must be vertical or horizontal; received {direction!r}")
    kernel = np.outer(SMOOTHING[operator], (1.0, 0.0, -1.0)).astype(np.float32)
    return kernel if direction == "vertical" else np.ascontiguousarray(kernel.T)


@keras.saving.register_keras_serializable(package=_PACKAGE)
class EdgeKernel(keras.initializers.Initializer):
    """`edge_kernel` for every channel of a depthwise convolution, divided by `scale`."""

    def __init__(self, operator: str = "sobel", direction: str = "vertical", scale: float = 1.0) -> None:
        self.kernel = edge_kernel(operator, direction)
        self.operator, self.direction, self.scale = operator, direction, scale

    def __call__(self, shape: Any, dtype: Any = None) -> Any:
        values = np.broadcast_to(self.kernel[:, :, None, None] / self.scale, tuple(shape))
        return keras.ops.convert_to_tensor(np.ascontiguousarray(values), dtype=dtype or "float32")

    def get_config(self) -> dict[str, Any]:
        return {"operator": self.operator, "direction": self.direction, "scale": self.scale}


def edge_filter(
    x: Any,
    operator: str = "sobel",
    direction: str = "magnitude",
    *,
    padding: str = "same",
    normalize: bool = False,
    name: str = "edges",
) -> Any:
    """Edges of every channel of a map.

    Parameters
    ----------
    x : (N, H, W, C) tensor
    operator : {"prewitt", "sobel", "scharr"}
    direction : {"vertical", "horizontal", "magnitude"}
        Magnitude is √(g_x² + g_y²).
    padding : {"same", "valid"}
    normalize : bool
        Divide by the sum of the positive weights: a step of height h then gives h.
    name : str
        What the names of the layers begin with.

    Returns
    -------
    (N, H', W', C) tensor

    Raises
    ------
    InputError
        Another operator or direction.

    Notes
    -----
    The gradient of the root is infinite where the picture is flat: do not train layers before a magnitude.
    """
    layers = keras.layers
    if direction not in DIRECTIONS:
        raise InputError(f"direction must be one of {', '.join(DIRECTIONS)}; received {direction!r}")
    wanted = DIRECTIONS[:2] if direction == "magnitude" else (direction,)
    scale = float(sum(SMOOTHING.get(operator, ()))) if normalize else 1.0
    found = [
        layers.DepthwiseConv2D(
            3,
            padding=padding,
            use_bias=False,
            depthwise_initializer=EdgeKernel(operator, each, scale),
            trainable=False,
            name=f"{name}_{each}",
        )(x)
        for each in wanted
    ]
    if len(found) == 1:
        return found[0]
    squares = [
        layers.Multiply(name=f"{name}_{each}_squared")([map, map]) for each, map in zip(wanted, found, strict=True)
    ]
    return keras.ops.sqrt(layers.Add(name=f"{name}_sum")(squares))
