"""Where pictures lie in embedding space: nearest neighbours, and maps of the plane by t-SNE or UMAP."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecv.explain.pictures import grid
from edgecv_runtime._require import require
from edgecv_runtime.errors import InputError
from edgecv_runtime.images import Image, as_rgb, cv2

_TILE = 96  # side of a drawn neighbour, pixels


def nearest_neighbours(
    vectors: npt.ArrayLike, queries: npt.ArrayLike, count: int = 5
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    """The stored vectors at the smallest angle to each query.

    Parameters
    ----------
    vectors : (N, D)
    queries : (M, D)
    count : int
        k, at most N.

    Returns
    -------
    indices : (M, k) int64, the nearest first
    cosines : (M, k) float32

    Raises
    ------
    InputError
        Shapes that do not fit, a vector of length 0, or k out of range.
    """
    stored, asked = _unit(vectors, "vectors"), _unit(queries, "queries")
    if stored.shape[1] != asked.shape[1]:
        raise InputError(f"vectors and queries must have one length; received {stored.shape[1]} and {asked.shape[1]}")
    if not 1 <= count <= len(stored):
        raise InputError(f"count must be 1 to {len(stored)}; received {count}")
    cosines = asked @ stored.T
    order = np.argsort(-cosines, axis=1, kind="stable")[:, :count]
    return order, np.take_along_axis(cosines, order, axis=1)


def plot_neighbours(images: Sequence[Any], queries: Sequence[Any], indices: npt.ArrayLike) -> Image:
    """One row per query: itself, then its neighbours."""
    opencv = cv2("drawing neighbours")
    order = np.asarray(indices)
    tiles = [
        opencv.resize(as_rgb(np.asarray(image)), (_TILE, _TILE))
        for query, row in zip(queries, order.tolist(), strict=True)
        for image in (query, *(images[index] for index in row))
    ]
    return grid(tiles, columns=order.shape[1] + 1)


def tsne(vectors: npt.ArrayLike, perplexity: float = 30.0, seed: int = 0) -> npt.NDArray[np.float32]:
    """(N, 2): a map of the plane that keeps neighbours together (van der Maaten & Hinton 2008), by scikit-learn.

    Raises
    ------
    InputError
        Not more vectors than the perplexity.
    MissingPackageError
        scikit-learn is not installed.
    """
    points = _matrix(vectors, "vectors")
    if not 0 < perplexity < len(points):
        raise InputError(f"perplexity must be below the number of vectors, {len(points)}; received {perplexity:g}")
    manifold = require("sklearn.manifold", install="scikit-learn", purpose="a t-SNE map")
    reducer = manifold.TSNE(2, perplexity=perplexity, random_state=seed, init="pca")
    return np.asarray(reducer.fit_transform(points), np.float32)


def umap(
    vectors: npt.ArrayLike, neighbours: int = 15, minimum_distance: float = 0.1, seed: int = 0
) -> npt.NDArray[np.float32]:
    """(N, 2): a map of the plane by UMAP (McInnes, Healy, Melville 2018), by the package umap-learn.

    Raises
    ------
    InputError
        Not more vectors than neighbours.
    MissingPackageError
        umap-learn is not installed.
    """
    points = _matrix(vectors, "vectors")
    if not 2 <= neighbours < len(points):
        raise InputError(f"neighbours must be 2 to {len(points) - 1}; received {neighbours}")
    package = require("umap", install="umap-learn", purpose="a UMAP map")
    reducer = package.UMAP(  # in several threads the seed would not decide
        n_components=2, n_neighbors=neighbours, min_dist=minimum_distance, random_state=seed, n_jobs=1
    )
    return np.asarray(reducer.fit_transform(points), np.float32)


def _matrix(vectors: npt.ArrayLike, name: str) -> npt.NDArray[np.float32]:
    array = np.asarray(vectors, np.float32)
    if array.ndim != 2 or not np.isfinite(array).all():
        raise InputError(f"{name} must be (N, D) finite numbers; received shape {array.shape}")
    return array


def _unit(vectors: npt.ArrayLike, name: str) -> npt.NDArray[np.float32]:
    array = _matrix(vectors, name)
    lengths = np.linalg.norm(array, axis=1, keepdims=True)
    if (lengths == 0).any():
        raise InputError(f"{name} must not hold a vector of length 0")
    unit: npt.NDArray[np.float32] = array / lengths
    return unit
