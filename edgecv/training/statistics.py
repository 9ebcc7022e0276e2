"""Statistics of batch norms that fit the weights they are used with. This module imports Keras when it is imported."""

from __future__ import annotations

from collections.abc import Iterator
from copy import copy
from typing import Any

import keras

from edgecv.training.batches import Batches

_BATCHES = 16  # that are looked at
_FORGOTTEN = 500  # steps: what a momentum of 0.99 remembers from before them is less than a hundredth


class SettledStatistics(keras.callbacks.Callback):
    """Takes the means and variances of batch norms anew, with the weights as they are, before pictures are judged.

    Keras averages them over about a hundred steps. In a short training the weights of a hundred steps ago were others
    (or there were none): the network has learned, and still answers nonsense when it is asked. Here the plain mean over
    some batches takes their place (Wu & Johnson 2021, "Rethinking 'Batch' in BatchNorm", section 3). Long epochs, and
    batch norms that are frozen, are left alone.

    Parameters
    ----------
    batches : Batches
        Of the pictures that are learned.
    """

    def __init__(self, batches: Batches) -> None:
        super().__init__()
        self._batches, self._epoch = copy(batches), 0  # ``fit`` goes through its own, which may be an epoch ahead

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self._epoch = epoch

    def on_test_begin(self, logs: dict[str, float] | None = None) -> None:  # within ``fit``, before the held-out ones
        if len(self._batches) < _FORGOTTEN:
            self._batches.begin_at(self._epoch)
            settle(self.model, self._batches, _BATCHES)


def settle(model: keras.Model, batches: Batches, count: int) -> int:
    """Set the statistics of all batch norms that are trained to their mean over the first `count` batches.

    Returns
    -------
    int
        How many batch norms there are.
    """
    norms = [layer for layer in _norms(model) if layer.trainable]
    usual = [layer.momentum for layer in norms]
    try:
        for number in range(min(count, len(batches)) if norms else 0):
            for layer in norms:
                layer.momentum = number / (number + 1)  # makes a running average the plain mean of all so far
            model(batches[number][0], training=True)
    finally:
        for layer, momentum in zip(norms, usual, strict=True):
            layer.momentum = momentum
    return len(norms)


def _norms(model: Any) -> Iterator[Any]:
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            yield layer
        elif hasattr(layer, "layers"):
            yield from _norms(layer)
