"""The losses of pose networks; joints that are not to be seen count nothing.

This module imports Keras when it is imported. Direct regression is trained with `PointLoss`, the masked ℓ2 loss.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from edgecv.layers.task_heads import PointLoss

__all__ = ["HeatmapLoss", "PointLoss"]


@keras.saving.register_keras_serializable(package="edgecv")
class HeatmapLoss(keras.losses.Loss):
    """Mean squared error of maps of heat (Tompson et al. 2014, eq. 1); maps below zero in the truth count nothing.

    ``loss(y_true, y_pred)``: both (N, H, W, K), the truth from `encode_heatmaps`; one value per picture.

    Parameters
    ----------
    weight : float
        Of a cell with heat 1, beside 1 of a cold cell and in between for those in between: nearly all cells are cold,
        and a network that answers zero everywhere is close in the mean.
    """

    def __init__(self, weight: float = 1.0, name: str = "heatmap", **options: Any) -> None:
        super().__init__(name=name, **options)
        self.weight = weight

    def call(self, y_true: Any, y_pred: Any) -> Any:
        truth = ops.cast(y_true, y_pred.dtype)
        known = ops.cast(truth >= 0, y_pred.dtype)
        weights = known * (1 + (self.weight - 1) * truth)
        total = ops.sum(weights * ops.square(truth - y_pred), axis=(1, 2, 3))
        return total / ops.maximum(ops.sum(known, axis=(1, 2, 3)), 1.0)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "weight": self.weight}
