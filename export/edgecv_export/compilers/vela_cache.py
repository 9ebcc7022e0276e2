"""The part of a cache that Vela's schedule takes, where not all feature maps of a small model fit into it.

Operators whose feature maps do not fit together are run as a cascade: strips of rows go through all of them, and of
the maps between them only a few rows are kept. What goes in and what comes out stays outside where it does not fit
beside them, as do maps that wait long for their reader. Read from the schedules that Vela 5.2 prints
(``--verbose-schedule``): strips are half as high as the map or lower, and a cascade keeps twice the rows that an
operator reads of its strip.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from edgecv_export.memory import Buffer
from edgecv_export.tflite_graph import Graph, Operator, Tensor

# Longer ones fill the cache anyhow: their strips are as high as it lets them be.
_LONGEST_CASCADE = 3
_SOON = 20_000  # bytes of weights that are there in no time
_PATIENCE = 1.5  # weights of this share of the feature maps are fetched where memory is slow
_CASCADED = frozenset({"CONV_2D", "DEPTHWISE_CONV_2D"})


@dataclass
class Schedule:
    """A schedule in the making.

    Attributes
    ----------
    graph : Graph
    maps : list of Buffer
        Those in the cache.
    outside : sequence of Buffer
        The model's inputs and outputs, which lie in the larger memory.
    weights : Mapping of int to int
        Bytes of an operator's weights, which are fetched beforehand where they fit.
    sizes : Mapping of int to int
        Bytes of a feature map, as the accelerator keeps it.
    aliases : Mapping of int to int
        Tensors in the place of others.
    alone : Collection of int
        Operators that take no part in a cascade.
    limit : int
    patient : bool
        Whether memory is so slow that weights somewhat larger than the feature maps are fetched beforehand, too.
    cascades : dict
        Bytes that the cascade of an operator takes.
    """

    graph: Graph
    maps: list[Buffer]
    outside: Sequence[Buffer]
    weights: Mapping[int, int]
    sizes: Mapping[int, int]
    aliases: Mapping[int, int]
    alone: Collection[int]
    limit: int
    patient: bool = False
    cascades: dict[int, int] = field(default_factory=dict)

    def peak(self) -> int | None:
        """Bytes of the cache that are taken at most; None where the model is too large to tell less than all of it."""
        for operator in self.graph.operators:
            at = operator.index
            while at not in self.cascades and self._touched(at) > self.limit:
                if self._cascade(at) or self._alive(at) <= self.limit:
                    break
                if not self._leave_waiting(at):
                    return None
        fetched, most = 0, 0  # from the last operator to the first: the weights of the next are on their way
        for operator in reversed(self.graph.operators):
            at = operator.index
            own = self.cascades.get(at, 0) or self._fetched(at, fetched)
            most = max(most, min(self.limit, self._alive(at) + own + fetched))
            fetched = 0 if at in self.cascades else own
        return most

    def _alive(self, at: int) -> int:
        """Bytes of the feature maps while an operator runs."""
        return sum(own.size for own in self.maps if own.first <= at <= own.last)

    def _touched(self, at: int) -> int:
        """Bytes that an operator would need if all that it reads and writes lay in the cache."""
        return self._alive(at) + sum(own.size for own in self.outside if own.first <= at <= own.last)

    def _fetched(self, at: int, following: int) -> int:
        """Bytes of an operator's weights that are there before it begins, where they fit beside all else."""
        weights, alive = self.weights.get(at, 0), self._alive(at)
        before = self._alive(at - 1) + self.cascades.get(at - 1, 0) if at else 0
        fits = alive + weights + following <= self.limit and before + weights <= self.limit
        wanted = weights <= alive * (_PATIENCE if self.patient else 1.0)
        return weights if fits and wanted and has_time(self.graph, at, weights) else 0

    def _leave_waiting(self, at: int) -> bool:
        """Keep the largest map outside that the operator neither reads nor writes."""
        operator = self.graph.operators[at]
        own = {self._place(tensor) for tensor in (*operator.inputs, *operator.outputs) if tensor is not None}
        waiting = [one for one in self.maps if one.first <= at <= one.last and one.tensor not in own]
        if not waiting:
            return False
        self.maps.remove(max(waiting, key=lambda one: one.size))
        return True

    # -- cascades ------------------------------------------------------------------------------------------------------

    def _cascade(self, at: int) -> bool:
        """Run the operator, the one before it and those behind that do not fit as a cascade."""
        last = at
        while last + 1 < len(self.graph.operators) and self._touched(last + 1) > self.limit:
            last += 1
        chain = [self.graph.operators[index] for index in range(at, last + 1)]
        before = self.graph.operators[at - 1] if at else None
        if before is not None and self._follows(chain[0], before):
            chain.insert(0, before)
        if not 1 < len(chain) <= _LONGEST_CASCADE or chain[0].index in self.alone:
            return False
        if not all(self._follows(later, earlier) for earlier, later in pairwise(chain)):
            return False
        inner = {self._place(operator.outputs[0]) for operator in chain[:-1]}
        border = {self._place(chain[-1].outputs[0])} | {self._place(one) for one in chain[0].inputs if one is not None}
        kept = [one for one in self.maps if one.tensor not in inner]
        beside = sum(
            one.size for one in kept
            if one.tensor not in border and one.first <= chain[-1].index and one.last >= chain[0].index
        )  # fmt: skip
        taken = self._strips(chain, self.limit - beside)
        if taken is None:
            return False
        self.maps = [one for one in kept if one.tensor not in border or beside + taken + one.size <= self.limit]
        self.cascades |= {operator.index: taken for operator in chain}
        return True

    def _follows(self, later: Operator, earlier: Operator) -> bool:
        """Whether an operator is the only one that reads another's result, and both can be cut into strips."""
        result = earlier.outputs[0]
        readers = [one.index for one in self.graph.operators if result in one.inputs]
        kinds = {earlier.kind, later.kind} <= _CASCADED
        return (
            kinds and readers == [later.index] and result.index not in self.aliases and earlier.index not in self.alone
        )

    def _strips(self, chain: Sequence[Operator], room: int) -> int | None:
        """Bytes of the cascade with the highest strips that fit; None where none do."""
        weights = sum(self.weights.get(operator.index, 0) for operator in chain)
        for height in range(-(-chain[-1].outputs[0].shape[1] // 2), 0, -1):
            taken, rows = weights, height
            for operator in reversed(chain[1:]):
                given = operator.inputs[0]
                if given is not None:
                    taken += 2 * _rows_read(operator, rows) * self.sizes[given.index] // given.shape[1]
                rows *= operator.options.get("stride_h", 1)
            if taken <= room:
                return taken
        return None

    def _place(self, tensor: Tensor) -> int:
        return self.aliases.get(tensor.index, tensor.index)


def _rows_read(operator: Operator, rows: int) -> int:
    """Rows of its input that an operator reads for so many rows of its result."""
    weights, given = operator.input(1), operator.input(0)
    kernel = 1 if weights is None else weights.shape[1]
    stride, dilation = operator.options.get("stride_h", 1), operator.options.get("dilation_hfactor", 1)
    reach = (rows - 1) * stride + (kernel - 1) * dilation + 1
    return reach if given is None else min(reach, given.shape[1])


def has_time(graph: Graph, at: int, weights: int) -> bool:
    """Whether the operator before takes long enough to fetch weights meanwhile: a pooling or a copy does not."""
    return weights <= _SOON or at == 0 or graph.operators[at - 1].macs > 0
