"""Rules about ranges: channels that do not fit one scale, normalisation that stays, sums that are too long."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from edgecv_export.advice.network import Advice, Network, Rule, kind, names
from edgecv_export.quantize.kernels import channel_axes, has_kernel, kernel_of

# A channel whose folded weights are r times the typical ones makes up for an input of 1/r of the typical range, and
# that input shares its 256 levels with all other channels: 256/r are left. At 128 that is two levels, at 256 not one
# step. Of the three networks that this was held against, the two whose largest ratios are 36 and 64 (MobileNetV2 1.0
# and MobileNetV1 1.0) lost 0.4 and 0.8 points in int8 TFLite, the one with 170 (MobileNetV1 0.25) lost 3.4.
MEDIUM_RATIO, HIGH_RATIO = 128.0, 256.0

_DEAD = 1e-6  # of the largest channel: batch norm has switched the channel off

# Products of a uint8 and an int8 that surely fit a 32-bit sum: 2^31 / (255 · 127).
LONGEST_SUM = 66_311

_NORMALISATIONS = frozenset(
    {"LayerNormalization", "GroupNormalization", "UnitNormalization", "RMSNormalization", "InstanceNormalization"}
)


def channel_ratio(layer: Any) -> float:
    """The largest channel's weight range over the median one's, channels that are switched off left out.

    Parameters
    ----------
    layer : keras.Layer
        With a kernel.
    """
    kernel = np.abs(kernel_of(layer))
    axes = channel_axes(layer)
    ranges = kernel.max(axis=tuple(axis for axis in range(kernel.ndim) if axis not in axes)).reshape(-1)
    largest = float(ranges.max(initial=0.0))
    alive = ranges[ranges > _DEAD * largest]
    return largest / float(np.median(alive)) if alive.size else 1.0


def channel_ranges(network: Network) -> Iterator[Advice]:
    """Weights that differ wildly from channel to channel once batch norms are folded."""
    ratios = {step.layer.name: channel_ratio(step.layer) for step in network.folded.steps if has_kernel(step.layer)}
    wild = {name: ratio for name, ratio in ratios.items() if ratio >= MEDIUM_RATIO}
    if wild:
        worst = max(wild, key=lambda name: wild[name])
        yield Advice(
            "channel_ranges",
            "high" if wild[worst] >= HIGH_RATIO else "medium",
            "Channels of wildly different range",
            tuple(wild),
            f"In {worst} the largest channel's weights are {wild[worst]:.0f} times the median's: that channel makes up "
            "for an input so small that, of the 256 levels it shares with the others, it uses about "
            f"{max(1, round(256 / wild[worst]))}. Measured: MobileNetV1 0.25, with a ratio of 170, lost 3.4 points of "
            "top-1 in int8 TFLite; MobileNetV2 1.0, with at most 36, lost 0.4.",
            network.help(
                "cross-layer equalization (--max-drop tries it)",
                "keep these layers in float",
                "quantization-aware training",
            ),
            "Nagel et al. 2019, section 3.1; measured on 500 ImageNet pictures with the default tools",
        )


def normalisation(network: Network) -> Iterator[Advice]:
    """Normalisation that cannot become part of a convolution."""
    left = [step for step in network.folded.steps if kind(step) == "BatchNormalization"]
    others = [step for step in network.graph.steps if kind(step) in _NORMALISATIONS]
    if left:
        yield Advice(
            "unfolded_batch_norm",
            "medium",
            "Batch normalisation that cannot be folded",
            names(left),
            "Folding needs a convolution or dense layer directly before it, without an activation between. Here it "
            "stays an operation of its own, with a rounding of its own, and its channels share one scale. There is no "
            "published figure for it alone: measure yours with --eval.",
            network.help("the order convolution, batch norm, activation", "keep these layers in float"),
            "Jacob et al. 2018, section 3.2",
        )
    if others:
        found = ", ".join(sorted({kind(step) for step in others}))
        yield Advice(
            "runtime_normalisation",
            "medium",
            f"Normalisation computed on the device ({found})",
            names(others),
            "Mean and variance are computed for every picture: squares and a reciprocal root that 8 bits hold badly. "
            "Layer normalisation left a small network's signal 25 dB above its rounding noise in int8 TFLite, 38 dB "
            "in ONNX and OpenVINO, which compute it in float; group normalisation 36 to 40.",
            network.help(
                "batch normalisation behind each convolution, which costs nothing", "keep them in float", "fp16"
            ),
            "measured behind one convolution, int8, all three formats",
        )


def long_sums(network: Network) -> Iterator[Advice]:
    """More products in one sum than 32 bits are sure to hold."""
    found = []
    for step in network.graph.steps:
        if not has_kernel(step.layer) or "Transpose" in kind(step):
            continue
        kernel = step.layer.kernel
        channels = int(np.prod([kernel.shape[axis] for axis in channel_axes(step.layer)]))
        if int(np.prod(kernel.shape)) // channels > LONGEST_SUM:
            found.append(step)
    if found:
        yield Advice(
            "long_sums",
            "medium",
            "Sums that may overflow 32 bits",
            names(found),
            f"Each output adds more than {LONGEST_SUM:,} products of up to 255 · 127: the worst case passes 2³¹, and "
            "integer kernels wrap around silently.",
            network.help("pool before the layer", "keep it in float"),
            "arithmetic: 2³¹ / (255 · 127) = 66,311",
        )


RANGE_RULES: tuple[Rule, ...] = (channel_ranges, normalisation, long_sums)
