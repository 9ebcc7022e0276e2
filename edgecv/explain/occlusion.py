"""Occlusion: what a class loses when a part of the picture is covered (Zeiler & Fergus 2014, section 4.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from edgecv.explain.heatmap import Heatmap
from edgecv_runtime.errors import InputError

if TYPE_CHECKING:
    import keras

_BATCH = 32


def occlusion(
    model: keras.Model,
    inputs: Any,
    class_index: int | None = None,
    *,
    patch: int = 32,
    stride: int = 16,
    value: float = 0.0,
) -> Heatmap:
    """How much the model's output for a class falls while a square covers each place.

    Parameters
    ----------
    model : keras.Model
        Any with (N, H, W, C) in and (N, classes) out.
    inputs : (H, W, C) float32
    class_index : int, optional
        Default: the class with the highest output.
    patch, stride : int
        Side of the square and its steps, pixels. The last square is moved back to end with the picture.
    value : float
        What covers; 0 is mid-grey for a normalised input.

    Returns
    -------
    Heatmap
        Positive where covering hurts, negative where it helps; one value per place of the square.

    Raises
    ------
    InputError
        A square that does not fit, or another shape.
    """
    import keras

    image = np.asarray(inputs, np.float32)
    if image.ndim != 3:
        raise InputError(f"one input (H, W, C) is required; received shape {image.shape}")
    if not 0 < patch <= min(image.shape[:2]) or stride < 1:
        raise InputError(
            f"patch must be 1 to {min(image.shape[:2])} pixels and stride at least 1; received {patch} and {stride}"
        )

    def outputs(batch: Any) -> Any:
        return keras.ops.convert_to_numpy(model(batch, training=False))

    whole = outputs(image[None])[0]
    if whole.ndim != 1:
        raise InputError(f"the model must give (N, classes); its output is {(None, *whole.shape)}")
    chosen = int(whole.argmax()) if class_index is None else class_index
    if not 0 <= chosen < len(whole):
        raise InputError(f"class must be 0 to {len(whole) - 1}; received {class_index}")
    rows, columns = (_starts(length, patch, stride) for length in image.shape[:2])
    places = [(row, column) for row in rows for column in columns]
    losses: list[float] = []
    for first in range(0, len(places), _BATCH):
        part = places[first : first + _BATCH]
        batch = np.repeat(image[None], len(part), axis=0)
        for covered, (row, column) in zip(batch, part, strict=True):
            covered[row : row + patch, column : column + patch] = value
        losses += (whole[chosen] - outputs(batch)[:, chosen]).tolist()
    values = np.array(losses, np.float32).reshape(len(rows), len(columns))
    return Heatmap(values, chosen, float(whole[chosen]), "occlusion")


def _starts(length: int, patch: int, stride: int) -> list[int]:
    return sorted({*range(0, length - patch, stride), length - patch})
