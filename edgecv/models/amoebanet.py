"""AmoebaNet-A and C: cells found by evolution (Real et al. 2019, arXiv:1802.01548)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

from edgecv.layers.heads import classifier
from edgecv.models.imagenet import STANDARDISED, builder_of
from edgecv.models.registry import Builder, ModelRecord, Option, Paper, register

PAPER = Paper(
    "Real, Aggarwal, Huang, Le", 2019, "Regularized Evolution for Image Classifier Architecture Search", "1802.01548"
)
STEM_FILTERS = 96


@dataclass(frozen=True)
class Cell:
    """One cell's wiring, as figures 4 and 5 and the published specification give it.

    Attributes
    ----------
    pairs : tuple of ((operation, state), (operation, state))
        State 0 is the last cell's output, 1 that of the cell before it, 2 and on the sums of this cell's pairs.
    joined : tuple of int
        States that no pair takes: they are the cell's output.
    """

    pairs: tuple[tuple[tuple[str, int], tuple[str, int]], ...]
    joined: tuple[int, ...]


NORMAL = {
    "a": Cell(
        (
            (("avg", 0), ("max", 0)),
            (("separable3", 1), ("none", 1)),
            (("none", 0), ("avg", 1)),
            (("separable3", 0), ("separable5", 2)),
            (("avg", 5), ("separable3", 0)),
        ),
        joined=(1, 3, 4, 6),
    ),
    "c": Cell(
        (
            (("avg", 0), ("separable3", 0)),
            (("none", 0), ("separable3", 0)),
            (("avg", 2), ("separable3", 1)),
            (("none", 0), ("separable3", 1)),
            (("avg", 3), ("separable3", 0)),
        ),
        joined=(1, 2, 4, 5, 6),
    ),
}
REDUCTION = {
    "a": Cell(
        (
            (("separable3", 1), ("avg", 0)),
            (("max", 0), ("separable7", 2)),
            (("max", 1), ("max", 0)),
            (("separable3", 4), ("1x7_7x1", 0)),
            (("avg", 1), ("separable7", 0)),
        ),
        joined=(2, 3, 4, 5, 6),
    ),
    "c": Cell(
        (
            (("max", 0), ("max", 0)),
            (("separable7", 2), ("separable3", 0)),
            (("separable7", 0), ("max", 1)),
            (("separable5", 4), ("separable5", 4)),
            (("max", 1), ("separable3", 1)),
        ),
        joined=(0, 2, 3, 4, 5, 6),
    ),
}


def body(image: Any, variant: str, cells: int, filters: int) -> Any:
    """Two reducing cells as stem, then three stacks with a reducing cell between them.

    Parameters
    ----------
    image : (N, H, W, C) tensor
    variant : {"a", "c"}
    cells : int
        Ordinary cells of a stack (N).
    filters : int
        Of the first stack (F); the stem has a quarter and a half of it, the others twice and four times as many.

    Returns
    -------
    (N, H/32, W/32, C') tensor
    """
    import keras

    from edgecv.layers.searched_cell import normalise

    normal, reduction = NORMAL[variant], REDUCTION[variant]
    x = keras.layers.Conv2D(
        STEM_FILTERS, 3, strides=2, padding="valid", use_bias=False, kernel_initializer="he_normal", name="stem_conv"
    )(image)
    x = normalise(x, "stem")
    before, x = x, build_cell(reduction, None, x, filters // 4, 2, "stem_cell1")
    before, x = x, build_cell(reduction, before, x, filters // 2, 2, "stem_cell2")
    for stack in range(3):
        width = filters * 2**stack
        if stack > 0:
            before, x = x, build_cell(reduction, before, x, width, 2, f"reduction{stack}")
        for number in range(1, cells + 1):
            before, x = x, build_cell(normal, before, x, width, 1, f"stack{stack + 1}_cell{number}")
    return keras.layers.Activation("relu", name="features")(x)


def build_cell(cell: Cell, before: Any, now: Any, filters: int, strides: int, name: str) -> Any:
    """One cell.

    Parameters
    ----------
    cell : Cell
    before, now : (N, H, W, C) tensor
        Outputs of the last cell but one and of the last; None for `before` takes `now` as it is.
    filters, strides : int
    name : str
    """
    import keras

    from edgecv.layers.searched_cell import convolution, factorized_reduction, match, normalise, relu_convolution

    older = now if before is None else match(before, now, filters, f"{name}_before")
    states = [relu_convolution(now, filters, f"{name}_now"), older]
    for number, pair in enumerate(cell.pairs, start=1):
        sides = [
            _operation(operation, states[state], filters, strides if state < 2 else 1, f"{name}_{number}_{side}")
            for side, (operation, state) in zip(("left", "right"), pair, strict=True)
        ]
        states.append(keras.layers.Add(name=f"{name}_{number}_add")(sides))
    outputs = []
    for state in cell.joined:
        x = states[state]
        if x.shape[1:3] != states[-1].shape[1:3]:
            x = factorized_reduction(x, filters, f"{name}_kept{state}")
        elif x.shape[-1] != filters:
            x = normalise(convolution(x, filters, 1, f"{name}_kept{state}"), f"{name}_kept{state}")
        outputs.append(x)
    return keras.layers.Concatenate(name=name)(outputs)


def _operation(operation: str, x: Any, filters: int, strides: int, name: str) -> Any:
    from edgecv.layers.searched_cell import convolution, normalise, pool, relu, relu_convolution, separable

    if operation.startswith("separable"):
        return separable(x, filters, int(operation[-1]), name, strides)
    if operation == "none":
        return x if strides == 1 and x.shape[-1] == filters else relu_convolution(x, filters, name, strides)
    if operation in ("avg", "max"):
        x = pool(x, operation, name, strides)
        return x if x.shape[-1] == filters else normalise(convolution(x, filters, 1, name), name)
    # 1x7 and 7x1 between two 1x1 convolutions, at a quarter of the channels.
    narrow = max(1, filters // 4)
    x = relu_convolution(x, narrow, f"{name}_reduce")
    x = normalise(convolution(relu(x, f"{name}_1x7"), narrow, (1, 7), f"{name}_1x7", (1, strides)), f"{name}_1x7")
    x = normalise(convolution(relu(x, f"{name}_7x1"), narrow, (7, 1), f"{name}_7x1", (strides, 1)), f"{name}_7x1")
    return relu_convolution(x, filters, f"{name}_expand")


def _named(variant: str, filters: int, costs: tuple[int, int]) -> Builder:
    record = ModelRecord(
        name=f"amoebanet_{variant}",
        task="classification",
        summary=f"AmoebaNet-{variant.upper()} (N = 6, F = {filters}): cells found by evolution",
        paper=PAPER,
        input_shape=(331, 331, 3),
        classes=1000,
        parameters=costs[0],
        macs=costs[1],
        preprocessing=STANDARDISED,
        options=(
            Option("cells", int, 6, 1, 12, "ordinary cells of each of the three stacks (N)"),
            Option("filters", int, filters, 8, 512, "channels of a cell in the first stack (F)"),
        ),
        weights_note="its authors publish no weights for Keras",
    )

    def of_variant(image: Any, cells: int = 6, filters: int = filters) -> Any:
        return body(image, variant, cells, filters)

    return register(record)(builder_of(record, of_variant, partial(classifier, dropout=0.5)))


amoebanet_a = _named("a", 190, (86_929_345, 23_370_620_627))
amoebanet_c = _named("c", 228, (155_573_287, 41_405_473_899))
