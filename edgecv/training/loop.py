"""The training itself. This module imports Keras when it is imported."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from edgecv.augment.recipes import recipe
from edgecv.augment.sample import UNLABELLED
from edgecv.data.masks import class_pixels
from edgecv.data.patches import PatchSamples
from edgecv.layers.graph import functional
from edgecv.losses import PixelCrossEntropy, class_balance
from edgecv.models.registry import Auxiliary, Preprocessing
from edgecv.training.auxiliary import AuxiliaryCrossEntropy, learner_of, main_accuracy
from edgecv.training.batches import Batches
from edgecv.training.callbacks import Bar, EpochSeeds, Keeper, Notify, TensorBoard
from edgecv.training.checkpoint import Checkpoint
from edgecv.training.pictures import Part, Pictures, TileSamples
from edgecv.training.settings import Settings
from edgecv.training.statistics import SettledStatistics
from edgecv.transfer import two_rates
from edgecv_runtime.errors import InputError, UnsupportedError
from edgecv_runtime.metrics.miou import Confusion

_PARTS_PER_CLASS = 1_000_000


@dataclass(frozen=True)
class Trained:
    """What a training came to. The model holds the best epoch's weights.

    Attributes
    ----------
    epochs : int
        Done, in this run and those before it.
    best_epoch : int
        Whose loss on the held-out pictures is least.
    resumed_at : int
        Epochs that were done before this run.
    history : list of dict
        ``loss``, ``accuracy``, ``val_loss`` and ``val_accuracy`` of each epoch, and ``epoch`` from 1.
    figures : dict
        Of the held-out pictures with the best weights: ``top1`` and ``top5``, or ``miou`` and ``pixel_accuracy``
        (at the network's input size), and ``n``.
    """

    epochs: int
    best_epoch: int
    resumed_at: int
    history: list[dict[str, float]]
    figures: dict[str, float]


def train(
    model: keras.Model,
    pictures: Pictures,
    preprocessing: Preprocessing,
    settings: Settings,
    checkpoint: Checkpoint,
    *,
    head: tuple[str, ...] = (),
    auxiliary: Auxiliary | None = None,
    tensorboard_folder: Path | None = None,
    notify: Notify = lambda figures: None,
) -> Trained:
    """Train a classifier or segmenter in place, going on from the checkpoint's last whole epoch.

    Pictures, augmentation and order of an epoch depend on the seed and its number alone, and network, optimizer and
    dropout are restored: what is interrupted ends as if it had not been.

    Parameters
    ----------
    model : keras.Model
        Of `edgecv.create_model`, ending in probabilities.
    pictures : Pictures
    preprocessing : Preprocessing
        Of its record.
    settings : Settings
    checkpoint : Checkpoint
    head : tuple of str
        Layers that begin anew, trained at `learning_rate`; the others then learn at `fine_tune_rate`.
    auxiliary : Auxiliary, optional
        Of its record: heads that learn beside it, and are dropped. Held-out pictures are judged without them.
    tensorboard_folder : Path, optional
    notify : callable
        Is given the figures of each epoch.

    Raises
    ------
    InputError
        Settings that do not apply to this network or these pictures.
    UnsupportedError
        The network does not end in (N, classes) or (N, H, W, classes).
    CheckFailedError
        The loss is no longer finite.

    Examples
    --------
    >>> trained = train(model, pictures, record.preprocessing, Settings(epochs=5), checkpoint)  # doctest: +SKIP
    >>> trained.figures["top1"]  # doctest: +SKIP
    0.98
    """
    segmenter = len(model.output_shape) == 4
    if len(model.outputs) != 1 or len(model.output_shape) not in (2, 4):
        raise UnsupportedError(f"{model.name} must end in one tensor of classes; received {model.output_shape}")
    if settings.patches is not None and not segmenter:
        raise InputError("--patches is for segmentation; a classifier learns whole pictures")
    learned, held_out = _batches(model, pictures, preprocessing, settings)
    learner = model if segmenter else learner_of(model, auxiliary)
    _compile(learner, pictures, settings, len(learned), head and _beginning_anew(model, learner, head), auxiliary)
    begin = 0
    if checkpoint.state is not None:
        begin = checkpoint.state.epoch
        learner.optimizer.build(learner.trainable_variables)
        learner.load_weights(checkpoint.path(checkpoint.state.weights))
    state = checkpoint.state
    if state is None or not (state.finished or begin >= settings.epochs):
        callbacks: list[Any] = [EpochSeeds(settings.seed), SettledStatistics(learned)]
        callbacks.append(Keeper(checkpoint, settings.patience, notify))
        if tensorboard_folder is not None:
            callbacks.append(TensorBoard(tensorboard_folder))
        _learn(learner, learned, held_out, begin, settings.epochs, callbacks)
    state = checkpoint.state
    if state is None:
        raise InputError(f"no epoch was trained: epochs is {settings.epochs}")
    # A model of the same layers without an optimizer, as it was saved.
    functional(learner.inputs, learner.outputs[0], learner.name).load_weights(checkpoint.path(state.best))
    figures = _segmentation(model, held_out) if segmenter else _classification(model, held_out)
    return Trained(state.epoch, state.best_epoch, begin, state.history, figures)


def _learn(
    learner: keras.Model, learned: Batches, held_out: Batches, begin: int, epochs: int, callbacks: list[Any]
) -> None:
    """Keras's own ``fit``, from epoch `begin` of 0..epochs - 1 on, with a bar."""
    learned.begin_at(begin)
    bar = Bar(epochs, len(learned), begin)
    try:
        learner.fit(
            learned,
            validation_data=held_out,
            epochs=epochs,
            initial_epoch=begin,
            shuffle=False,  # the batches do it, from the seed
            callbacks=[bar, *callbacks],
            verbose=0,
        )
    finally:
        bar.close()


def _batches(
    model: keras.Model, pictures: Pictures, preprocessing: Preprocessing, settings: Settings
) -> tuple[Batches, Batches]:
    learned, held_out = pictures.learned, pictures.held_out
    size: tuple[int, int] | None = None
    weights = None
    if learned.labels is None:
        size = model.output_shape[1:3]
        if settings.patches is not None:
            learned, held_out = _patches(learned, held_out, model.input_shape[1:3], settings)
    elif settings.class_weights == "balanced":
        weights = class_balance(learned.labels, pictures.classes)
    how: dict[str, Any] = {
        "preprocessing": preprocessing,
        "classes": pictures.classes,
        "batch": settings.batch,
        "output_size": size,
    }
    augment = recipe(settings.augment)
    return (
        Batches(learned, augment=augment, seed=settings.seed, class_weights=weights, **how),
        Batches(held_out, epoch=None, **how),
    )


def _patches(learned: Part, held_out: Part, size: tuple[int, int], settings: Settings) -> tuple[Part, Part]:
    """Class-balanced patches to learn, and all tiles of the pictures held out."""
    count = int(settings.patches or 1)
    samples = PatchSamples(learned.chosen(), size, count, seed=settings.seed)
    cut = TileSamples(held_out, size)
    return (
        replace(learned, samples=samples, numbers=np.arange(count)),
        replace(held_out, samples=cut, numbers=np.arange(len(cut))),
    )


def _beginning_anew(model: keras.Model, learner: keras.Model, head: tuple[str, ...]) -> tuple[str, ...]:
    """The new head, and all layers of auxiliary heads."""
    known = {layer.name for layer in model.layers}
    return head + tuple(layer.name for layer in learner.layers if layer.name not in known)


def _compile(
    model: keras.Model,
    pictures: Pictures,
    settings: Settings,
    steps: int,
    head: tuple[str, ...],
    auxiliary: Auxiliary | None,
) -> None:
    rate = keras.optimizers.schedules.CosineDecay(settings.learning_rate, settings.epochs * steps)
    if head:
        slow = settings.learning_rate / 10 if settings.fine_tune_rate is None else settings.fine_tune_rate
        optimizer = two_rates(model, head, rate, slow / settings.learning_rate)
    else:
        optimizer = keras.optimizers.Adam(rate)
    if len(model.output_shape) == 2:
        model.compile(optimizer, keras.losses.CategoricalCrossentropy(), metrics=["accuracy"])
        return
    if len(model.output_shape) == 3 and auxiliary is not None:
        model.compile(optimizer, AuxiliaryCrossEntropy(auxiliary.weight), metrics=[main_accuracy])
        return
    weights = _pixel_weights(pictures) if settings.class_weights == "balanced" else None
    model.compile(optimizer, PixelCrossEntropy(weights), metrics=[pixel_accuracy])


def _pixel_weights(pictures: Pictures) -> list[float]:
    """One weight for each class, by its share of the pixels that are learned."""
    pixels = class_pixels(pictures.learned.chosen(), pictures.classes).sum(axis=0)
    # class_balance counts values: shares of a million stand for the pixels of all maps.
    shares = np.ceil(pixels * (_PARTS_PER_CLASS / pixels.sum())).astype(np.int64)
    weights: list[float] = class_balance(np.repeat(np.arange(pictures.classes), shares), pictures.classes).tolist()
    return weights


def pixel_accuracy(y_true: Any, y_pred: Any) -> Any:
    """Share of the labelled pixels of each picture that get the right class: (N,)."""
    labels = ops.cast(y_true, "int32")
    known = ops.cast(labels != UNLABELLED, "float32")
    right = ops.cast(ops.equal(ops.cast(ops.argmax(y_pred, axis=-1), "int32"), labels), "float32")
    return ops.sum(right * known, axis=(1, 2)) / ops.maximum(ops.sum(known, axis=(1, 2)), 1.0)


pixel_accuracy.__name__ = "accuracy"  # as Keras calls it in the history


def _classification(model: keras.Model, batches: Batches) -> dict[str, float]:
    first = fifth = count = 0
    for index in range(len(batches)):
        images, targets = batches[index][:2]
        scores = np.asarray(model.predict_on_batch(images))
        true = targets.argmax(axis=1)
        best = np.argsort(-scores, axis=1, kind="stable")[:, :5]
        first += int((best[:, 0] == true).sum())
        fifth += int((best == true[:, None]).any(axis=1).sum())
        count += len(true)
    return {"top1": first / count, "top5": fifth / count, "n": count}


def _segmentation(model: keras.Model, batches: Batches) -> dict[str, float]:
    confusion = Confusion()
    count = 0
    for index in range(len(batches)):
        images, maps = batches[index]
        for truth, scores in zip(maps, np.asarray(model.predict_on_batch(images)), strict=True):
            confusion.add(truth, scores.argmax(axis=-1))
            count += 1
    accuracy = confusion.accuracy()
    return {"miou": accuracy.miou, "pixel_accuracy": accuracy.pixel_accuracy, "n": count}
