"""From a float network to one that computes as its integer artefact will, and back.

Batch norms are folded first and training goes on with the folded kernels. Jacob et al. 2018 (section 3.2) train with
live batch statistics, because they start from nothing; from a converged network Krishnamoorthi 2018 (section 3.2.2.2)
finds frozen statistics at least as good, and the folded network is then the very network that is exported: no
difference between statistics of a batch and the moving ones can open up at the end.

References
----------
Jacob et al. 2018, sections 3.1 and 3.2.
Krishnamoorthi 2018, "Quantizing deep convolutional networks for efficient inference: A whitepaper", section 3.2.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Literal

from edgecv_export.quantize.affine import FloatArray, Range
from edgecv_export.quantize.aware.calibrate import Calibrated, calibrate
from edgecv_export.quantize.aware.split import split_names, split_unfused_activations
from edgecv_export.quantize.aware.stored import stored_layers
from edgecv_export.quantize.correct import INT8, round_and_correct
from edgecv_export.quantize.fold import fold_batch_norms
from edgecv_export.quantize.graph import Graph, Step
from edgecv_export.quantize.kernels import bias_of, has_kernel
from edgecv_export.quantize.rebuild import copy_layer, rebuild_model
from edgecv_export.quantize.simulate import check_names
from edgecv_runtime.errors import InputError, UnsupportedError

RangeKind = Literal["moving_average", "learned"]

_SUFFIX = "aware"  # of the names of inserted layers


def prepare(
    model: Any,
    images: FloatArray,
    *,
    ranges: RangeKind = "moving_average",
    bits: int = 8,
    weight_bits: int = 8,
    widen: float = 1.0,
    float_layers: Collection[str] = (),
    fused_sums: bool = False,
    initial: Mapping[str, Range] | None = None,
    seed: int = 0,
) -> Any:
    """A copy of a network that rounds its kernels and its stored activations, and can be trained.

    Parameters
    ----------
    model : keras.Model
        Functional or Sequential, channels last, one input, trained, ending at the logits. Nested models are laid open,
        batch norms folded, and activations that no integer kernel fuses become layers of their own.
    images : (N, ...) float32
        Calibration images as the model takes them.
    ranges : {"moving_average", "learned"}
        How training moves the activation ranges: they follow the extremes of the batches, or the gradient.
    bits, weight_bits : int
        Of activations and of kernels, 2 to 8.
    widen : float
        Factor on the width of every activation range, at least 1: 16 leaves about four of eight bits.
    float_layers : collection of str
        Layers that stay in float: their kernels and their outputs, as `simulate.StoredTensors` takes them.
    fused_sums : bool
        As OpenVINO computes: a convolution is not rounded before it is added to something (`stored.stored_layers`).
    initial : mapping from layer name to Range, optional
        Ranges of outputs to begin with, not yet widened, in place of the calibrated ones; other names have no part.
    seed : int
        For the sample that ranges are estimated from.

    Returns
    -------
    keras.Model
        From the same input to the same logits, rounded.

    Raises
    ------
    InputError
        An argument is out of bounds, or `float_layers` names a layer that there is not.
    UnsupportedError
        The model is not functional or has several inputs.

    Notes
    -----
    A learned range would shrink until the widening is undone; the two together are refused.
    """
    _check(ranges, bits, weight_bits, widen)
    folded = fold_batch_norms(model)
    names = split_names(folded)
    graph = Graph(split_unfused_activations(folded))
    if len(graph.inputs) != 1:
        raise UnsupportedError(f"a network with one input is required; {graph.model.name!r} has {len(graph.inputs)}")
    check_names(graph, float_layers, "float_layers")
    in_float = frozenset(float_layers) | {names[name] for name in float_layers if name in names}
    calibrated = calibrate(graph.model, images, bits=bits, seed=seed)
    for name, range_ in (initial or {}).items():
        source = names.get(name, name)
        if source in calibrated:
            calibrated[source] = Calibrated(range_, calibrated[source].image_width)
    stored = stored_layers(graph, in_float, fused_sums=fused_sums)
    insertion = _Insertion(stored, calibrated, ranges, bits, weight_bits, widen, in_float)
    return rebuild_model(graph, insertion.layer_for)


def correct_biases(aware: Any, images: FloatArray) -> None:
    """Correct the biases of an aware network for the shift of means that its rounding causes, in place.

    Layer by layer, against the same network without rounding (`correct.round_and_correct`).

    Parameters
    ----------
    aware : keras.Model
        From `prepare`, with 8-bit activations and kernels.
    images : (N, ...) float32
        As the network takes them; some dozens will do.
    """
    from edgecv_export.quantize.aware.layers import AwareKernel

    layers = {layer.inner.name: layer for layer in aware.layers if isinstance(layer, AwareKernel)}
    in_float = [name for name, layer in layers.items() if layer.bits is None]
    network = _plain(aware, rounded=False)
    corrected = round_and_correct(network, images, images, INT8, ranges=finish(aware)[1], float_layers=in_float)
    for name, layer in layers.items():
        layer.shift_bias(bias_of(corrected.get_layer(name)) - bias_of(network.get_layer(name)))


def finish(aware: Any) -> tuple[Any, dict[str, Range]]:
    """The float network inside an aware one, and the ranges of its stored tensors.

    Parameters
    ----------
    aware : keras.Model
        From `prepare`, with 8-bit activations.

    Returns
    -------
    network : keras.Model
        Batch norms folded, kernels already on the grid they are stored on: `affine.quantize_weights` gives them back.
    ranges : dict from layer name to Range
        Widened where the aware network was; `simulate.simulate` with them gives the aware network's answers.

    Raises
    ------
    InputError
        The network was not made by `prepare`.
    UnsupportedError
        It has activations of fewer than 8 bits: no artefact holds those.
    """
    from edgecv_export.quantize.aware.layers import AwareActivation, AwareKernel

    steps = Graph(aware).steps
    activations = [step.layer for step in steps if isinstance(step.layer, AwareActivation)]
    if not any(isinstance(step.layer, AwareKernel) for step in steps):
        raise InputError(f"a network made by prepare() is required; {aware.name!r} has no aware layer")
    if any(layer.bits != 8 for layer in activations):
        raise UnsupportedError(
            f"artefacts hold 8-bit activations; this network has {activations[0].bits} bits: "
            "prepare(bits=8, widen=...) stands for fewer"
        )
    return _plain(aware, rounded=True), {layer.source: layer.range() for layer in activations}


def _plain(aware: Any, *, rounded: bool) -> Any:
    """The network without the aware layers, with kernels rounded or as they are trained."""
    from edgecv_export.quantize.aware.layers import AwareActivation, AwareKernel

    copies: dict[int, Any] = {}

    def rebuild(step: Step) -> Any:
        layer = step.layer
        if isinstance(layer, AwareActivation):
            return lambda tensor, **_: tensor
        if id(layer) not in copies:
            copies[id(layer)] = layer.plain(rounded=rounded) if isinstance(layer, AwareKernel) else copy_layer(layer)
        return copies[id(layer)]

    return rebuild_model(Graph(aware), rebuild)


class _Insertion:
    """Makes the aware network's layers, one per layer of the float network."""

    def __init__(
        self,
        stored: Mapping[int, str],
        calibrated: dict[str, Calibrated],
        ranges: RangeKind,
        bits: int,
        weight_bits: int,
        widen: float,
        float_layers: frozenset[str],
    ) -> None:
        self.stored, self.calibrated, self.ranges = stored, calibrated, ranges
        self.bits, self.weight_bits, self.widen, self.float_layers = bits, weight_bits, widen, float_layers
        self._layers: dict[int, Any] = {}
        self._activations: dict[str, Any] = {}

    def layer_for(self, step: Step) -> Any:
        """The function to call in place of a step's layer."""
        if type(step.layer).__name__.endswith(("Dropout", "GaussianNoise")):
            return lambda tensor, **_: tensor  # noise beside that of rounding only slows a short training
        if id(step.layer) not in self._layers:
            self._layers[id(step.layer)] = self._layer(step)
        layer = self._layers[id(step.layer)]
        if self.stored.keys().isdisjoint(step.outputs):
            return layer
        activation = self._activation(step.layer.name)
        return lambda *arguments, **options: activation(layer(*arguments, **options))

    def _layer(self, step: Step) -> Any:
        from edgecv_export.quantize.aware.layers import AwareKernel

        layer = step.layer
        if not has_kernel(layer):
            copy = copy_layer(layer)
            copy.trainable = False  # a batch norm that could not be folded keeps its statistics
            return copy
        inner = type(layer).from_config({**layer.get_config(), "use_bias": True})
        inner.build(layer.input.shape)
        bits = None if layer.name in self.float_layers else self.weight_bits
        aware = AwareKernel(inner, bits, name=f"{layer.name}_{_SUFFIX}_kernel")
        aware.build(layer.input.shape)
        aware.adopt(layer)
        return aware

    def _activation(self, name: str) -> Any:
        from edgecv_export.quantize.aware.layers import LearnedRange, MovingAverageRange

        if name not in self._activations:
            found = self.calibrated[name]
            start = (name, found.range.low, found.range.high, self.bits, self.widen)
            own = f"{name}_{_SUFFIX}_range"
            self._activations[name] = (
                LearnedRange(*start, name=own)
                if self.ranges == "learned"
                else MovingAverageRange(*start, share=found.share, name=own)
            )
        return self._activations[name]


def _check(ranges: str, bits: int, weight_bits: int, widen: float) -> None:
    if ranges not in ("moving_average", "learned"):
        raise InputError(f"ranges must be 'moving_average' or 'learned'; received {ranges!r}")
    for name, value in (("bits", bits), ("weight_bits", weight_bits)):
        if not 2 <= value <= 8:
            raise InputError(f"{name} must be from 2 to 8; received {value}")
    if widen < 1:
        raise InputError(f"widen must be at least 1; received {widen}")
    if widen > 1 and ranges == "learned":
        raise InputError(
            "widen needs ranges='moving_average': learned ranges would shrink until the widening is undone; "
            "or use bits=4 in place of widen"
        )
