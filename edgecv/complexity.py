"""What a network costs, layer by layer: parameters, multiply-accumulates, activation memory, receptive field."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from edgecv.receptive_field import ReceptiveField, Step, fields_of, flat, kind_of, shape_of, steps_of

if TYPE_CHECKING:
    import keras

_FLOAT32 = 4  # bytes


@dataclass(frozen=True)
class LayerCost:
    """One row of the table.

    Attributes
    ----------
    name, type : str
    output_shape : tuple of int
        Without the batch dimension.
    parameters : int
        Trainable or not. A layer that is used twice is counted at its first use.
    macs : int
        Multiply-accumulates for one image, of convolutions and dense layers; bias, normalisation, activation
        and pooling are not counted, as in the papers.
    activation_bytes : int
        Of the output, in float32.
    receptive_field : ReceptiveField or None
        None after a layer that mixes all positions, or one whose reach is not known.
    """

    name: str
    type: str
    output_shape: tuple[int, ...]
    parameters: int
    macs: int
    activation_bytes: int
    receptive_field: ReceptiveField | None


@dataclass(frozen=True)
class Complexity:
    """The cost of a network for one image.

    Attributes
    ----------
    layers : tuple of LayerCost, in the order of execution
    parameters, trainable_parameters : int
    macs : int
    peak_activation_bytes : int
        Most float32 activation memory alive at once, if every layer writes a new tensor and each is freed
        after its last use: an upper bound for a runtime that fuses layers.
    peak_layer : str
        Where that is.
    receptive_field : ReceptiveField or None
        Of the last feature map that has one.
    """

    layers: tuple[LayerCost, ...]
    parameters: int
    trainable_parameters: int
    macs: int
    peak_activation_bytes: int
    peak_layer: str
    receptive_field: ReceptiveField | None

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


def complexity(model: keras.Model) -> Complexity:
    """Measure a functional (or sequential) Keras model without running it.

    Receptive fields are those of `edgecv.receptive_field`.

    Parameters
    ----------
    model : keras.Model
        Built, with a fixed input height and width.

    Returns
    -------
    Complexity

    Raises
    ------
    InputError
        The model is not a graph of layers, or a size of it is not fixed.

    Examples
    --------
    >>> import keras
    >>> image = keras.Input((8, 8, 3))
    >>> complexity(keras.Model(image, keras.layers.Conv2D(4, 3)(image))).macs  # 6 · 6 · 4 · 3 · 3 · 3
    3888
    """
    steps = list(steps_of(model))
    times = _rows_of_a_picture(steps)
    rows: list[LayerCost] = []
    counted: set[int] = set()
    for step, field in zip(steps, fields_of(steps), strict=True):
        shapes = [shape_of(tensor) for tensor in step.outputs]
        many = times[id(step.outputs[0])]
        rows.append(
            LayerCost(
                name=step.name,
                type=type(step.layer).__name__,
                output_shape=shapes[0],
                parameters=0 if id(step.layer) in counted else _parameters(step.layer),
                macs=_macs(step) * many,
                activation_bytes=sum(math.prod(shape) for shape in shapes) * _FLOAT32 * many,
                receptive_field=field,
            )
        )
        counted.add(id(step.layer))
    peak, where = _peak(steps, {id(tensor) for tensor in flat(model.outputs)}, times)
    return Complexity(
        layers=tuple(rows),
        parameters=int(model.count_params()),
        trainable_parameters=sum(math.prod(weight.shape) for weight in model.trainable_weights),
        macs=sum(row.macs for row in rows),
        peak_activation_bytes=peak,
        peak_layer=where,
        receptive_field=next((row.receptive_field for row in reversed(rows) if row.receptive_field is not None), None),
    )


# -- parameters and memory -----------------------------------------------------------------------------


def _parameters(layer: Any) -> int:
    return int(layer.count_params()) if getattr(layer, "built", False) and hasattr(layer, "count_params") else 0


def _rows_of_a_picture(steps: Sequence[Step]) -> dict[int, int]:
    """How many rows of each tensor's batch belong to one picture: behind the pooling of regions, as many as regions.

    Layers that change the number say so by a method ``rows_of_a_picture``.
    """
    times: dict[int, int] = {}
    for step in steps:
        change = getattr(step.layer, "rows_of_a_picture", None)
        if change is None:
            many = max((times.get(id(tensor), 1) for tensor in step.inputs), default=1)
        else:
            many = change([tuple(tensor.shape) for tensor in step.inputs])
        times.update((id(tensor), many) for tensor in step.outputs)
    return times


def _peak(steps: Sequence[Step], kept: set[int], times: Mapping[int, int]) -> tuple[int, str]:
    """Largest sum of live tensors over the execution, bytes, and the layer at which it occurs."""
    last_use = {id(tensor): index for index, step in enumerate(steps) for tensor in step.inputs}
    sizes: dict[int, int] = {}
    peak, where = 0, ""
    for index, step in enumerate(steps):
        sizes.update((id(t), math.prod(shape_of(t)) * _FLOAT32 * times[id(t)]) for t in step.outputs)
        alive = sum(sizes.values())
        if alive > peak:
            peak, where = alive, step.name
        for key in [key for key in sizes if last_use.get(key, -1) <= index and key not in kept]:
            del sizes[key]
    return peak, where


# -- multiply-accumulates ------------------------------------------------------------------------------


def _macs(step: Step) -> int:
    """Of one use of a layer, for one image."""
    layer, kind = step.layer, kind_of(step.layer)
    if kind in ("Functional", "Sequential", "Model"):
        return complexity(layer).macs
    if kind != "Dense" and "Conv" not in kind:
        return 0
    source, result = shape_of(step.inputs[0]), shape_of(step.outputs[0])
    if kind == "Dense":
        return math.prod(result) * source[-1]
    if kind.startswith("SeparableConv"):
        spread = source[-1] * layer.depth_multiplier
        return math.prod(result[:-1]) * (math.prod(layer.kernel_size) * spread + spread * result[-1])
    window = math.prod(layer.kernel_size)
    if kind.startswith("DepthwiseConv"):
        return math.prod(result) * window
    if kind.endswith("Transpose"):
        return math.prod(source) * window * result[-1]
    return math.prod(result) * window * (source[-1] // layer.groups)
