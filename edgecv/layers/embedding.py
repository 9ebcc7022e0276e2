"""The end of an embedder: from a feature map to a vector."""

from __future__ import annotations

from typing import Any

from edgecv_runtime.errors import InputError

DIMENSION = 128
POOLINGS = ("depthwise", "average")


def embedding_head(x: Any, dimension: int, pooling: str = "depthwise") -> Any:
    """From (N, H, W, C) features to (N, dimension), with a linear layer.

    Parameters
    ----------
    x : (N, H, W, C) tensor
    dimension : int
    pooling : {"depthwise", "average"}
        ``"depthwise"``: a convolution as large as the map gives each position a weight of its own, since the middle
        of an aligned face says more than its corners (Chen et al. 2018, section 3.1, eq. 1). ``"average"``: all
        positions alike.

    Raises
    ------
    InputError
        Another pooling.
    """
    import keras

    layers = keras.layers
    if pooling not in POOLINGS:
        raise InputError(f"pooling must be one of {', '.join(POOLINGS)}; received {pooling!r}")
    if pooling == "depthwise":
        x = layers.DepthwiseConv2D(tuple(x.shape[1:3]), use_bias=False, name="global_depthwise")(x)
        x = normalise(x, "global_depthwise_bn")
    else:
        x = layers.GlobalAveragePooling2D(keepdims=True, name="global_average")(x)
    x = layers.Conv2D(dimension, 1, use_bias=False, name="embedding")(x)
    x = normalise(x, "embedding_bn")
    return layers.Flatten(name="vector")(x)


def normalise(x: Any, name: str) -> Any:
    """Batch normalisation."""
    import keras

    # Embedders are trained on small sets with short epochs: statistics that follow within tens of batches.
    return keras.layers.BatchNormalization(momentum=0.9, name=name)(x)
