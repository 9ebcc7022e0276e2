"""Distances between the vectors of a batch, and who is who in it: the matrices that losses and mining work on.

Every function takes and gives tensors of the Keras back end.
"""

from __future__ import annotations

from typing import Any

_EPSILON = 1e-12  # keeps the slope of the square root finite where two vectors are one


def unit_vectors(embeddings: Any) -> Any:
    """(N, D) vectors brought to length one."""
    from keras import ops

    return embeddings / ops.sqrt(ops.maximum(ops.sum(ops.square(embeddings), axis=-1, keepdims=True), _EPSILON))


def squared_distances(embeddings: Any) -> Any:
    """(N, N): squared Euclidean distance of every two of (N, D) vectors.

    ‖a − b‖² = ‖a‖² + ‖b‖² − 2⟨a, b⟩; rounding below zero is cut off, and the diagonal is exactly zero.
    """
    from keras import ops

    squares = ops.sum(ops.square(embeddings), axis=-1)
    products = ops.matmul(embeddings, ops.transpose(embeddings))
    distances = ops.maximum(squares[:, None] + squares[None, :] - 2 * products, 0.0)
    return distances * (1.0 - ops.eye(ops.shape(embeddings)[0], dtype=distances.dtype))


def euclidean(squared: Any) -> Any:
    """The root of squared distances, with a finite slope at zero."""
    from keras import ops

    return ops.sqrt(ops.maximum(squared, _EPSILON))


def same_person(labels: Any) -> Any:
    """(N, N) bool: two different pictures of one person.

    Parameters
    ----------
    labels : (N,) or (N, 1)
    """
    from keras import ops

    labels = ops.reshape(labels, (-1,))
    itself = ops.cast(ops.eye(ops.shape(labels)[0]), "bool")
    return ops.logical_and(ops.equal(labels[:, None], labels[None, :]), ops.logical_not(itself))


def different_people(labels: Any) -> Any:
    """(N, N) bool: pictures of two people."""
    from keras import ops

    labels = ops.reshape(labels, (-1,))
    return ops.not_equal(labels[:, None], labels[None, :])
