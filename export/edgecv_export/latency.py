"""How long one inference will take on a device: a roofline through what was measured and published for its processor.

For every operator the longer of two times: its arithmetic at the rate that the processor was seen to reach, and its
bytes at the memory's rate, where that is published (Williams, Waterman & Patterson 2009, "Roofline", section 3). The
arithmetic rate is no data sheet's peak: it is what XNNPACK reached on MobileNet v1, so that MobileNet v1 comes out
right by construction and every other model is a prediction. `errors` compares with all that is published.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from edgecv_export.tflite_graph import Graph, Operator
from edgecv_targets import Figure, Target

# A depthwise product costs as much as this many of a dense convolution: each weight meets one channel only. It is the
# value that brings MobileNet v2 / v1 nearest to XNNPACK's published ratios (Pi 2, Pi 3+ and Pi 4, fp32 and int8; the
# single rows ask for 5 to 13).
DEPTHWISE_COST = 8.0


@dataclass(frozen=True)
class Estimate:
    """Time of one inference, estimated.

    Attributes
    ----------
    seconds : float
    by_operator : Mapping of int to float
        Seconds, by the operator's index.
    basis : str
        What it rests on, in words.
    lower_bound : bool
        Whether it only says that it will take no less.
    """

    seconds: float
    by_operator: Mapping[int, float]
    basis: str
    lower_bound: bool = False


def work(operator: Operator) -> float:
    """The arithmetic of an operator in multiply-accumulates of a dense convolution.

    What does not multiply by weights counts one for each value it gives.
    """
    if operator.kind == "DEPTHWISE_CONV_2D":
        return DEPTHWISE_COST * operator.macs
    return float(operator.macs or sum(tensor.elements for tensor in operator.outputs))


def precision_of(graph: Graph) -> str:
    """The precision that a graph computes in: of its weighted layers, the one with most of the products."""
    found: dict[str, int] = {}
    for operator in graph.operators:
        if operator.macs and operator.inputs:
            features = operator.inputs[2 if operator.kind == "TRANSPOSE_CONV" else 0]
            kind = "int8" if features is None else features.dtype
            name = {"float32": "fp32", "float16": "fp16", "int16": "int16x8"}.get(kind, "int8")
            found[name] = found.get(name, 0) + operator.macs
    return max(found, key=lambda name: found[name], default="fp32")


def estimate(graph: Graph, target: Target, where: Mapping[int, str]) -> Estimate | None:
    """Time of one inference.

    Parameters
    ----------
    graph : Graph
    target : Target
    where : Mapping of int to str
        By operator: ``"accelerator"``, ``"cpu"`` or ``"unsupported"``, which counts as on the CPU.

    Returns
    -------
    Estimate or None
        None where no figure to estimate from is published for the processor or the accelerator that is used.
    """
    precision = precision_of(graph)
    on_cpu = any(place != "accelerator" for place in where.values())
    on_accelerator = "accelerator" in where.values()
    rate = cpu_rate(target, precision)
    peak = None if target.accelerator is None else target.accelerator.peak_ops
    if (on_cpu and rate is None) or (on_accelerator and peak is None):
        return None
    times = {}
    for operator in graph.operators:
        if where[operator.index] == "accelerator" and peak is not None:
            seconds = max(operator.macs / (peak.value / 2), _fetching(operator, target))
        else:
            seconds = work(operator) / (rate or 1.0)
        if target.memory_bandwidth is not None and where[operator.index] != "accelerator":
            seconds = max(seconds, operator.bytes_moved / target.memory_bandwidth.value)
        times[operator.index] = seconds
    parts = []
    if on_cpu:
        parts.append(f"{target.cpu.name} at the rate it reached on MobileNet v1 in {precision}")
    if on_accelerator:
        parts.append("the accelerator at its peak, with its weights fetched as fast as its memory goes")
    return Estimate(sum(times.values()), times, "; ".join(parts), lower_bound=on_accelerator)


def _fetching(operator: Operator, target: Target) -> float:
    """Seconds to fetch an operator's weights to the accelerator."""
    bandwidth = None if target.accelerator is None else target.accelerator.weight_bandwidth
    if bandwidth is None:
        return 0.0
    return sum(tensor.nbytes for tensor in operator.inputs if tensor is not None and tensor.constant) / bandwidth.value


def cpu_rate(target: Target, precision: str) -> float | None:
    """Multiply-accumulates a second of all cores, or None where nothing is published to tell.

    int8 stands in for the precisions that compute in integers, fp32 for those that compute in float.
    """
    cpu = target.cpu
    stand_in = "int8" if precision in ("int8", "int16x8") else "fp32"
    per_cycle: Figure | None = cpu.macs_per_cycle.get(precision) or cpu.macs_per_cycle.get(stand_in)
    if per_cycle is None or cpu.clock_hz is None or cpu.cores is None:
        return None
    return per_cycle.value * cpu.clock_hz.value * cpu.cores
