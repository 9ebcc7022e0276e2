"""MobileNet v2 as an embedder: its features, pooled and projected to a vector."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgecv.layers.embedding import DIMENSION, POOLINGS, embedding_head
from edgecv.models.mobilenet_v2 import mobilenet_v2
from edgecv.models.registry import ModelRecord, Option, Paper, Preprocessing, register

if TYPE_CHECKING:
    import keras

_SHAPE = (112, 112, 3)
_MINIMUM_SIZE = 32


@register(
    ModelRecord(
        name="mobilenet_v2_embedder",
        task="embedding",
        summary="MobileNet v2 features as a vector, for faces and for things to be found again",
        paper=Paper(
            "Sandler, Howard, Zhu, Zhmoginov, Chen",
            2018,
            "MobileNetV2: Inverted Residuals and Linear Bottlenecks",
            "1801.04381",
        ),
        input_shape=_SHAPE,
        classes=0,
        parameters=2_447_936,
        macs=81_088_128,
        preprocessing=Preprocessing(mean=(127.5,) * 3, std=(127.5,) * 3),
        options=(
            Option("alpha", float, 1.0, 0.1, 4.0, "width multiplier α: channels of every layer"),
            Option("dimension", int, DIMENSION, 2, 4096, "length of the vector"),
            Option("pooling", str, "depthwise", help=f"how positions are weighed: {', '.join(POOLINGS)}"),
        ),
        weights_note="there are no published weights of this embedder; pass a file of your own",
        minimum_size=_MINIMUM_SIZE,
    )
)
def mobilenet_v2_embedder(
    input_shape: tuple[int, int, int] | None = None,
    *,
    alpha: float = 1.0,
    dimension: int = DIMENSION,
    pooling: str = "depthwise",
    include_top: bool = True,
    name: str = "mobilenet_v2_embedder",
) -> keras.Model:
    """Build MobileNet v2 as an embedder with fresh weights.

    Parameters
    ----------
    input_shape : (height, width, channels), optional
        Default (112, 112, 3), at least 32 x 32. The network expects pixels as ``x / 127.5 - 1``.
    alpha : float
        Width multiplier of the features, as in `mobilenet_v2`.
    dimension : int
        Length of the vector.
    pooling : {"depthwise", "average"}
        See `edgecv.layers.embedding.embedding_head`.
    include_top : bool
        False ends with the (N, H/32, W/32, 1280) feature map.
    name : str

    Returns
    -------
    keras.Model
        From (N, height, width, channels) float32 to (N, dimension), not normalised: compare by the angle.

    Raises
    ------
    InputError
        A shape or a pooling that cannot be built.

    Notes
    -----
    The features carry the names and shapes of `mobilenet_v2`, so that weights for classification can be moved over
    layer by layer.

    Examples
    --------
    >>> mobilenet_v2_embedder(dimension=64).output_shape
    (None, 64)
    """
    import keras

    features = mobilenet_v2(_SHAPE if input_shape is None else input_shape, alpha=alpha, include_top=False, name=name)
    if not include_top:
        return features
    return keras.Model(features.input, embedding_head(features.output, dimension, pooling), name=name)
