"""Which input pixels a position of a feature map depends on, layer by layer (Araujo, Norris, Sim 2019).

Position o of a map along one axis depends on the input from ``start + o · stride`` to that plus ``size - 1``. Where
neighbouring positions reach unequally far (after upsampling), the field given is the smallest that holds them all.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgecv_runtime.errors import InputError

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True)
class ReceptiveField:
    """The input pixels that one position of a feature map depends on (Araujo et al. 2019).

    Attributes
    ----------
    size : (height, width), pixels
        Not cut to the image: with padding it may be larger. One number for signals, three for volumes.
    stride : (height, width), pixels
        Distance between the fields of neighbouring positions (the paper's effective stride; also called jump).
    center : (y, x), pixels
        Middle of the field of position (0, 0); pixel 0 has its middle at 0.
    """

    size: tuple[float, ...]
    stride: tuple[float, ...]
    center: tuple[float, ...]

    @property
    def start(self) -> tuple[float, ...]:
        """First pixel of the field of position (0, 0); negative where it begins in the padding (minus eq. 4's P)."""
        return tuple(center - (size - 1) / 2 for center, size in zip(self.center, self.size, strict=True))

    def of(self, position: Sequence[int]) -> tuple[tuple[float, float], ...]:
        """First and last pixel that a position depends on, along each axis; not cut to the image.

        Examples
        --------
        >>> ReceptiveField((3, 3), (2, 2), (1, 1)).of((4, 0))
        ((8.0, 10.0), (0.0, 2.0))
        """
        starts = [start + index * jump for start, index, jump in zip(self.start, position, self.stride, strict=True)]
        return tuple((start, start + size - 1) for start, size in zip(starts, self.size, strict=True))


def receptive_fields(model: keras.Model) -> dict[str, ReceptiveField | None]:
    """The receptive field of every layer's output, in the order of execution.

    Parameters
    ----------
    model : keras.Model
        Functional or sequential, with a fixed input height and width.

    Returns
    -------
    dict
        By layer name; for a layer that is used several times, of its last use. None after a layer that mixes all
        positions (dense on a flat vector, global pooling), or one whose reach is not known.

    Raises
    ------
    InputError
        The model is not a graph of layers, or a size of it is not fixed.

    Notes
    -----
    Where branches meet, the field is the smallest that holds all of theirs. Gates on a global average
    (squeeze-and-excitation) see the whole image; they weigh channels and are left out of it, as usual.

    Examples
    --------
    >>> import keras
    >>> image = keras.Input((8, 8, 3))
    >>> model = keras.Model(image, keras.layers.Conv2D(4, 3, name="conv")(image))
    >>> receptive_fields(model)["conv"]
    ReceptiveField(size=(3.0, 3.0), stride=(1.0, 1.0), center=(1.0, 1.0))
    """
    steps = list(steps_of(model))
    return {step.name: field for step, field in zip(steps, fields_of(steps), strict=True)}


# -- the graph -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Step:
    """One use of a layer: its name, itself, the tensors it takes and gives, and Keras's node of the graph."""

    name: str
    layer: Any
    inputs: tuple[Any, ...]
    outputs: tuple[Any, ...]
    node: Any


def steps_of(model: Any) -> Iterator[Step]:
    """Uses of layers in the order of execution.

    Raises
    ------
    InputError
        The model is not a graph of layers.
    """
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
            yield Step(layer.name, layer, tuple(flat(node.input_tensors)), tuple(flat(node.outputs)), node)


def flat(tensors: Any) -> list[Any]:
    """All tensors of a nest of lists and dicts."""
    if isinstance(tensors, Mapping):
        return [item for value in tensors.values() for item in flat(value)]
    if isinstance(tensors, Sequence):
        return [item for value in tensors for item in flat(value)]
    return [tensors]


def shape_of(tensor: Any) -> tuple[int, ...]:
    """The shape without the batch.

    Raises
    ------
    InputError
        A size is open.
    """
    shape = tuple(tensor.shape[1:])
    if any(size is None for size in shape):
        raise InputError(
            f"every size must be fixed but the batch; received shape {tuple(tensor.shape)}: pass an input_shape"
        )
    return shape


def fields_of(steps: Sequence[Step], known: dict[int, ReceptiveField | None] | None = None) -> list[Any]:
    """Receptive field of each step's (first) output; `known` holds those of tensors by id, and receives the new."""
    fields: dict[int, ReceptiveField | None] = {} if known is None else known
    found = []
    for step in steps:
        if id(step.outputs[0]) not in fields:
            field = _field(step, [fields.get(id(tensor)) for tensor in step.inputs])
            fields.update((id(tensor), field) for tensor in step.outputs)
        found.append(fields[id(step.outputs[0])])
    return found


# -- one layer -----------------------------------------------------------------------------------------

# Of one output position along one axis: the first and last input position it takes.
_Reach = Callable[[int], tuple[float, float]]

# Layers that treat every position alone, or only join whole maps.
_POINTWISE = frozenset(
    {"Activation", "ActivityRegularization", "Dropout", "GaussianDropout", "GaussianNoise", "Identity"}
    | {"ELU", "LeakyReLU", "PReLU", "ReLU", "Softmax", "BatchNormalization", "Normalization", "Rescaling"}
    | {"Add", "Average", "Concatenate", "Maximum", "Minimum", "Multiply", "Subtract"}
    | {"LocalResponseNormalization", "SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D"}
    | {"Absolute", "Sqrt", "Square"}
    | {"CustomScaleLayer", "L2Scale", "PadChannels"}  # of Inception-ResNet-v2, SSD and the CIFAR ResNets
)
_CONVOLUTIONS = frozenset(
    {"Conv1D", "Conv2D", "Conv3D", "DepthwiseConv1D", "DepthwiseConv2D", "SeparableConv1D", "SeparableConv2D"}
)
_POOLS = frozenset(f"{kind}Pooling{axes}D" for kind in ("Max", "Average") for axes in (1, 2, 3))
_KNOWN = (
    _POINTWISE
    | _CONVOLUTIONS
    | _POOLS
    | {f"{kind}{axes}D" for kind in ("ZeroPadding", "Cropping", "UpSampling") for axes in (1, 2, 3)}
    | {"Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose", "Dense", "InputLayer", "Resizing"}
    | {"MaxPoolingWithIndices", "MaxUnpooling"}
)


def kind_of(layer: Any) -> str:
    """Name of the known layer that `layer` computes like: its own class or one whose ``call`` it keeps."""
    for kind in type(layer).__mro__:
        if kind.__name__ in _KNOWN and getattr(kind, "call", None) is getattr(type(layer), "call", None):
            return kind.__name__
    return type(layer).__name__


def _field(step: Step, sources: list[ReceptiveField | None]) -> ReceptiveField | None:
    """Receptive field of a step's output; None where there is none to speak of."""
    kind, layer = kind_of(step.layer), step.layer
    axes = len(shape_of(step.outputs[0])) - 1
    if kind == "InputLayer":
        return ReceptiveField((1.0,) * axes, (1.0,) * axes, (0.0,) * axes) if axes > 0 else None
    if hasattr(layer, "_nodes_by_depth") or hasattr(layer, "_functional"):
        return _nested(step, sources)
    source = _union([field for field in sources if field is not None and len(field.size) == axes])
    if source is None or kind not in _KNOWN or (kind == "Concatenate" and layer.axis not in (-1, axes + 1)):
        return None
    if kind in _POINTWISE or kind == "Dense":  # a dense layer acts on the last axis: a 1×1 convolution
        return source
    lengths, results = shape_of(step.inputs[0])[:-1], shape_of(step.outputs[0])[:-1]
    parts = []
    for axis in range(axes):
        reach, advance = _reach(kind, layer, axis, lengths[axis], results[axis])
        if reach is None:
            return None
        parts.append(_through(reach, advance, source, axis))
    size, stride, center = zip(*parts, strict=True)
    return ReceptiveField(size, stride, center)


def _nested(step: Step, sources: list[ReceptiveField | None]) -> ReceptiveField | None:
    """Through a model that is a layer of another."""
    inner = step.layer
    known: dict[int, ReceptiveField | None] = {
        id(tensor): field for tensor, field in zip(flat(inner.inputs), sources, strict=True)
    }
    fields_of(list(steps_of(inner)), known)
    return known.get(id(flat(inner.outputs)[0]))


def _union(fields: list[ReceptiveField]) -> ReceptiveField | None:
    """The smallest field that holds all of them; None without any, or where their strides differ."""
    if not fields or any(field.stride != fields[0].stride for field in fields):
        return None
    starts = [min(values) for values in zip(*(field.start for field in fields), strict=True)]
    ends = [max(end for _, end in spans) for spans in zip(*(f.of((0,) * len(f.size)) for f in fields), strict=True)]
    return ReceptiveField(
        tuple(end - start + 1 for start, end in zip(starts, ends, strict=True)),
        fields[0].stride,
        tuple((start + end) / 2 for start, end in zip(starts, ends, strict=True)),
    )


def _through(reach: _Reach, advance: float, source: ReceptiveField, axis: int) -> tuple[float, float, float]:
    """Size, stride and centre along an axis, behind a layer that moves on `advance` input positions per output.

    For a layer that takes a window of the map before, these are equations 1 to 4 of Araujo et al. 2019.
    """
    jump = source.stride[axis]
    # Between two input positions lie several outputs, each with a reach of its own: the widest of them counts.
    phases = range(max(1, round(1 / advance)))
    first = min(reach(o)[0] - o * advance for o in phases)
    last = max(reach(o)[1] - o * advance for o in phases)
    start = source.start[axis] + first * jump
    end = source.start[axis] + last * jump + source.size[axis] - 1
    return end - start + 1, jump * advance, (start + end) / 2


def _reach(kind: str, layer: Any, axis: int, length: int, result: int) -> tuple[_Reach | None, float]:
    """What an output position takes along an axis, and how far the next one has moved on, in input positions."""
    if kind in _CONVOLUTIONS or kind in _POOLS or kind == "MaxPoolingWithIndices":
        window, stride = _window(layer, axis), _at(layer.strides, axis)
        before = _before(layer.padding, length, window, stride)
        return (lambda o: (o * stride - before, o * stride - before + window - 1)), float(stride)
    if kind.endswith("Transpose"):
        return _transposed(layer, axis, length, result), 1 / _at(layer.strides, axis)
    if kind.startswith(("ZeroPadding", "Cropping")):
        pad = layer.padding if kind.startswith("Zero") else layer.cropping
        before = pad[axis][0] if isinstance(pad[axis], Sequence) else pad[0]
        move = -before if kind.startswith("Zero") else before
        return (lambda o: (o + move, o + move)), 1.0
    if kind == "MaxUnpooling":  # a value goes to one of the places its pool has covered
        return (lambda o: (o // layer.pool_size, o // layer.pool_size)), 1 / layer.pool_size
    factor = result / length
    if factor != int(factor):
        return None, 1.0  # a size that is no multiple: every position has a field of its own
    if getattr(layer, "interpolation", "nearest") == "nearest":
        return (lambda o: (o // int(factor), o // int(factor))), 1 / factor
    if layer.interpolation == "bilinear":
        return (lambda o: _neighbours((o + 0.5) / factor - 0.5)), 1 / factor
    return None, 1.0


def _neighbours(place: float) -> tuple[float, float]:
    return math.floor(place), math.ceil(place)


def _transposed(layer: Any, axis: int, length: int, result: int) -> _Reach:
    """Input i is spread over the outputs i · stride + 0 … window - 1, of which ``before`` are cut away."""
    window, stride = _window(layer, axis), _at(layer.strides, axis)
    whole = (length - 1) * stride + window
    before = 0 if layer.padding == "valid" else max(whole - result, 0) // 2
    return lambda o: (math.ceil((o + before - window + 1) / stride), math.floor((o + before) / stride))


def _window(layer: Any, axis: int) -> int:
    """Reach of a kernel or pool, with its dilation."""
    if hasattr(layer, "pool_size"):
        return _at(layer.pool_size, axis)
    return (_at(layer.kernel_size, axis) - 1) * _at(layer.dilation_rate, axis) + 1


def _before(padding: str, length: int, window: int, stride: int) -> int:
    """Zeros that padding ``same`` puts in front; ``causal`` puts all of them there."""
    if padding == "causal":
        return window - 1
    if padding != "same":
        return 0
    return max((math.ceil(length / stride) - 1) * stride + window - length, 0) // 2


def _at(value: Any, axis: int) -> int:
    return int(value[axis] if isinstance(value, Sequence) else value)
