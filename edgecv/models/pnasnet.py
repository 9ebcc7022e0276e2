"""PNASNet-5: one cell found by progressive search (Liu et al. 2018, arXiv:1712.00559)."""

from __future__ import annotations

from functools import partial
from typing import Any

from edgecv.layers.heads import classifier
from edgecv.models.imagenet import SYMMETRIC, builder_of
from edgecv.models.registry import ModelRecord, Option, Paper, register

PAPER = Paper(
    "Liu, Zoph, Neumann, Shlens, Hua, Li, Fei-Fei, Yuille, Huang, Murphy",
    2018,
    "Progressive Neural Architecture Search",
    "1712.00559",
)
STEM_FILTERS = 96

_RECORD = ModelRecord(
    name="pnasnet5",
    task="classification",
    summary="PNASNet-5 (N = 4, F = 216): one cell, with stride 2 where the map is halved",
    paper=PAPER,
    input_shape=(331, 331, 3),
    classes=1000,
    parameters=86_234_656,
    macs=24_937_395_792,
    preprocessing=SYMMETRIC,
    options=(
        Option("cells", int, 3, 1, 6, "ordinary cells of each of the three stacks"),
        Option("filters", int, 216, 8, 512, "channels of a cell in the first stack; a multiple of 4"),
    ),
    weights_note="Keras publishes none for it",
)


def body(image: Any, cells: int = 3, filters: int = 216) -> Any:
    """Two reducing cells as stem, then three stacks of which the second and third begin with a reducing cell.

    Parameters
    ----------
    image : (N, H, W, C) tensor
    cells : int
        Ordinary cells of a stack. The paper's N = 4 counts a stack's first cell too.
    filters : int
        Of the first stack (F); the stem has a quarter and a half of it, the others twice and four times as many.

    Returns
    -------
    (N, H/32, W/32, 20 filters) tensor
    """
    import keras

    from edgecv.layers.searched_cell import normalise

    x = keras.layers.Conv2D(
        STEM_FILTERS, 3, strides=2, padding="valid", use_bias=False, kernel_initializer="he_normal", name="stem_conv"
    )(image)
    x = normalise(x, "stem")
    before, x = x, _cell(None, x, filters // 4, 2, "stem_cell1")
    before, x = x, _cell(before, x, filters // 2, 2, "stem_cell2")
    for stack in range(3):
        width = filters * 2**stack
        # The first stack has the stem for its reduction, and an ordinary cell in the place of one.
        before, x = x, _cell(before, x, width, 1 if stack == 0 else 2, f"stack{stack + 1}_first")
        for number in range(1, cells + 1):
            before, x = x, _cell(before, x, width, 1, f"stack{stack + 1}_cell{number}")
    return keras.layers.Activation("relu", name="features")(x)


def _cell(before: Any, now: Any, filters: int, strides: int, name: str) -> Any:
    """Figure 1, left: five pairs of operations whose sums are joined.

    Parameters
    ----------
    before, now : (N, H, W, C) tensor
        Outputs of the last cell but one and of the last. The very first cell has one input: `before` is then None,
        and its branches from there change the channels themselves.
    filters, strides : int
    name : str

    Returns
    -------
    (N, H / strides, W / strides, 5 filters) tensor
    """
    import keras

    from edgecv.layers.searched_cell import convolution, normalise, pool, relu_convolution, separable

    right = relu_convolution(now, filters, f"{name}_now")
    left = now if before is None else _older(before, now, filters, f"{name}_before")
    pooled = pool(left, "max", f"{name}_1_right", strides)
    if before is None:
        pooled = normalise(convolution(pooled, filters, 1, f"{name}_1_right"), f"{name}_1_right")
    third = keras.layers.Add(name=f"{name}_3_add")(
        [separable(right, filters, kernel, f"{name}_3_{side}", strides) for kernel, side in ((5, "left"), (3, "right"))]
    )
    kept = right if strides == 1 else relu_convolution(right, filters, f"{name}_5_right", strides)
    pairs = {
        1: (separable(left, filters, 5, f"{name}_1_left", strides), pooled),
        2: (separable(right, filters, 7, f"{name}_2_left", strides), pool(right, "max", f"{name}_2_right", strides)),
        4: (separable(third, filters, 3, f"{name}_4_left"), pool(right, "max", f"{name}_4_right", strides)),
        5: (separable(left, filters, 3, f"{name}_5_left", strides), kept),
    }
    sums = {number: keras.layers.Add(name=f"{name}_{number}_add")(list(pair)) for number, pair in pairs.items()}
    return keras.layers.Concatenate(name=name)([sums[1], sums[2], third, sums[4], sums[5]])


def _older(before: Any, now: Any, filters: int, name: str) -> Any:
    """The older input at the size of the newer; a 1x1 convolution even where the channels fit already."""
    from edgecv.layers.searched_cell import match, relu_convolution

    if before.shape[1:3] == now.shape[1:3]:
        return relu_convolution(before, filters, name)
    return match(before, now, filters, name)


pnasnet5 = register(_RECORD)(builder_of(_RECORD, body, partial(classifier, dropout=0.5)))
