"""What a network costs, layer by layer: parameters, multiply-accumulates, activation memory, receptive field."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from edgecv_runtime.errors import InputError

if TYPE_CHECKING:
    import keras

_FLOAT32 = 4  # bytes


@dataclass(frozen=True)
class ReceptiveField:
    """The input pixels that one position of a feature map depends on (Araujo et al. 2019).

    Attributes
    ----------
    size : (height, width), pixels
        Not cut to the image: with padding it may be larger.
    stride : (height, width), pixels
        Distance between the fields of neighbouring positions.
    center : (y, x), pixels
        Middle of the field of position (0, 0); pixel 0 has its middle at 0.
    """

    size: tuple[float, float]
    stride: tuple[float, float]
    center: tuple[float, float]


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

    The receptive field is that of the path that reaches farthest. Gates on a global average
    (squeeze-and-excitation) see the whole image; they weigh channels and are left out of it, as usual.

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
    steps = list(_steps(model))
    fields: dict[int, ReceptiveField | None] = {}
    rows: list[LayerCost] = []
    counted: set[int] = set()
    for step in steps:
        shapes = [_shape(tensor) for tensor in step.outputs]
        field = _field(step, [fields.get(id(tensor)) for tensor in step.inputs])
        fields.update((id(tensor), field) for tensor in step.outputs)
        rows.append(
            LayerCost(
                name=step.name,
                type=type(step.layer).__name__,
                output_shape=shapes[0],
                parameters=0 if id(step.layer) in counted else _parameters(step.layer),
                macs=_macs(step),
                activation_bytes=sum(math.prod(shape) for shape in shapes) * _FLOAT32,
                receptive_field=field,
            )
        )
        counted.add(id(step.layer))
    peak, where = _peak(steps, {id(tensor) for tensor in _flat(model.outputs)})
    return Complexity(
        layers=tuple(rows),
        parameters=int(model.count_params()),
        trainable_parameters=sum(math.prod(weight.shape) for weight in model.trainable_weights),
        macs=sum(row.macs for row in rows),
        peak_activation_bytes=peak,
        peak_layer=where,
        receptive_field=next((row.receptive_field for row in reversed(rows) if row.receptive_field is not None), None),
    )


# -- the graph -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Step:
    """One use of a layer."""

    name: str
    layer: Any
    inputs: tuple[Any, ...]
    outputs: tuple[Any, ...]


def _steps(model: Any) -> Iterator[_Step]:
    """Uses of layers in the order of execution."""
    nodes_by_depth = getattr(model, "_nodes_by_depth", None)
    if nodes_by_depth is None and hasattr(model, "_functional"):
        nodes_by_depth = getattr(model._functional, "_nodes_by_depth", None)  # a built Sequential
    if nodes_by_depth is None:
        raise InputError(
            f"a functional Keras model is required, built on a fixed input shape; received {type(model).__name__}"
        )
    for depth in sorted(nodes_by_depth, reverse=True):
        for node in nodes_by_depth[depth]:
            layer = node.operation
            yield _Step(layer.name, layer, tuple(_flat(node.input_tensors)), tuple(_flat(node.outputs)))


def _flat(tensors: Any) -> list[Any]:
    if isinstance(tensors, Mapping):
        return [item for value in tensors.values() for item in _flat(value)]
    if isinstance(tensors, Sequence):
        return [item for value in tensors for item in _flat(value)]
    return [tensors]


def _shape(tensor: Any) -> tuple[int, ...]:
    shape = tuple(tensor.shape[1:])
    if any(size is None for size in shape):
        raise InputError(
            f"every size must be fixed but the batch; received shape {tuple(tensor.shape)}: pass an input_shape"
        )
    return shape


def _parameters(layer: Any) -> int:
    return int(layer.count_params()) if getattr(layer, "built", False) and hasattr(layer, "count_params") else 0


def _peak(steps: Sequence[_Step], kept: set[int]) -> tuple[int, str]:
    """Largest sum of live tensors over the execution, bytes, and the layer at which it occurs."""
    last_use = {id(tensor): index for index, step in enumerate(steps) for tensor in step.inputs}
    sizes: dict[int, int] = {}
    peak, where = 0, ""
    for index, step in enumerate(steps):
        sizes.update((id(tensor), math.prod(_shape(tensor)) * _FLOAT32) for tensor in step.outputs)
        alive = sum(sizes.values())
        if alive > peak:
            peak, where = alive, step.name
        for key in [key for key in sizes if last_use.get(key, -1) <= index and key not in kept]:
            del sizes[key]
    return peak, where


# -- multiply-accumulates ------------------------------------------------------------------------------


def _macs(step: _Step) -> int:
    """Of one use of a layer, for one image."""
    layer, kind = step.layer, type(step.layer).__name__
    if kind in ("Functional", "Sequential", "Model"):
        return complexity(layer).macs
    if kind not in ("Conv1D", "Conv2D", "Conv3D", "Conv2DTranspose", "DepthwiseConv2D", "SeparableConv2D", "Dense"):
        return 0
    source, result = _shape(step.inputs[0]), _shape(step.outputs[0])
    if kind == "Dense":
        return math.prod(result) * source[-1]
    if kind == "SeparableConv2D":
        spread = source[-1] * layer.depth_multiplier
        return math.prod(result[:-1]) * (math.prod(layer.kernel_size) * spread + spread * result[-1])
    window = math.prod(layer.kernel_size)
    if kind == "DepthwiseConv2D":
        return math.prod(result) * window
    if kind == "Conv2DTranspose":
        return math.prod(source) * window * result[-1]
    return math.prod(result) * window * (source[-1] // layer.groups)


# -- receptive field -----------------------------------------------------------------------------------

_WINDOWED = (
    "Conv2D",
    "DepthwiseConv2D",
    "SeparableConv2D",
    "MaxPooling2D",
    "AveragePooling2D",
)

# Layers that treat every position alone, or only move, cut or join whole maps.
_POINTWISE = (
    "Activation",
    "ActivityRegularization",
    "Add",
    "Average",
    "BatchNormalization",
    "Concatenate",
    "Dropout",
    "ELU",
    "GaussianNoise",
    "Identity",
    "LeakyReLU",
    "Maximum",
    "Minimum",
    "Multiply",
    "Normalization",
    "PReLU",
    "ReLU",
    "Rescaling",
    "Softmax",
    "SpatialDropout2D",
    "Subtract",
)


def _field(step: _Step, sources: list[ReceptiveField | None]) -> ReceptiveField | None:
    """Receptive field of a step's output; None where there is none to speak of."""
    kind = type(step.layer).__name__
    if kind == "InputLayer":
        return ReceptiveField((1.0, 1.0), (1.0, 1.0), (0.0, 0.0)) if len(_shape(step.outputs[0])) == 3 else None
    known = [source for source in sources if source is not None]
    if not known or len(_shape(step.outputs[0])) != 3:
        return None
    farthest = max(known, key=lambda source: source.size)
    if kind in _POINTWISE:
        return farthest
    if kind in _WINDOWED:
        return _windowed(step, farthest)
    if kind == "ZeroPadding2D":
        before = [pair[0] for pair in step.layer.padding]
        return _shifted(farthest, (-before[0], -before[1]))
    if kind == "Cropping2D":
        before = [pair[0] for pair in step.layer.cropping]
        return _shifted(farthest, (before[0], before[1]))
    return None


def _shifted(field: ReceptiveField, steps: tuple[int, int]) -> ReceptiveField:
    center = tuple(
        middle + step * stride for middle, step, stride in zip(field.center, steps, field.stride, strict=True)
    )
    return ReceptiveField(field.size, field.stride, (center[0], center[1]))


def _windowed(step: _Step, field: ReceptiveField) -> ReceptiveField:
    """Araujo et al. 2019, equations 1 to 4, for each of the two axes."""
    layer = step.layer
    pooling = hasattr(layer, "pool_size")
    windows = layer.pool_size if pooling else layer.kernel_size
    dilations = (1, 1) if pooling else layer.dilation_rate
    lengths = _shape(step.inputs[0])[:2]
    sizes, strides, centers = [], [], []
    for axis in range(2):
        window = (windows[axis] - 1) * dilations[axis] + 1
        stride = layer.strides[axis]
        before = 0
        if layer.padding == "same":
            missing = (math.ceil(lengths[axis] / stride) - 1) * stride + window - lengths[axis]
            before = max(missing, 0) // 2
        jump = field.stride[axis]
        sizes.append(field.size[axis] + (window - 1) * jump)
        strides.append(jump * stride)
        centers.append(field.center[axis] + ((window - 1) / 2 - before) * jump)
    return ReceptiveField((sizes[0], sizes[1]), (strides[0], strides[1]), (centers[0], centers[1]))
