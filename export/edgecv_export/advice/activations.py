"""Rules about activations: which ones 8 bits hold badly."""

from __future__ import annotations

from collections.abc import Iterator

from edgecv_export.advice.network import Advice, Network, Rule, activation, kind, names
from edgecv_export.quantize.graph import Step

_GATES = frozenset({"sigmoid", "hard_sigmoid"})
_SMOOTH = frozenset({"elu", "selu", "celu", "gelu", "mish", "softplus", "softsign", "exponential"})
_UNBOUNDED = frozenset({"relu", "leaky_relu", "prelu"})
_RESHAPING = frozenset({"Reshape", "Flatten", "Permute", "Dropout", "Identity"})
_POOLING = frozenset({"GlobalAveragePooling2D", "GlobalMaxPooling2D", "AveragePooling2D", "Mean", "Max"})

_MOBILENET_V3 = (
    "TensorFlow model garden, slim/nets/mobilenet: MobileNetV3-Large 75.2 → 73.9 %, Small 67.5 → 64.9 % top-1 in "
    "8 bits; the minimalistic Large, without hard-swish and squeeze-and-excitation, 72.3 → 71.3 %"
)


def swish(network: Network) -> Iterator[Advice]:
    """Swish, alone or written as ``x · sigmoid(x)``."""
    steps = [step for step in network.graph.steps if activation(step) == "silu" or _is_own_gate(network, step)]
    if steps:
        yield Advice(
            "swish",
            "high",
            "Swish activations",
            names(steps),
            "Swish has no upper bound, so a few large values set the step of every tensor; its negative part, which "
            "reaches only −0.28, may be left with a level or two. Plain int8 took EfficientNet-Lite0, while it still "
            "had swish, from 75 to 46 % top-1, and EfficientNet-B0 from 77.7 to 47 % in another toolkit.",
            network.help(
                "train with ReLU6 in its place (as EfficientNet-Lite does: efficientnet_lite0)",
                "keep the most sensitive layers in float",
                "quantization-aware training",
                "fp16",
            ),
            "TensorFlow blog, 16 March 2020 (EfficientNet-Lite); SonySemiconductorSolutions/mct-model-optimization "
            "issue 771; −0.278 is the minimum of x · sigmoid(x)",
        )


def hard_swish(network: Network) -> Iterator[Advice]:
    """Hard-swish."""
    steps = [step for step in network.graph.steps if activation(step) == "hard_silu"]
    if steps:
        yield Advice(
            "hard_swish",
            "medium",
            "Hard-swish activations",
            names(steps),
            "Unbounded above, with a negative part of −0.375 at most, and several operations where ReLU6 is none. "
            "MobileNetV3, built on it, loses 1.3 (Large) and 2.6 points (Small) in its authors' own 8-bit models.",
            network.help("ReLU6 in its place (MobileNetV3 'minimalistic')", "quantization-aware training", "fp16"),
            _MOBILENET_V3,
        )


def squeeze_excite(network: Network) -> Iterator[Advice]:
    """Channels weighed by a gate on their means."""
    steps = [step for step in network.graph.steps if _gate_of(network, step) == "squeeze_excite"]
    if steps:
        yield Advice(
            "squeeze_excite",
            "medium",
            "Squeeze-and-excitation gates",
            names(steps),
            "The gate (0 to 1) and the product are rounded once more each, and an error of the gate scales a whole "
            "channel. Several accelerators run the block badly or not at all, which is why EfficientNet-Lite leaves "
            "it out.",
            network.help(
                "a network without it (EfficientNet-Lite, MobileNetV2)",
                "keep the gates in float: they cost little",
                "quantization-aware training",
            ),
            "TensorFlow blog, 16 March 2020 (EfficientNet-Lite)",
        )


def gates(network: Network) -> Iterator[Advice]:
    """Other products with a sigmoid."""
    steps = [step for step in network.graph.steps if _gate_of(network, step) == "gate"]
    if steps:
        yield Advice(
            "sigmoid_gate",
            "medium",
            "Sigmoid gates",
            names(steps),
            "Both factors and the product are rounded to 8 bits, and a gate near 0 has few levels left of 256. There "
            "is no published figure for gates alone: measure yours with --eval.",
            network.help("keep the gated layers in float", "quantization-aware training"),
            "Jacob et al. 2018, section 2.1: one scale for a whole tensor",
        )


def inner_softmax(network: Network) -> Iterator[Advice]:
    """Softmax inside the network, as in attention."""
    steps = [step for step in network.graph.steps if activation(step) == "softmax" and not network.ends(step)]
    if steps:
        yield Advice(
            "inner_softmax",
            "medium",
            "Softmax inside the network",
            names(steps),
            "Over N entries the average is 1/N: with 256 levels between 0 and 1, entries below 1/512 vanish, and "
            "with many entries that is most of them. ONNX Runtime and OpenVINO compute it in float between two "
            "conversions.",
            network.help("keep the attention in float", "fp16"),
            "arithmetic; TFLite's 8-bit quantization specification fixes softmax's output scale at 1/256",
        )


def smooth(network: Network) -> Iterator[Advice]:
    """ELU, GELU and their like."""
    steps = [step for step in network.graph.steps if activation(step) in _SMOOTH]
    if steps:
        found = ", ".join(sorted({activation(step).upper() for step in steps}))
        yield Advice(
            "smooth_activation",
            "low",
            f"Smooth activations without an upper bound ({found})",
            names(steps),
            "They are not computed inside the convolution as ReLU6 is: TFLite looks them up in a table or builds "
            "them of several operations, ONNX Runtime computes them in float between two conversions. A few large "
            "values set the step of the tensor.",
            network.help("ReLU6 in their place", "percentile or MSE ranges in calibration"),
            "ONNX Runtime's quantizer, whose registry has no entry for them",
        )


def unbounded(network: Network) -> Iterator[Advice]:
    """ReLU without a ceiling, before a range for the whole tensor is chosen."""
    steps = [step for step in network.graph.steps if activation(step) in _UNBOUNDED and not network.ends(step)]
    if steps:
        yield Advice(
            "unbounded_activation",
            "low",
            "Activations without an upper bound",
            names(steps),
            "The largest value seen in calibration sets the step of the whole tensor; one outlier coarsens all "
            "others. Mostly harmless: ResNet-50, which has nothing else, lost 0.2 points (75.2 → 75.0 %).",
            network.help("typical calibration images, 100 or more", "percentile or MSE ranges", "ReLU6"),
            "Krishnamoorthi 2018, arXiv:1806.08342, per-channel weights and 8-bit activations after training",
        )


def _gate_of(network: Network, step: Step) -> str | None:
    """``"squeeze_excite"`` or ``"gate"`` for a product with a sigmoid that is not swish; else None."""
    if kind(step) != "Multiply" or _is_own_gate(network, step):
        return None
    for gate in network.producers(step):
        gate = _before_reshaping(network, gate)
        if activation(gate) in _GATES:
            return "squeeze_excite" if _behind_pooling(network, gate) else "gate"
    return None


def _is_own_gate(network: Network, step: Step) -> bool:
    """``x · sigmoid(x)``."""
    if kind(step) != "Multiply":
        return False
    gates = [gate for gate in network.producers(step) if activation(gate) == "sigmoid" and len(gate.inputs) == 1]
    return any(gate.inputs[0] in step.inputs and kind(gate) in ("Activation", "Sigmoid") for gate in gates)


def _before_reshaping(network: Network, step: Step) -> Step:
    while kind(step) in _RESHAPING and len(before := network.producers(step)) == 1:
        step = before[0]
    return step


def _behind_pooling(network: Network, step: Step) -> bool:
    """Whether a straight line of layers leads up from a step to a pooling over all positions."""
    while True:
        if kind(step) in _POOLING:
            return all(size == 1 for size in step.layer.output.shape[1:-1])
        before = network.producers(step)
        if len(before) != 1:
            return False
        step = before[0]


ACTIVATION_RULES: tuple[Rule, ...] = (swish, squeeze_excite, hard_swish, gates, inner_softmax, smooth, unbounded)
