"""Each operator of a graph against a target's table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from edgecv_export.compatibility.remedies import remedy
from edgecv_export.compatibility.rules import broken
from edgecv_export.latency import Estimate, estimate
from edgecv_export.micro_kernels import MICRO_KERNELS
from edgecv_export.tflite_graph import Graph, Operator
from edgecv_targets import Accelerator, Target, load_accelerator

ACCELERATOR, CPU, UNSUPPORTED = "accelerator", "cpu", "unsupported"


@dataclass(frozen=True)
class Placed:
    """Where an operator runs.

    Attributes
    ----------
    index : int
    kind, name : str
    where : {"accelerator", "cpu", "unsupported"}
    reason : str
        Why not on the accelerator; empty where it does run there, or where the target has none.
    remedy : str
        What to change; may be empty.
    macs : int
    """

    index: int
    kind: str
    name: str
    where: str
    reason: str = ""
    remedy: str = ""
    macs: int = 0


@dataclass(frozen=True)
class Compatibility:
    """Where a model runs on a target.

    Attributes
    ----------
    target : str
    table : str or None
        The operator table that was used; None where the target has no accelerator, or its maker publishes no table.
    operators : tuple of Placed
    time : Estimate or None
        None where the figures for one are not published.
    note : str
        What could not be checked.
    """

    target: str
    table: str | None
    operators: tuple[Placed, ...]
    time: Estimate | None = None
    note: str = ""

    def _count(self, where: str) -> int:
        return sum(operator.where == where for operator in self.operators)

    @property
    def accelerated(self) -> float:
        """Share of the operators on the accelerator, 0 to 1."""
        return self._count(ACCELERATOR) / max(1, len(self.operators))

    @property
    def fallback_operators(self) -> float:
        """Share of the operators that are not on the accelerator although there is one, 0 to 1."""
        return 0.0 if self.table is None else 1 - self.accelerated

    @property
    def fallback_macs(self) -> float:
        """Share of the multiply-accumulates that are not on the accelerator although there is one, 0 to 1."""
        total = sum(operator.macs for operator in self.operators)
        left = sum(operator.macs for operator in self.operators if operator.where != ACCELERATOR)
        return 0.0 if self.table is None or not total else left / total

    @property
    def fallback_time(self) -> float | None:
        """Share of the estimated time that is not spent on the accelerator although there is one, 0 to 1."""
        if self.table is None:
            return 0.0
        if self.time is None or not self.time.seconds:
            return None
        placed = {operator.index: operator.where for operator in self.operators}
        left = sum(time for index, time in self.time.by_operator.items() if placed[index] != ACCELERATOR)
        return left / sum(self.time.by_operator.values())

    @property
    def unsupported(self) -> tuple[Placed, ...]:
        """The operators that run nowhere on the target."""
        return tuple(operator for operator in self.operators if operator.where == UNSUPPORTED)

    def meets(self, max_fallback: float) -> bool:
        """Whether everything runs, and at most so many percent of the operators fall back to the CPU."""
        return not self.unsupported and 100 * self.fallback_operators <= max_fallback + 1e-9

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "target": self.target,
            "table": self.table,
            "counts": {where: self._count(where) for where in (ACCELERATOR, CPU, UNSUPPORTED)},
            "accelerated": self.accelerated,
            "fallback": {
                "operators": self.fallback_operators,
                "macs": self.fallback_macs,
                "time": self.fallback_time,
            },
            "estimated_ms": None if self.time is None else 1e3 * self.time.seconds,
            "note": self.note,
            "operators": [asdict(operator) for operator in self.operators],
        }


def check(graph: Graph, target: Target, host: Target | None = None) -> Compatibility:
    """Where each operator of a TFLite graph runs on a target.

    Parameters
    ----------
    graph : Graph
    target : Target
        Where the maker of its accelerator publishes no operator table, everything counts as running on the CPU, and
        the note says so.
    host : Target, optional
        The device whose processor runs what falls back, for the estimate: an accelerator can sit in many.
    """
    use = target.accelerator
    kernels = MICRO_KERNELS if any(backend.name == "tflite-micro" for backend in target.backends) else None
    if use is None or use.table is None or load_accelerator(use.table).format != "tflite":
        placed = tuple(_on_cpu(operator, kernels) for operator in graph.operators)
        note = "" if use is None else f"the operators of {use.name} are not published as a table: its compiler decides"
        table = None
    else:
        accelerator = load_accelerator(use.table)
        placed = place(graph, accelerator, kernels)
        note, table = "", accelerator.id
    where = {operator.index: operator.where for operator in placed}
    whole = target if host is None else replace(target, cpu=host.cpu, memory_bandwidth=host.memory_bandwidth)
    return Compatibility(target.id, table, placed, estimate(graph, whole, where), note)


def place(graph: Graph, accelerator: Accelerator, cpu_kernels: Mapping[str, str] | None = None) -> tuple[Placed, ...]:
    """Each operator against an operator table.

    Parameters
    ----------
    graph : Graph
    accelerator : Accelerator
    cpu_kernels : mapping, optional
        The operators that the program on the CPU has; None: all standard ones.
    """
    found: list[Placed] = []
    behind, entered = "", False
    padded = {operator.outputs[0].index: operator for operator in graph.operators if operator.kind == "PAD"}
    for operator in graph.operators:
        placed = _place(operator, accelerator, cpu_kernels, behind)
        before = operator.input(0)
        if placed.where == ACCELERATOR and before is not None and before.index in padded:
            placed = _behind_padding(placed, operator, padded[before.index], accelerator)
        found.append(placed)
        entered |= placed.where == ACCELERATOR
        if placed.where != ACCELERATOR and entered and not accelerator.continues_after_cpu and not behind:
            behind = f"it comes behind {placed.kind} {placed.name!r}, where the graph leaves {accelerator.name}"
    return tuple(found)


def _place(operator: Operator, accelerator: Accelerator, cpu_kernels: Mapping[str, str] | None, behind: str) -> Placed:
    if behind:
        return _on_cpu(operator, cpu_kernels, behind)
    title = _title(operator)
    rules = accelerator.operators.get(operator.kind)
    if rules is None:
        reason = f"{title} is not among the operators of {accelerator.name}"
        return _on_cpu(operator, cpu_kernels, reason, remedy(operator, None))
    problem = broken(operator, rules)
    if problem is not None:
        return _on_cpu(operator, cpu_kernels, problem.reason, remedy(operator, problem.rule))
    return Placed(operator.index, title, operator.name, ACCELERATOR, macs=operator.macs)


def _behind_padding(placed: Placed, operator: Operator, padding: Operator, accelerator: Accelerator) -> Placed:
    """The same, unless the compiler joins the operator with the padding before it and then cannot run both."""
    longest, weights, borders = accelerator.joined_padding_stride, operator.input(1), padding.input(1)
    if operator.kind != "CONV_2D" or longest is None or weights is None or borders is None or not borders.constant:
        return placed
    stride = max(operator.options.get("stride_h", 1), operator.options.get("stride_w", 1))
    joined = all(max(sides) < size for sides, size in zip(borders.values()[1:3], weights.shape[1:3], strict=True))
    if stride <= longest or not joined:
        return placed
    return replace(
        placed,
        where=UNSUPPORTED,
        reason=f"the compiler joins the padding before it with it, and then takes strides of at most {longest} only; "
        f"this one has {stride}",
        remedy="keep them apart by a pooling over single pixels (--fix), or pad inside the convolution",
    )


def _on_cpu(operator: Operator, kernels: Mapping[str, str] | None, reason: str = "", help_: str = "") -> Placed:
    title = _title(operator)
    if operator.kind == "CUSTOM" and operator.custom not in _RUNTIME_CUSTOM:
        why = f"the custom operator {operator.custom!r} has no kernel in the runtime"
        return Placed(operator.index, title, operator.name, UNSUPPORTED, why, remedy(operator, None), operator.macs)
    if kernels is not None and operator.kind not in kernels:
        why = f"TensorFlow Lite Micro has no kernel for {title}"
        return Placed(
            operator.index, title, operator.name, UNSUPPORTED, why, help_ or remedy(operator, None), operator.macs
        )
    return Placed(operator.index, title, operator.name, CPU, reason, help_, operator.macs)


# Custom operators that every TFLite interpreter brings.
_RUNTIME_CUSTOM = frozenset({"TFLite_Detection_PostProcess"})


def _title(operator: Operator) -> str:
    return operator.custom or operator.kind if operator.kind == "CUSTOM" else operator.kind


def reasons(operators: Sequence[Placed]) -> list[tuple[str, str, str, int]]:
    """Those not on the accelerator, alike ones together: kind, reason, remedy and how many."""
    found: dict[tuple[str, str, str], int] = {}
    for operator in operators:
        if operator.where != ACCELERATOR and operator.reason:
            key = operator.kind, operator.reason, operator.remedy
            found[key] = found.get(key, 0) + 1
    return [(*key, count) for key, count in found.items()]
