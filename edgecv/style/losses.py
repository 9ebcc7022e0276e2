"""Losses of style transfer (Gatys, Ecker, Bethge 2016, "Image Style Transfer Using Convolutional Neural Networks").

In the paper's letters: layer l gives N_l maps of M_l positions; F_ik is what the generated picture gives in map i at
position k, P_ik what the content picture gives. All of them take batches and give one value for each picture; they run
on any Keras back end.
"""

from __future__ import annotations

from typing import Any


def content_loss(features: Any, wanted: Any) -> Any:
    """½ Σ (F_ik − P_ik)² (eq. 1).

    Parameters
    ----------
    features, wanted : (N, H, W, C) float tensors

    Returns
    -------
    (N,) tensor
    """
    from keras import ops

    return ops.sum(ops.square(features - wanted), axis=(1, 2, 3)) / 2


def gram(features: Any) -> Any:
    """G_ij = Σ_k F_ik F_jk (eq. 3): which maps are strong together, wherever that is.

    Parameters
    ----------
    features : (N, H, W, C) float tensor

    Returns
    -------
    (N, C, C) tensor

    Examples
    --------
    >>> import numpy as np
    >>> np.asarray(gram(np.array([[[[1.0, 2.0], [3.0, 4.0]]]], "float32"))).tolist()
    [[[10.0, 14.0], [14.0, 20.0]]]
    """
    from keras import ops

    rows = ops.reshape(features, (-1, features.shape[1] * features.shape[2], features.shape[3]))
    return ops.matmul(ops.transpose(rows, (0, 2, 1)), rows)


def style_loss(features: Any, wanted: Any, wanted_positions: int | None = None) -> Any:
    """E_l = 1 / (4 N_l² M_l²) · Σ (G_ij − A_ij)² (eq. 4): how far one layer's Gram matrix is from the style's.

    Parameters
    ----------
    features : (N, H, W, C) float tensor
        Of the generated pictures.
    wanted : (1 or N, C, C) float tensor
        A: `gram` of the style picture.
    wanted_positions : int, optional
        M of the style picture, where its size is another than the generated pictures'; both matrices then count per
        position.

    Returns
    -------
    (N,) tensor
    """
    from keras import ops

    maps, positions = features.shape[3], features.shape[1] * features.shape[2]
    ours = gram(features) / (maps * positions)
    theirs = wanted / (maps * (positions if wanted_positions is None else wanted_positions))
    # The division comes first: the sums of a large picture's squares would leave little of float32.
    return ops.sum(ops.square(ours - theirs), axis=(1, 2)) / 4


def total_variation(images: Any) -> Any:
    """Mean squared difference of neighbouring pixels, down and across (Mahendran & Vedaldi 2015, eq. 5, β = 2).

    The paper's sum is divided by the number of values, so that a weight means the same at every size.

    Parameters
    ----------
    images : (N, H, W, C) float tensor

    Returns
    -------
    (N,) tensor
    """
    from keras import ops

    down = ops.sum(ops.square(images[:, 1:] - images[:, :-1]), axis=(1, 2, 3))
    across = ops.sum(ops.square(images[:, :, 1:] - images[:, :, :-1]), axis=(1, 2, 3))
    return (down + across) / (images.shape[1] * images.shape[2] * images.shape[3])
