"""Keras's own ``fit``, quiet, in the order of the data, with a word after every epoch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any


def fit(
    model: Any,
    data: Any,
    *,
    epochs: int,
    after_epoch: Callable[[int, float], None] | None = None,
    callbacks: Sequence[Any] = (),
    **options: Any,
) -> list[float]:
    """Train a compiled model.

    Parameters
    ----------
    model : keras.Model
    data : PyDataset, or iterator of batches
        In the order in which they are learned.
    epochs : int
    after_epoch : callable, optional
        Is given the number of the epoch, from 1, and its mean loss.
    callbacks : sequence of keras.callbacks.Callback
    options
        Of Keras's ``fit``.

    Returns
    -------
    list of float
        Mean loss of each epoch.
    """
    import keras

    told = list(callbacks)
    if after_epoch is not None:
        tell = after_epoch
        told.append(keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: tell(epoch + 1, logs["loss"])))
    history = model.fit(data, epochs=epochs, shuffle=False, verbose=0, callbacks=told, **options)
    return [float(value) for value in history.history["loss"]]
