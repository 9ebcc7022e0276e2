"""Train an embedder on pictures of known people, with any of the losses over a batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecv.metric_learning.sampler import identity_batches
from edgecv.models.registry import Preprocessing
from edgecv.training.fit import fit

_Pixels = npt.NDArray[np.uint8]


def train_embedder(
    embedder: Any,
    images: _Pixels,
    labels: npt.NDArray[Any],
    loss: Any,
    *,
    preprocessing: Preprocessing,
    augmentation: Any = None,
    people: int = 16,
    pictures: int = 4,
    epochs: int = 10,
    steps: int = 20,
    learning_rate: float = 1e-3,
    seed: int = 0,
    after_epoch: Callable[[int, float], None] | None = None,
) -> list[float]:
    """Train in place with Adam, on batches of P people with K pictures.

    Parameters
    ----------
    embedder : keras.Model
        From normalised (N, H, W, C) to (N, D).
    images : (N, H, W, C) uint8
        At the embedder's input size.
    labels : (N,)
        Who each is of.
    loss : keras.losses.Loss
        Of labels (B,) and vectors (B, D): `TripletLoss`, `ContrastiveLoss`.
    preprocessing : Preprocessing
        What the embedder expects of a pixel.
    augmentation : keras.Layer, optional
        On pixels 0..255; see `face_augmentation`.
    people, pictures : int
        P and K.
    epochs, steps : int
        Epochs of so many batches.
    learning_rate : float
        At the beginning; it falls to zero along a cosine.
    seed : int
        Of the batches. Initial weights and augmentation have seeds of their own.
    after_epoch : callable, optional
        Is given the number of the epoch, from 1, and its mean loss.

    Returns
    -------
    list of float
        Mean loss of each epoch.

    Raises
    ------
    InputError
        Too few people or pictures for such batches.
    """
    import keras

    numbers = identity_batches(labels, people, pictures, seed)
    person = np.unique(np.asarray(labels), return_inverse=True)[1].astype(np.int32)

    def batches() -> Iterator[tuple[npt.NDArray[np.float32], npt.NDArray[np.int32]]]:
        for chosen in numbers:
            yield images[chosen].astype(np.float32), person[chosen]

    image = keras.Input(images.shape[1:], name="pixels")
    pixels = image if augmentation is None else augmentation(image)
    scale = [1 / value for value in preprocessing.std]
    offset = [-mean / std for mean, std in zip(preprocessing.mean, preprocessing.std, strict=True)]
    model = keras.Model(image, embedder(keras.layers.Rescaling(scale, offset, name="normalization")(pixels)))
    schedule = keras.optimizers.schedules.CosineDecay(learning_rate, epochs * steps)
    model.compile(optimizer=keras.optimizers.Adam(schedule), loss=loss)
    return fit(model, batches(), epochs=epochs, after_epoch=after_epoch, steps_per_epoch=steps)


def embed(
    embedder: Any, images: _Pixels, preprocessing: Preprocessing, batch_size: int = 32
) -> npt.NDArray[np.float32]:
    """(N, D) vectors of (N, H, W, C) uint8 pictures, as the embedder gives them."""
    mean, std = (np.array(values, np.float32) for values in (preprocessing.mean, preprocessing.std))
    parts = [
        np.asarray(embedder((images[start : start + batch_size] - mean) / std, training=False))
        for start in range(0, len(images), batch_size)
    ]
    return np.concatenate(parts)
