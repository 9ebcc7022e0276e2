"""The ranges that quantization-aware training begins with, from the float network's values on some images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgecv_export.quantize.affine import FloatArray, Range
from edgecv_export.quantize.aware.fake_quantize import levels
from edgecv_export.quantize.aware.stored import stored_layers
from edgecv_export.quantize.graph import Graph
from edgecv_export.quantize.simulate import as_array, as_tensor, flat
from edgecv_runtime.progress import Progress

_SAMPLE = 100_000  # values of a tensor that its range is estimated from

# How far a range is shrunk in search of the least error, as fractions of the min-max range.
_FRACTIONS = np.linspace(0.1, 1.0, 91)


@dataclass(frozen=True)
class Calibrated:
    """What is known of one stored tensor.

    Attributes
    ----------
    range : Range
        With the least squared error at the bits asked for.
    image_width : float
        Mean width between the extremes of one image.
    """

    range: Range
    image_width: float

    @property
    def share(self) -> float:
        """Width of the range over that of an image."""
        return (self.range.high - self.range.low) / max(self.image_width, 1e-8)


def calibrate(
    model: Any, images: FloatArray, *, bits: int = 8, batch: int = 16, seed: int = 0
) -> dict[str, Calibrated]:
    """Ranges of every stored tensor.

    Parameters
    ----------
    model : keras.Model
        Functional, as `insert.prepare` quantizes it.
    images : (N, ...) float32
        As the model takes them.
    bits : int
        Of the grid.
    batch : int
        Images that are run at once.
    seed : int
        For the sample of each tensor.

    Returns
    -------
    dict
        By name of the layer that gives the tensor; a layer called twice has one range for both.
    """
    generator = np.random.default_rng(seed)
    samples: dict[str, list[FloatArray]] = {}
    widths: dict[str, list[float]] = {}
    starts = range(0, len(images), batch)
    per_batch = max(1, _SAMPLE // len(starts))
    graph = Graph(model)
    with Progress(len(starts), "calibrating ranges", "batches") as bar:
        for start in starts:
            for name, tensor in _stored_values(graph, images[start : start + batch]):
                values = tensor.reshape(len(tensor), -1)
                low, high = np.minimum(values.min(axis=1), 0), np.maximum(values.max(axis=1), 0)
                widths.setdefault(name, []).extend((high - low).tolist())
                flat = values.reshape(-1)
                part = generator.choice(flat, per_batch) if flat.size > per_batch else flat
                # The extremes stay in the sample: a search of ranges begins with them.
                samples.setdefault(name, []).append(np.append(part, [low.min(), high.max()]).astype(np.float32))
            bar.advance()
    return {
        name: Calibrated(best_range(np.concatenate(parts), bits), float(np.mean(widths[name])))
        for name, parts in samples.items()
    }


def best_range(values: FloatArray, bits: int) -> Range:
    """The range with the least mean squared error on a grid of `bits` bits; both ends shrink by one factor.

    The estimators of `ranges` are for 8 bits; with fewer levels, much narrower ranges are best.
    """
    full = Range(float(values.min()), float(values.max()))
    errors = [_squared_error(values, full, fraction, bits) for fraction in _FRACTIONS]
    best = float(_FRACTIONS[int(np.argmin(errors))])
    return Range(full.low * best, full.high * best)


def _squared_error(values: FloatArray, full: Range, fraction: float, bits: int) -> float:
    scale = np.float32((full.high - full.low) * fraction / levels(bits))
    zero_point = np.rint(np.float32(-full.low * fraction) / scale)
    rounded = (np.clip(np.rint(values / scale) + zero_point, 0, levels(bits)) - zero_point) * scale
    return float(np.mean((rounded - values) ** 2, dtype=np.float64))


def _stored_values(graph: Graph, images: FloatArray) -> Iterator[tuple[str, FloatArray]]:
    """(layer name, values) of every stored tensor for one batch, in the order of computation."""
    stored = stored_layers(graph)
    pending = Counter(tensor for step in graph.steps for tensor in step.inputs)
    values: dict[int, Any] = {graph.inputs[0]: as_tensor(images)}
    for step in graph.steps:
        for tensor, value in zip(step.outputs, flat(step.call(values)), strict=True):
            values[tensor] = value
            if tensor in stored:
                yield stored[tensor], as_array(value)
        for tensor in step.inputs:
            pending[tensor] -= 1
            if not pending[tensor]:
                values.pop(tensor, None)
