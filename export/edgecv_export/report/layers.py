"""Where a network loses its accuracy: each layer of an artefact against the float network, on real activations.

The error that a layer shows is its own and that of all layers before it: a drop from one layer to the next points at
the layer, a low level alone does not. What a layer does by itself is its sensitivity, which is given from outside.

References
----------
Signal-to-quantization-noise ratio: Lin, Talathi & Annapureddy 2016, "Fixed Point Quantization of Deep Convolutional
Networks", section 3.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecv_export.formats.layer_names import scope_of
from edgecv_export.quantize.graph import Graph, Step
from edgecv_export.quantize.kernels import has_kernel
from edgecv_export.report.tensors import Exposed, expose
from edgecv_runtime.artefact import Artefact
from edgecv_runtime.backends import Backend, open_backend
from edgecv_runtime.errors import InputError
from edgecv_runtime.manifest import TensorSpec
from edgecv_runtime.preprocess import dequantize

_Values = npt.NDArray[np.float32]

# Decibels beyond these say no more: float32 itself reaches about 150.
LEAST_DB, MOST_DB = -100.0, 200.0

# Layers that move values and compute none: their error is that of their input.
_MOVING = frozenset(
    {
        "InputLayer", "Reshape", "Flatten", "Permute", "Dropout", "SpatialDropout2D", "Identity", "ZeroPadding2D",
        "Cropping2D",
    }
)  # fmt: skip


@dataclass(frozen=True)
class LayerError:
    """How far a layer's output in an artefact is from the float network's.

    Attributes
    ----------
    name : str
        The layer; of several that are computed together, the one with the kernel.
    kind : str
        Its class.
    layers : tuple of str
        All layers computed together, in order: the values compared are the last one's.
    sqnr_db : float in [-100, 200]
        Signal-to-quantization-noise ratio, ``10 log10(Σ x² / Σ (x - x̂)²)``; 200 where there is no error.
    cosine : float in [-1, 1]
        ``Σ x x̂ / sqrt(Σ x² · Σ x̂²)``.
    parameters : float in [0, 1]
        Share of the network's parameters.
    sensitivity : float or None
        What quantizing this layer alone costs at the output, as it was given.
    in_float : bool
        Whether the artefact keeps the layer in float, as it was given.
    """

    name: str
    kind: str
    layers: tuple[str, ...]
    sqnr_db: float
    cosine: float
    parameters: float
    sensitivity: float | None = None
    in_float: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {**asdict(self), "layers": list(self.layers)}


def layer_report(
    network: Any,
    artefact: Artefact,
    pixels: npt.NDArray[np.uint8],
    values: npt.NDArray[np.float32],
    *,
    sensitivities: Mapping[str, float] | None = None,
    float_layers: Collection[str] = (),
) -> tuple[LayerError, ...]:
    """Compare every layer whose output is a tensor of the artefact with the float network's.

    Parameters
    ----------
    network : keras.Model
        Functional, float, one input, one output, ending where the artefact ends, with the layers that the artefact
        has: batch norms folded, and channels equalized, where that was done before the conversion.
    artefact : Artefact
        With its manifest inside, so that it runs with the kernels that its precision calls for.
    pixels : (N, H, W, C) uint8
        The artefact's inputs; 8 or so will do.
    values : (N, H, W, C) float32
        The network's inputs for the same pictures.
    sensitivities : mapping of str to float, optional
        By layer name.
    float_layers : collection of str
        Names of the layers that the artefact keeps in float.

    Returns
    -------
    tuple of LayerError
        In order of computation.

    Raises
    ------
    InputError
        `pixels` and `values` are not as many, or none.
    BackendError
        The inference library refuses the artefact.
    """
    if len(pixels) != len(values) or not len(pixels):
        raise InputError(f"a layer report needs inputs for both networks; received {len(pixels)} and {len(values)}")
    graph = Graph(network)
    wanted = _wanted(graph)
    exposed = expose(artefact, {scope: type(step.layer).__name__ for scope, step in wanted.items()})
    manifest = artefact.manifest()
    found: dict[int, _Comparison] = {}
    with open_backend(exposed.artefact, manifest=manifest) as backend:
        reading = _Reading(backend, exposed, wanted, graph)
        for image, value in zip(pixels, values, strict=True):
            measured = reading.of(image)
            for tensor, reference in _float_outputs(graph, value):
                if tensor in measured:
                    found.setdefault(tensor, _Comparison()).add(reference, measured[tensor])
    steps = [step for step in graph.steps if step.outputs[0] in found and found[step.outputs[0]].fits]
    shown = {step.outputs[0] for step in steps}
    total = max(1, sum(_parameters(step.layer) for step in graph.steps))
    parts = {id(step): _parts(graph, step, shown) for step in steps}
    return tuple(
        _row(step, parts[id(step)], found[step.outputs[0]], total, sensitivities or {}, float_layers)
        for step in steps
        if any(not _is_moving(part) for part in parts[id(step)])
    )


def _wanted(graph: Graph) -> dict[str, Step]:
    """Each layer that computes something, by its scope."""
    return {
        scope_of(step.layer.name): step
        for step in graph.steps
        if not _is_moving(step) and len(step.outputs) == 1 and graph.calls(step.layer) == 1
    }


def _is_moving(step: Step) -> bool:
    return type(step.layer).__name__ in _MOVING


class _Reading:
    """Reads an artefact's tensors, by identity of the float network's."""

    def __init__(self, backend: Backend, exposed: Exposed, wanted: Mapping[str, Step], graph: Graph) -> None:
        self._backend = backend
        by_name = {name: wanted[scope].outputs[0] for scope, name in exposed.tensors.items()}
        self._places: list[tuple[int, int, TensorSpec]] = []
        for index, spec in enumerate(backend.outputs):
            # The artefact's own outputs come first.
            tensor = graph.outputs[index] if index < len(graph.outputs) else by_name.get(spec.name)
            if tensor is not None and (spec.quantization is not None or spec.dtype in ("float32", "float16")):
                self._places.append((tensor, index, spec))

    def of(self, image: npt.NDArray[np.uint8]) -> dict[int, _Values]:
        outputs = self._backend.infer([np.ascontiguousarray(image[None])])
        return {tensor: _real(outputs[index], spec) for tensor, index, spec in self._places}


def _real(values: npt.NDArray[Any], spec: TensorSpec) -> _Values:
    if spec.quantization is None:
        return values.astype(np.float32)
    return dequantize(values, spec.quantization.scale, spec.quantization.zero_point)


def _float_outputs(graph: Graph, value: _Values) -> Iterator[tuple[int, _Values]]:
    """Every tensor of the float network for one picture, as it is computed."""
    import keras

    values: dict[int, Any] = {graph.inputs[0]: keras.ops.convert_to_tensor(value[None])}
    last_use = {tensor: index for index, step in enumerate(graph.steps) for tensor in step.inputs}
    for index, step in enumerate(graph.steps):
        values |= zip(step.outputs, keras.tree.flatten(step.call(values)), strict=True)
        for tensor in step.outputs:
            yield tensor, keras.ops.convert_to_numpy(values[tensor])
        for tensor in step.inputs:
            if last_use[tensor] == index:
                values.pop(tensor, None)


class _Sums:
    """Σ x², Σ x̂² and Σ (x - x̂)² over pictures."""

    def __init__(self) -> None:
        self.signal = self.power = self.noise = 0.0

    def add(self, reference: _Values, measured: _Values) -> None:
        x, y = reference.reshape(-1), measured.reshape(-1)
        self.signal += _squares(x)
        self.power += _squares(y)
        self.noise += _squares(x - y)

    @property
    def sqnr_db(self) -> float:
        if self.noise == 0:
            return MOST_DB
        if self.signal == 0:
            return LEAST_DB
        return float(np.clip(10 * math.log10(self.signal / self.noise), LEAST_DB, MOST_DB))

    @property
    def cosine(self) -> float:
        length = math.sqrt(self.signal * self.power)
        if length == 0:
            return 1.0 if self.noise == 0 else 0.0
        product = (self.signal + self.power - self.noise) / 2  # Σ x x̂
        return float(np.clip(product / length, -1.0, 1.0))


def _squares(values: _Values) -> float:
    """Σ x² in float64; not by BLAS, whose threads cost more than they gain on vectors."""
    return float(np.einsum("i,i->", values, values, dtype=np.float64))


class _Comparison:
    """A layer's values in both networks, in each layout that fits.

    Shapes tell channels first from channels last but where height, width and channels are equal; there the closer
    layout is the right one.
    """

    def __init__(self) -> None:
        self._by_layout: dict[str, _Sums] = {}

    def add(self, reference: _Values, measured: _Values) -> None:
        for layout, values in layouts(measured, reference.shape).items():
            self._by_layout.setdefault(layout, _Sums()).add(reference, values)

    @property
    def fits(self) -> bool:
        return bool(self._by_layout)

    @property
    def best(self) -> _Sums:
        return min(self._by_layout.values(), key=lambda sums: sums.noise)


def layouts(values: _Values, shape: tuple[int, ...]) -> dict[str, _Values]:
    """The values in `shape`, read as channels last and as channels first, where they fit but for axes of one."""

    def bare(sizes: tuple[int, ...]) -> list[int]:
        return [size for size in sizes if size != 1]

    moved = np.moveaxis(values, 1, -1) if values.ndim > 2 else values
    found = {"last": values, "first": moved}
    return {name: array.reshape(shape) for name, array in found.items() if bare(array.shape) == bare(shape)}


def _parts(graph: Graph, step: Step, shown: Collection[int]) -> tuple[Step, ...]:
    """A step, and the steps before it whose values the artefact computes together with its own: up to a kernel."""
    parts = [step]
    while not has_kernel(parts[-1].layer):
        first = parts[-1]
        before = graph.producer(first.inputs[0]) if len(first.inputs) == 1 else None
        if before is None or before.outputs[0] in shown or graph.only_consumer(before.outputs[0]) is not first:
            return (step,)
        parts.append(before)
    return tuple(reversed(parts))


def _parameters(layer: Any) -> int:
    return int(layer.count_params()) if hasattr(layer, "count_params") else 0


def _row(
    step: Step,
    parts: tuple[Step, ...],
    comparison: _Comparison,
    total: int,
    sensitivities: Mapping[str, float],
    float_layers: Collection[str],
) -> LayerError:
    main = next((part for part in parts if has_kernel(part.layer)), step).layer
    names = tuple(part.layer.name for part in parts)
    return LayerError(
        name=main.name,
        kind=type(main).__name__,
        layers=names,
        sqnr_db=comparison.best.sqnr_db,
        cosine=comparison.best.cosine,
        parameters=sum(_parameters(part.layer) for part in parts) / total,
        sensitivity=next((sensitivities[name] for name in names if name in sensitivities), None),
        in_float=not set(names).isdisjoint(float_layers),
    )
