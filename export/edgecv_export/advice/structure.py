"""Rules about structure: modes that formats define differently, layers that are too small, heads that are too large."""

from __future__ import annotations

import math
from collections.abc import Iterator

from edgecv_export.advice.network import Advice, Network, Rule, activation, kind, names
from edgecv_export.quantize.graph import Step

_LARGE_WINDOW = 49  # a 7×7 average: independent values' spread shrinks sevenfold, 2.8 of 8 bits
_FEW_CHANNELS = 8  # a 64-bit vector register of 8-bit values, the narrowest in use
_HEAD_SHARE = 2 / 3  # of the parameters

_RESIZING = frozenset({"UpSampling2D", "Resizing"})
_EXACT_MODES = frozenset({"nearest", "bilinear"})


def exact_gelu(network: Network) -> Iterator[Advice]:
    """GELU through the error function, which ONNX's operator set 17 and tf2onnx have no way to say."""
    if network.format == "tflite":
        return
    steps = [step for step in network.graph.steps if activation(step) == "gelu" and not _is_approximate(step)]
    if steps:
        yield Advice(
            "exact_gelu",
            "high",
            "Exact GELU cannot be exported to ONNX and OpenVINO",
            names(steps),
            "Keras computes it with the complementary error function, for which ONNX has no operator: the export is "
            "refused.",
            "gelu with approximate=True (tanh), or --format tflite.",
            "measured: refused at fp32 and at int8",
        )


def resizing(network: Network) -> Iterator[Advice]:
    """Enlarging inside the network: every format names the modes differently."""
    steps = [step for step in network.graph.steps if kind(step) in _RESIZING]
    odd = [step for step in steps if str(step.layer.interpolation) not in _EXACT_MODES]
    plain = [step for step in steps if step not in odd]
    if odd:
        modes = ", ".join(sorted({str(step.layer.interpolation) for step in odd}))
        yield Advice(
            "resize_mode",
            "high",
            f"Resizing by a mode that formats do not share ({modes})",
            names(odd),
            "TFLite has bilinear and nearest only and refuses others. Bicubic, where it can be exported, is another "
            "cubic: OpenVINO's output was at 39 dB to Keras's in fp32, where bilinear reaches 130.",
            "bilinear or nearest in its place.",
            "measured on a small network, UpSampling2D ×2, all three formats",
        )
    if plain:
        yield Advice(
            "resize_rounding",
            "low",
            "Resizing inside the network",
            names(plain),
            "Bilinear has three conventions (half-pixel centres, aligned corners, neither) and nearest several ways to "
            "round. The three formats agree with Keras on the CPU, beyond 120 dB in fp32; an accelerator that knows "
            "only one convention computes the layer elsewhere, or otherwise.",
            "whole factors; a transposed convolution where the target lacks the mode; edgecv verify on the device.",
            "measured on a small network, all three formats; ONNX operator Resize, 5 coordinate and 4 nearest modes",
        )


def pooling(network: Network) -> Iterator[Advice]:
    """Averages over windows that reach over the edge, or that are large."""
    steps = [step for step in network.graph.steps if kind(step) == "AveragePooling2D"]
    padded = [step for step in steps if step.layer.padding == "same" and _reaches_over(step)]
    large = [step for step in steps if math.prod(step.layer.pool_size) >= _LARGE_WINDOW]
    if padded:
        yield Advice(
            "padded_average",
            "low",
            "Average pooling that reaches over the edge",
            names(padded),
            "Keras leaves the padding out of the average. So do our three formats on the CPU (beyond 120 dB in fp32); "
            "ONNX and OpenVINO also know the other rule, and a compiler that takes it is wrong along the edges.",
            "padding='valid' with a window that fits; edgecv verify on the device.",
            "measured on a small network, all three formats; ONNX AveragePool, count_include_pad",
        )
    if large:
        yield Advice(
            "large_average",
            "low",
            "Average pooling over a large window",
            names(large),
            "In int8 the average is stored with the step of its input, though the averages of n independent values "
            "spread √n times less: a 7×7 window cost a small network 10 dB at its output.",
            "GlobalAveragePooling2D, whose output has a range of its own; a strided convolution.",
            "TFLite 8-bit quantization specification (AVERAGE_POOL_2D: same scale); measured, all three formats",
        )


def few_channels(network: Network) -> Iterator[Advice]:
    """Convolutions narrower than a vector register."""
    steps = [
        step
        for step in network.graph.steps
        if kind(step) in ("Conv2D", "Conv2DTranspose") and step.layer.filters < _FEW_CHANNELS and _is_map(step)
    ]
    steps = [step for step in steps if not network.ends(step)]
    if steps:
        yield Advice(
            "few_channels",
            "low",
            f"Convolutions with fewer than {_FEW_CHANNELS} output channels",
            names(steps),
            "Kernels compute 8 or 16 channels at a time, and a part of each step is thrown away: 6 channels take the "
            "time of 8.",
            "multiples of 8 channels cost no more time.",
            "arithmetic: vector registers hold 8, 16 or more 8-bit values",
        )


def heavy_head(network: Network) -> Iterator[Advice]:
    """Dense layers that hold most of the parameters."""
    total = network.graph.model.count_params()
    dense = {id(step.layer): step for step in network.graph.steps if kind(step) == "Dense"}
    held = sum(step.layer.count_params() for step in dense.values())
    if total and held / total > _HEAD_SHARE:
        yield Advice(
            "heavy_head",
            "low",
            f"Dense layers hold {100 * held / total:.0f} % of the parameters",
            names(dense.values()),
            f"{held:,} of {total:,} parameters: most of the file, and most of what is read from memory for each "
            "picture, for a small part of the computation.",
            "fewer features before the classifier (global average pooling in place of Flatten, a narrower last layer); "
            "fewer classes; int8 or dynamic, which store them in a quarter.",
            "counted in this model",
        )


def _is_approximate(step: Step) -> bool:
    """Keras's activation by name is exact; the layer and the operation can be told."""
    return bool(getattr(step.layer, "approximate", False))


def _reaches_over(step: Step) -> bool:
    """Whether any window reaches over the edge: not where size and stride divide evenly."""
    sizes = step.layer.input.shape[1:3]
    windows = zip(sizes, step.layer.pool_size, step.layer.strides, strict=True)
    return any(
        size is None or (math.ceil(size / stride) - 1) * stride + window > size for size, window, stride in windows
    )


def _is_map(step: Step) -> bool:
    """Whether a layer gives more than one position: gates on means do not."""
    return any(size != 1 for size in step.layer.output.shape[1:-1])


STRUCTURE_RULES: tuple[Rule, ...] = (exact_gelu, resizing, pooling, few_channels, heavy_head)
