"""What the rules look at, and what they say."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from edgecv_export.quantize.fold import fold_batch_norms
from edgecv_export.quantize.graph import Graph, Step
from edgecv_export.quantize.kernels import activation_name
from edgecv_export.quantize.rebuild import inline


@dataclass(frozen=True)
class Advice:
    """One thing about an architecture, and what to do about it.

    Attributes
    ----------
    rule : str
        Short name of what was found, for programs.
    severity : {"high", "medium", "low"}
        High: expect to lose points. Medium: some networks do. Low: size or speed, or accuracy in rare cases.
    title : str
    layers : tuple of str
        The layers concerned, in order of computation.
    cost : str
        What it costs, measured or published where a figure is given.
    remedy : str
        What helps.
    source : str
        Where the figures, or the reasoning, come from.
    """

    rule: str
    severity: str
    title: str
    layers: tuple[str, ...]
    cost: str
    remedy: str
    source: str

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {**asdict(self), "layers": list(self.layers)}


class Network:
    """A model as the rules see it: nested models laid open.

    Parameters
    ----------
    model : keras.Model
    format : str or None
        Which format it is for; None: any.
    """

    def __init__(self, model: Any, format: str | None) -> None:
        self.graph = Graph(inline(model))
        self.format = format

    @cached_property
    def folded(self) -> Graph:
        """The same with batch norms folded into the layers before them: the weights that are stored."""
        return Graph(fold_batch_norms(self.graph.model))

    def ends(self, step: Step) -> bool:
        """Whether a step gives an output of the model: a final activation is left to the device's decoder."""
        return any(tensor in self.graph.outputs for tensor in step.outputs)

    def producers(self, step: Step) -> list[Step]:
        """The steps whose outputs a step takes."""
        found = (self.graph.producer(tensor) for tensor in step.inputs)
        return [producer for producer in found if producer is not None]

    def help(self, *remedies: str) -> str:
        """Remedies in one line; int16x8 among them where the format has it."""
        wide = ["int16x8 (TFLite only, slower)" if self.format is None else "--precision int16x8 (slower)"]
        return "; ".join([*remedies, *(wide if self.format in (None, "tflite") else [])]) + "."


Rule = Callable[[Network], Iterable[Advice]]


def names(steps: Iterable[Step]) -> tuple[str, ...]:
    """Layer names without repetition."""
    return tuple(dict.fromkeys(step.layer.name for step in steps))


def kind(step: Step) -> str:
    """A layer's class."""
    return type(step.layer).__name__


# Layers that are an activation, and its name as Keras spells functions. ReLU is told apart by its ceiling.
_LAYERS = {
    "LeakyReLU": "leaky_relu", "PReLU": "prelu", "ELU": "elu", "Softmax": "softmax",
    "Sigmoid": "sigmoid", "Silu": "silu", "Gelu": "gelu", "HardSigmoid": "hard_sigmoid", "HardSilu": "hard_silu",
}  # fmt: skip
_ALIASES = {"swish": "silu", "hard_swish": "hard_silu"}


def activation(step: Step) -> str:
    """Name of the activation that a step applies, ``"linear"`` where it has none.

    ``keras.ops`` called on symbolic tensors are layers, too: ``Silu``, ``Sigmoid``.
    """
    layer, name = step.layer, kind(step)
    if name == "ReLU":
        return "relu" if layer.max_value is None else "relu6"
    if name in _LAYERS:
        return _LAYERS[name]
    found = activation_name(layer) if getattr(layer, "activation", None) is not None else "linear"
    return _ALIASES.get(found, found)
