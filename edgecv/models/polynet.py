"""Very Deep PolyNet: residual units that apply a block several times (Zhang et al. 2017, arXiv:1611.05725)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from edgecv.layers.heads import classifier
from edgecv.models.imagenet import NO_WEIGHTS, STANDARDISED, builder_of
from edgecv.models.registry import ModelRecord, Option, Paper, register

PAPER = Paper(
    "Zhang, Li, Loy, Lin", 2017, "PolyNet: A Pursuit of Structural Diversity in Very Deep Networks", "1611.05725"
)

# Section 4.3, "Very Deep PolyNet": ten 2-way units in stage A, ten pairs of a poly-3 and a 2-way unit in stage B, five
# in stage C.
UNITS = (10, 20, 10)
SCALE_RANGE = 0.3  # the last unit's residuals are scaled by 1 less this, the first one's by 1

_RECORD = ModelRecord(
    name="polynet",
    task="classification",
    summary="Inception-ResNet units of the second and third order",
    paper=PAPER,
    input_shape=(331, 331, 3),
    classes=1000,
    parameters=95_727_688,
    macs=34_699_493_472,
    preprocessing=STANDARDISED,
    weights_note=NO_WEIGHTS,
    minimum_size=75,
    options=(Option("units", int, 40, 4, 40, "of all stages together, shared out 1:2:1; 40 is the published depth"),),
)

# A stage's block up to its last convolution: the chains of (filters, kernel), joined, and the channels it goes back to.
_Kernel = int | tuple[int, int]
_BLOCKS: dict[str, tuple[tuple[tuple[tuple[int, _Kernel], ...], ...], int]] = {
    "a": ((((32, 1), (48, 3), (64, 3)), ((32, 1), (32, 3)), ((32, 1),)), 384),
    "b": ((((128, 1), (160, (1, 7)), (192, (7, 1))), ((192, 1),)), 1152),
    "c": ((((192, 1), (224, (1, 3)), (256, (3, 1))), ((192, 1),)), 2048),
}


def body(image: Any, units: int = 40) -> Any:
    """Stem and three stages with a reduction between them: 9 x 9 x 2048 at 331 pixels.

    Parameters
    ----------
    image : (N, H, W, C) tensor
    units : int
        Fewer make a shallower network of the same blocks.
    """
    from edgecv.layers.inception_stem import inception_v4_stem

    quarter = max(1, units // 4)
    stages = {"a": quarter, "b": max(1, units - 2 * quarter), "c": quarter}
    total, index = sum(stages.values()), 0
    x = inception_v4_stem(image)
    for stage, count in stages.items():
        if stage != "a":
            x = _reduction(x, stage)
        for number in range(count):
            scale = 1 - SCALE_RANGE * index / max(total - 1, 1)
            # Stage A has 2-way units only; behind it a poly-3 and a 2-way unit take turns.
            unit = _two_way if stage == "a" or number % 2 else _poly3
            x = unit(x, stage, scale, f"{stage}{number + 1}")
            index += 1
    return x


def _two_way(x: Any, stage: str, scale: float, name: str) -> Any:
    """``I + F + G``: two different blocks on the same input (figure 4, right)."""
    import keras

    total = x
    for way in (1, 2):
        total = _add(total, _block(x, stage, f"{name}_way{way}", _fresh), scale, f"{name}_{way}")
    return keras.layers.Activation("relu", name=f"{name}_out")(total)


def _poly3(x: Any, stage: str, scale: float, name: str) -> Any:
    """``I + F + F² + F³`` (figure 4, left): one block three times on its own output.

    The convolutions of the chains are shared between the three; normalisations and last convolutions are not.
    """
    import keras

    shared = _Shared()
    total = x
    for order in (1, 2, 3):
        x = _block(x, stage, f"{name}_order{order}", partial(shared, name=name))
        total = _add(total, x, scale, f"{name}_{order}")
        x = keras.layers.Activation("relu", name=f"{name}_order{order}_relu")(x)
    return keras.layers.Activation("relu", name=f"{name}_out")(total)


def _add(total: Any, x: Any, scale: float, name: str) -> Any:
    import keras

    x = keras.layers.Rescaling(scale, name=f"{name}_scale")(x)
    return keras.layers.Add(name=f"{name}_add")([total, x])


_Convolve = Callable[[Any, int, _Kernel, str, str], Any]


def _block(x: Any, stage: str, name: str, convolution: _Convolve) -> Any:
    """An Inception-ResNet block up to the sum, which its caller does."""
    from edgecv.layers.convolution import concatenate, convolve

    chains, filters = _BLOCKS[stage]
    branches = []
    for number, steps in enumerate(chains, start=1):
        branch = x
        for part, (width, kernel) in enumerate(steps, start=1):
            branch = convolution(branch, width, kernel, f"path{number}_{part}", name)
        branches.append(branch)
    joined = concatenate(branches, f"{name}_concat")
    return convolve(joined, filters, 1, activation=None, epsilon=1e-5, name=f"{name}_expand")


def _fresh(x: Any, filters: int, kernel: _Kernel, part: str, block: str) -> Any:
    from edgecv.layers.convolution import convolve

    return convolve(x, filters, kernel, epsilon=1e-5, name=f"{block}_{part}")


class _Shared:
    """Convolutions by their place in the block, made at the first use."""

    def __init__(self) -> None:
        self._layers: dict[str, Any] = {}

    def __call__(self, x: Any, filters: int, kernel: _Kernel, part: str, block: str, *, name: str) -> Any:
        import keras

        from edgecv.layers.convolution import INITIALIZER

        layers = keras.layers
        if part not in self._layers:
            self._layers[part] = layers.Conv2D(
                filters,
                kernel,
                padding="same",
                use_bias=False,
                kernel_initializer=INITIALIZER,
                name=f"{name}_{part}_conv",
            )
        x = layers.BatchNormalization(epsilon=1e-5, name=f"{block}_{part}_bn")(self._layers[part](x))
        return layers.Activation("relu", name=f"{block}_{part}_relu")(x)


def _reduction(x: Any, stage: str) -> Any:
    """Halve the map before stage B or C: branches that end in a strided 3x3 convolution, and pooling."""
    from edgecv.layers.convolution import chain, concatenate, convolve, max_pool

    paths: tuple[tuple[tuple[tuple[int, _Kernel], ...], int], ...]
    if stage == "b":
        paths = ((((256, 1), (256, 3)), 384), ((), 384))
    else:
        paths = ((((256, 1), (256, 3)), 256), (((256, 1),), 256), (((256, 1),), 384))
    name = f"reduction_{stage}"
    branches = []
    for number, (steps, filters) in enumerate(paths, start=1):
        branch = chain(x, steps, f"{name}_path{number}", epsilon=1e-5)
        down = f"{name}_path{number}_down"
        branches.append(convolve(branch, filters, 3, strides=2, padding="valid", epsilon=1e-5, name=down))
    branches.append(max_pool(x, 3, 2, "valid", f"{name}_pool"))
    return concatenate(branches, name)


polynet = register(_RECORD)(builder_of(_RECORD, body, partial(classifier, dropout=0.2)))
