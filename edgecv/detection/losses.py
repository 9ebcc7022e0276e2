"""Terms that losses of detectors are made of, for any Keras back end. Import it where Keras may be imported.

Each gives one value per element and leaves the sum to the family that knows what to divide it by.
"""

from __future__ import annotations

from typing import Any

from keras import ops


def smooth_l1(difference: Any, beta: float = 1.0) -> Any:
    """0.5 d² / β within ±β, |d| - β / 2 beyond (Girshick 2015, eq. 3): outliers pull no harder than the others.

    Parameters
    ----------
    difference : tensor
        Prediction less target.
    beta : float
        Where the parabola becomes a line.

    Returns
    -------
    tensor of the same shape
    """
    size = ops.abs(difference)
    return ops.where(size < beta, 0.5 * ops.square(difference) / beta, size - 0.5 * beta)


def binary_cross_entropy(targets: Any, logits: Any) -> Any:
    """-t log σ(x) - (1 - t) log(1 - σ(x)), without overflow; `targets` in [0, 1]."""
    return ops.relu(logits) - logits * targets + ops.log1p(ops.exp(-ops.abs(logits)))


def focal(targets: Any, logits: Any, alpha: float = 0.25, gamma: float = 2.0) -> Any:
    """Focal loss -α_t (1 - p_t)^γ log p_t (Lin et al. 2017, eq. 5): easy candidates count little.

    Parameters
    ----------
    targets : tensor of 0 and 1
    logits : tensor of the same shape
    alpha : float
        Weight of the ones; zeros have 1 - α.
    gamma : float
        0 leaves the weighed cross-entropy.

    Returns
    -------
    tensor of the same shape
    """
    probability = ops.sigmoid(logits)
    right = targets * probability + (1 - targets) * (1 - probability)
    weight = targets * alpha + (1 - targets) * (1 - alpha)
    # 1 - p_t may round below zero, whose power is no number.
    return weight * ops.power(ops.maximum(1 - right, 1e-7), gamma) * binary_cross_entropy(targets, logits)


def cross_entropy(classes: Any, logits: Any) -> Any:
    """-log softmax(x)_c: (...) int class indices and (..., C) logits to (...)."""
    return ops.sparse_categorical_crossentropy(classes, logits, from_logits=True)


def hardest_negatives(losses: Any, positive: Any, negative: Any, ratio: float = 3.0, least: int = 0) -> Any:
    """Which negatives take part: those of the largest loss, `ratio` for each positive (Liu et al. 2016, section 2.2).

    Parameters
    ----------
    losses : (N, A) tensor
    positive, negative : (N, A) tensors of 0 and 1
    ratio : float
    least : int
        Negatives of a picture that has too few positives, or none.

    Returns
    -------
    (N, A) tensor of 0 and 1
        No gradient passes. Of equal losses the earlier anchor comes first.
    """
    wanted = ops.maximum(ratio * ops.sum(positive, axis=1, keepdims=True), float(least))
    known = ops.stop_gradient(ops.where(negative > 0, losses, -1.0))
    order = ops.argsort(-known, axis=1)
    rank = ops.cast(ops.argsort(order, axis=1), losses.dtype)
    return ops.cast(ops.logical_and(rank < wanted, negative > 0), losses.dtype)
