"""Write ONNX nodes one after another."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt


class Writer:
    """Appends nodes and constants to a graph; each call gives the name of what it made.

    Parameters
    ----------
    graph : onnx.GraphProto
        Changed in place.
    prefix : str
        Of every new name.
    """

    def __init__(self, graph: Any, prefix: str = "nms") -> None:
        self._graph, self._prefix, self._count = graph, prefix, 0

    def _name(self, kind: str) -> str:
        self._count += 1
        return f"{self._prefix}/{kind}_{self._count}"

    def constant(self, values: npt.ArrayLike, dtype: Any = np.float32) -> str:
        """An initializer."""
        from onnx import numpy_helper

        name = self._name("constant")
        self._graph.initializer.append(numpy_helper.from_array(np.asarray(values, dtype), name))
        return name

    def node(self, operation: str, *inputs: str, output: str | None = None, **attributes: Any) -> str:
        """A node of one output."""
        return self.nodes(operation, *inputs, outputs=(output or self._name(operation),), **attributes)[0]

    def nodes(self, operation: str, *inputs: str, outputs: tuple[str, ...], **attributes: Any) -> tuple[str, ...]:
        """A node with these outputs."""
        from onnx import helper

        name = outputs[0] if outputs[0].startswith(self._prefix) else self._name(operation)
        self._graph.node.append(helper.make_node(operation, inputs, outputs, name=name, **attributes))
        return outputs

    def pair(self, operation: str, *inputs: str, **attributes: Any) -> tuple[str, str]:
        """A node of two outputs."""
        first, second = self.nodes(
            operation, *inputs, outputs=(self._name(operation), self._name("second")), **attributes
        )
        return first, second

    def part(self, tensor: str, start: int, stop: int, axis: int = 2) -> str:
        """A slice along one axis."""
        bounds = [self.constant([value], np.int64) for value in (start, stop, axis)]
        return self.node("Slice", tensor, *bounds)
