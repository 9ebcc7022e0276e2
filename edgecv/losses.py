"""Losses of dense prediction: balanced pixel cross-entropy, U-Net's border weights, random subsets, IoU and Dice.

This module imports Keras when it is imported. Every pixel loss gives one value per pixel, so that a map of weights
goes in as Keras's ``sample_weight`` (the third element of a training batch).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from keras import ops

from edgecv_runtime.errors import InputError
from edgecv_runtime.images import cv2

_PACKAGE = "edgecv"


# -- weights of pixels -------------------------------------------------------------------------------------------------


def class_balance(masks: npt.ArrayLike, classes: int) -> npt.NDArray[np.float32]:
    """Weights that let every class count alike: w_c = n / (K · n_c), with K the classes that occur.

    Parameters
    ----------
    masks : integer array of any shape
        Class indices; values outside 0..classes-1 (unlabelled) are left out.
    classes : int

    Returns
    -------
    (classes,) float32
        Weighed by their frequency they average 1. 0 for a class that does not occur.

    Raises
    ------
    InputError
        No pixel is labelled.

    Examples
    --------
    >>> class_balance([0, 0, 0, 1], 2).round(3).tolist()
    [0.667, 2.0]
    """
    values = np.asarray(masks)
    counts = np.bincount(values[(values >= 0) & (values < classes)].ravel().astype(np.int64), minlength=classes)
    if counts.sum() == 0:
        raise InputError(f"masks must hold classes 0 to {classes - 1}; no pixel does")
    occurs = counts > 0
    weights = np.zeros(classes, np.float32)
    weights[occurs] = counts.sum() / (occurs.sum() * counts[occurs])
    return weights


def border_weights(
    mask: npt.ArrayLike, *, border: float = 10.0, sigma: float = 5.0, class_weights: Sequence[float] | None = None
) -> npt.NDArray[np.float32]:
    """Weights that make a network learn the thin borders between touching objects (Ronneberger et al. 2015, eq. 2).

    w(x) = w_c(x) + w_0 · exp(−(d_1(x) + d_2(x))² / 2σ²), with d_1 and d_2 the distances to the nearest and the second
    nearest object. The second term is given to the background, of which the borders are a part.

    Parameters
    ----------
    mask : (H, W) integers
        Objects of their own number from 1 on, 0 background; or a mask of 0 and 1, whose connected parts are taken
        for the objects.
    border : float
        w_0.
    sigma : float
        Pixels.
    class_weights : (background, object), optional
        w_c. Default: `class_balance` of the mask.

    Returns
    -------
    (H, W) float32

    Raises
    ------
    InputError
        A mask that is not (H, W), or a sigma that is not positive.
    """
    objects = np.asarray(mask)
    if objects.ndim != 2:
        raise InputError(f"a mask must be (H, W); received shape {objects.shape}")
    if not sigma > 0:
        raise InputError(f"sigma must be above 0; received {sigma}")
    inside = objects > 0
    balance = class_balance(inside.astype(np.int64), 2) if class_weights is None else np.asarray(class_weights)
    weights = np.where(inside, balance[1], balance[0]).astype(np.float32)
    opencv = cv2("border weights")
    if objects.max(initial=0) <= 1:
        _, objects = opencv.connectedComponents(inside.astype(np.uint8), connectivity=8)
    numbers = [number for number in np.unique(objects).tolist() if number != 0]
    if len(numbers) < 2:
        return weights
    nearest = np.full((2, *objects.shape), np.inf, np.float32)
    for number in numbers:  # the two smallest distances are kept: memory does not grow with the objects
        apart = opencv.distanceTransform((objects != number).astype(np.uint8), opencv.DIST_L2, opencv.DIST_MASK_PRECISE)
        nearest[1] = np.minimum(nearest[1], np.maximum(nearest[0], apart))
        nearest[0] = np.minimum(nearest[0], apart)
    between = border * np.exp(-(nearest.sum(axis=0) ** 2) / (2 * sigma**2))
    return (weights + np.where(inside, 0, between)).astype(np.float32)


# -- losses ------------------------------------------------------------------------------------------------------------


def _pixel_terms(y_true: Any, y_pred: Any, from_logits: bool) -> tuple[Any, Any, Any]:
    """Class indices (N, H, W), whether each is labelled, and the cross-entropy there."""
    classes = y_pred.shape[-1]
    labels = ops.cast(y_true, "int32")
    if len(labels.shape) == len(y_pred.shape):
        labels = ops.squeeze(labels, axis=-1)
    known = ops.logical_and(labels >= 0, labels < classes)
    labels = ops.where(known, labels, 0)
    return labels, known, ops.sparse_categorical_crossentropy(labels, y_pred, from_logits=from_logits)


@keras.saving.register_keras_serializable(package=_PACKAGE)
class PixelCrossEntropy(keras.losses.Loss):
    """Cross-entropy at every pixel, weighed by its class; unlabelled pixels count nothing.

    ``loss(y_true, y_pred, sample_weight=None)``: y_true (N, H, W) or (N, H, W, 1) class indices, of which those outside
    0..classes-1 (255 by custom) are unlabelled; y_pred (N, H, W, classes) probabilities or logits; sample_weight
    (N, H, W), as from `border_weights`. The mean is over all pixels.

    Parameters
    ----------
    class_weights : (classes,) sequence of float, optional
        As from `class_balance`. Default: every class 1.
    from_logits : bool

    Raises
    ------
    InputError
        A weight is negative.
    """

    def __init__(
        self,
        class_weights: Sequence[float] | None = None,
        from_logits: bool = False,
        name: str = "pixel_cross_entropy",
        **options: Any,
    ) -> None:
        super().__init__(name=name, **options)
        if class_weights is not None and min(class_weights) < 0:
            raise InputError(f"class weights must not be negative; received {list(class_weights)}")
        self.class_weights = None if class_weights is None else [float(weight) for weight in class_weights]
        self.from_logits = from_logits

    def call(self, y_true: Any, y_pred: Any) -> Any:
        labels, known, terms = _pixel_terms(y_true, y_pred, self.from_logits)
        weights = ops.cast(known, terms.dtype)
        if self.class_weights is not None:
            weights = weights * ops.take(ops.convert_to_tensor(self.class_weights, dtype=terms.dtype), labels)
        return weights * terms

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "class_weights": self.class_weights, "from_logits": self.from_logits}


@keras.saving.register_keras_serializable(package=_PACKAGE)
class RandomSubsetCrossEntropy(keras.losses.Loss):
    """Cross-entropy of a random subset of the pixels of a full image.

    Long et al. 2015, section 4.4: full images train as patches do when each pixel is left out with probability 1 − p;
    here a different subset is drawn at every step. Arguments as of `PixelCrossEntropy`; the mean is over all pixels,
    and what is kept counts 1/p, so that it is the full loss on average.

    Parameters
    ----------
    keep : float in (0, 1]
        p.
    from_logits : bool
    seed : int

    Raises
    ------
    InputError
        `keep` out of range.
    """

    def __init__(
        self, keep: float = 0.05, from_logits: bool = False, seed: int = 0, name: str = "random_subset", **options: Any
    ) -> None:
        super().__init__(name=name, **options)
        if not 0 < keep <= 1:
            raise InputError(f"keep must be above 0 and at most 1; received {keep!r}")
        self.keep, self.from_logits, self.seed = keep, from_logits, seed
        self._draws = keras.random.SeedGenerator(seed)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        _, known, terms = _pixel_terms(y_true, y_pred, self.from_logits)
        drawn = keras.random.uniform(ops.shape(terms), seed=self._draws) < self.keep
        return ops.where(ops.logical_and(drawn, known), terms / self.keep, 0.0)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "keep": self.keep, "from_logits": self.from_logits, "seed": self.seed}


class _OverlapLoss(keras.losses.Loss):
    """What IoU and Dice share: sums over the places of each image and class, averaged over the classes that occur."""

    def __init__(self, name: str, from_logits: bool = False, smooth: float = 1e-6, **options: Any) -> None:
        super().__init__(name=name, **options)
        self.from_logits, self.smooth = from_logits, smooth

    def _share(self, both: Any, truth: Any, found: Any) -> Any:
        raise NotImplementedError

    def call(self, y_true: Any, y_pred: Any) -> Any:
        labels, known, _ = _pixel_terms(y_true, y_pred, self.from_logits)
        scores = ops.softmax(y_pred, axis=-1) if self.from_logits else y_pred
        weights = ops.expand_dims(ops.cast(known, scores.dtype), -1)
        truth = ops.one_hot(labels, y_pred.shape[-1], dtype=scores.dtype) * weights
        scores = scores * weights
        axes = (1, 2)
        present = ops.cast(ops.sum(truth, axis=axes) > 0, scores.dtype)
        share = self._share(ops.sum(truth * scores, axis=axes), ops.sum(truth, axis=axes), ops.sum(scores, axis=axes))
        return ops.sum(present * (1 - share), axis=-1) / ops.maximum(ops.sum(present, axis=-1), 1.0)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "from_logits": self.from_logits, "smooth": self.smooth}


@keras.saving.register_keras_serializable(package=_PACKAGE)
class IoULoss(_OverlapLoss):
    """1 − Σ p·t / Σ (p + t − p·t), the soft intersection over union (Rahman & Wang 2016, eq. 3 and 4).

    Shapes as of `PixelCrossEntropy`; one value per image: the mean over the classes that the image holds.
    """

    def __init__(self, from_logits: bool = False, smooth: float = 1e-6, name: str = "iou", **options: Any) -> None:
        super().__init__(name, from_logits, smooth, **options)

    def _share(self, both: Any, truth: Any, found: Any) -> Any:
        return (both + self.smooth) / (truth + found - both + self.smooth)


@keras.saving.register_keras_serializable(package=_PACKAGE)
class DiceLoss(_OverlapLoss):
    """1 − 2 Σ p·t / (Σ p + Σ t), the soft Dice coefficient (Sudre et al. 2017, with plain sums).

    Shapes as of `PixelCrossEntropy`; one value per image: the mean over the classes that the image holds.
    """

    def __init__(self, from_logits: bool = False, smooth: float = 1e-6, name: str = "dice", **options: Any) -> None:
        super().__init__(name, from_logits, smooth, **options)

    def _share(self, both: Any, truth: Any, found: Any) -> Any:
        return (2 * both + self.smooth) / (truth + found + self.smooth)
