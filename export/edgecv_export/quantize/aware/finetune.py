"""Fine-tune an aware network to answer as its float original.

The float network is the teacher: its logits say more than labels do, and pictures without labels serve as well. The
state that training starts from is scored like every epoch's, on pictures kept aside. Of the states that get no fewer of
those right than the start, the one with the least error is kept: the result is never below its start there, and counts
of a few hundred pictures, which are noisy, do not choose between states that differ little.

References
----------
Hinton et al. 2015, "Distilling the Knowledge in a Neural Network", section 2 (temperature, and the factor T²).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecv_export.quantize.affine import FloatArray
from edgecv_export.quantize.aware.augment import Augmentation, Pixels
from edgecv_runtime.errors import InputError
from edgecv_runtime.progress import Progress

Labels = npt.NDArray[np.integer[Any]]
ToReal = Callable[[Pixels], FloatArray]

_PREDICTION_BATCH = 128
LEAST_PICTURES = 20


@dataclass(frozen=True)
class Schedule:
    """How long and how fast to train.

    Attributes
    ----------
    epochs : int
    batch : int
    learning_rate : float
        Of Adam at the start; it falls to zero along half a cosine. Kernels are trained in shares of each channel's
        largest weight: 1/127 is one level of its 8-bit grid.
    temperature : float
        That the teacher's and the student's logits are divided by.
    label_weight : float
        Weight of the cross-entropy with the labels, 0 to 1; the rest is distillation. Without labels it has no part.
    following : float
        Share of the epochs, at least one, in which moving-average ranges follow the values; then they are frozen.
    held_out : float
        Share of the pictures that the states are scored on.
    augmentation : Augmentation
    seed : int
        For the split, the order and the augmentation.
    """

    epochs: int = 10
    batch: int = 32
    learning_rate: float = 1e-3
    temperature: float = 2.0
    label_weight: float = 0.3
    following: float = 0.25
    held_out: float = 0.15
    augmentation: Augmentation = field(default_factory=Augmentation)
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (("epochs", 1), ("batch", 1)):
            if getattr(self, name) < least:
                raise InputError(f"{name} must be at least {least}; received {getattr(self, name)}")
        for name in ("learning_rate", "temperature"):
            if getattr(self, name) <= 0:
                raise InputError(f"{name} must be above 0; received {getattr(self, name)}")
        for name in ("label_weight", "following"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"{name} must be from 0 to 1; received {getattr(self, name)}")
        if not 0 < self.held_out < 1:
            raise InputError(f"held_out must be a share between 0 and 1; received {self.held_out}")


@dataclass(frozen=True)
class Score:
    """How well a state of the aware network does on the pictures kept aside.

    Attributes
    ----------
    epoch : int
        0: the start.
    accuracy : float or None
        Top-1; None without labels.
    agreement : float
        Share of pictures with the teacher's top-1.
    divergence : float
        Mean Kullback-Leibler divergence from the teacher's probabilities, in nats.
    error : float
        What training lessens: the loss of `distillation_loss` on the pictures kept aside.
    loss : float or None
        Mean training loss of the epoch; None for the start.
    """

    epoch: int
    accuracy: float | None
    agreement: float
    divergence: float
    error: float
    loss: float | None = None

    @property
    def right(self) -> float:
        """Share of pictures with the right answer: that of the label, or of the teacher where there are no labels."""
        return self.agreement if self.accuracy is None else self.accuracy

    def to_dict(self) -> dict[str, Any]:
        return dict(vars(self))


@dataclass(frozen=True)
class History:
    """The scores of the start and of every epoch, and which state was kept."""

    scores: tuple[Score, ...]
    kept: int

    @property
    def start(self) -> Score:
        return self.scores[0]

    @property
    def best(self) -> Score:
        return self.scores[self.kept]

    def to_dict(self) -> dict[str, Any]:
        return {"kept": self.kept, "scores": [score.to_dict() for score in self.scores]}


def finetune(
    aware: Any,
    teacher: Any,
    pixels: Pixels,
    labels: Labels | None,
    grid_to_real: ToReal,
    schedule: Schedule | None = None,
) -> History:
    """Train an aware network in place, and leave it in the best state seen, its start among them.

    Parameters
    ----------
    aware : keras.Model
        From `insert.prepare`.
    teacher : keras.Model
        The float network; same input, (N, classes) logits.
    pixels : (N, H, W, C) uint8
    labels : (N,) int, or None
        Class indices.
    grid_to_real : callable
        From (n, H, W, C) uint8 pictures to the float32 values that the networks take.
    schedule : Schedule, optional

    Returns
    -------
    History

    Raises
    ------
    InputError
        Pictures or labels are not as described, or fewer than 20.
    """
    import keras

    schedule = schedule or Schedule()
    _check(teacher, pixels, labels)
    generator = np.random.default_rng(schedule.seed)
    order = generator.permutation(len(pixels))
    aside = max(1, round(schedule.held_out * len(pixels)))
    judged, learned = np.sort(order[:aside]), order[aside:]

    steps = -(-len(learned) // schedule.batch)
    rate = keras.optimizers.schedules.CosineDecay(schedule.learning_rate, schedule.epochs * steps)
    weight = schedule.label_weight if labels is not None else 0.0
    loss = distillation_loss(schedule.temperature, weight)
    aware.compile(keras.optimizers.Adam(rate), loss)
    batches = _Batches(teacher, pixels, labels, grid_to_real, schedule, learned)
    judge = _Judge(teacher, pixels[judged], None if labels is None else labels[judged], grid_to_real, loss)

    scores = [judge.score(aware, 0, None)]
    kept, weights = 0, aware.get_weights()
    with Progress(schedule.epochs * steps, "fine-tuning", "batches") as bar:
        for epoch in range(1, schedule.epochs + 1):
            if epoch > max(1, round(schedule.following * schedule.epochs)):
                _freeze_ranges(aware)
            losses = []
            for inputs, targets in batches.epoch(epoch):
                losses.append(float(aware.train_on_batch(inputs, targets)))
                aware.reset_metrics()
                bar.advance()
            scores.append(judge.score(aware, epoch, float(np.mean(losses))))
            if scores[-1].right >= scores[0].right and scores[-1].error < scores[kept].error:
                kept, weights = epoch, aware.get_weights()
    aware.set_weights(weights)
    return History(tuple(scores), kept)


def _freeze_ranges(aware: Any) -> None:
    from edgecv_export.quantize.aware.layers import MovingAverageRange

    for layer in aware.layers:
        if isinstance(layer, MovingAverageRange):
            layer.freeze()


def distillation_loss(temperature: float, label_weight: float) -> Callable[[Any, Any], Any]:
    """``(1 - w) T² KL(teacher || student) + w · cross-entropy(labels)``, for each picture.

    The targets are (N, 2 classes): the teacher's logits, then the labels as one-hot rows (zeros without labels).
    """
    from keras import ops

    def loss(targets: Any, logits: Any) -> Any:
        classes = logits.shape[-1]
        taught, labels = targets[:, :classes] / temperature, targets[:, classes:]
        known = ops.log_softmax(taught, axis=-1) - ops.log_softmax(logits / temperature, axis=-1)
        divergence = ops.sum(ops.softmax(taught, axis=-1) * known, axis=-1)
        cross_entropy = -ops.sum(labels * ops.log_softmax(logits, axis=-1), axis=-1)
        return (1 - label_weight) * temperature**2 * divergence + label_weight * cross_entropy

    return loss


def logits_of(network: Any, pixels: Pixels, grid_to_real: ToReal) -> FloatArray:
    """(N, classes) logits of uint8 pictures, batch by batch."""
    parts = [
        np.asarray(network.predict_on_batch(grid_to_real(pixels[start : start + _PREDICTION_BATCH])))
        for start in range(0, len(pixels), _PREDICTION_BATCH)
    ]
    return np.concatenate(parts).astype(np.float32)


class _Judge:
    """Scores states on the pictures kept aside."""

    def __init__(
        self, teacher: Any, pixels: Pixels, labels: Labels | None, grid_to_real: ToReal, loss: Callable[[Any, Any], Any]
    ) -> None:
        self.pixels, self.labels, self.grid_to_real, self.loss = pixels, labels, grid_to_real, loss
        self.wanted = logits_of(teacher, pixels, grid_to_real)
        self.targets = np.concatenate([self.wanted, one_hot(labels, *self.wanted.shape)], axis=1)

    def score(self, aware: Any, epoch: int, loss: float | None) -> Score:
        from keras import ops

        got = logits_of(aware, self.pixels, self.grid_to_real)
        top = got.argmax(axis=1)
        log_wanted, log_got = log_softmax(self.wanted), log_softmax(got)
        divergence = (np.exp(log_wanted) * (log_wanted - log_got)).sum(axis=1).mean()
        return Score(
            epoch=epoch,
            accuracy=None if self.labels is None else float((top == self.labels).mean()),
            agreement=float((top == self.wanted.argmax(axis=1)).mean()),
            divergence=float(divergence),
            error=float(np.mean(ops.convert_to_numpy(self.loss(self.targets, got)))),
            loss=loss,
        )


class _Batches:
    """Inputs and targets of an epoch. The teacher answers once per picture, or anew where augmentation changes it."""

    def __init__(
        self,
        teacher: Any,
        pixels: Pixels,
        labels: Labels | None,
        grid_to_real: ToReal,
        schedule: Schedule,
        learned: npt.NDArray[np.int64],
    ) -> None:
        self.teacher, self.pixels, self.grid_to_real = teacher, pixels, grid_to_real
        self.schedule, self.learned = schedule, learned
        classes = int(teacher.outputs[0].shape[-1])
        self.one_hot = one_hot(labels, len(pixels), classes)
        self.taught = None
        if not schedule.augmentation.changes:
            self.taught = np.zeros((len(pixels), classes), np.float32)
            self.taught[learned] = logits_of(teacher, pixels[learned], grid_to_real)

    def epoch(self, number: int) -> Any:
        """Yield (inputs, targets) in an order that depends on the seed and the epoch alone."""
        generator = np.random.default_rng([self.schedule.seed, number])
        order = generator.permutation(self.learned)
        for start in range(0, len(order), self.schedule.batch):
            chosen = order[start : start + self.schedule.batch]
            pixels = self.schedule.augmentation.apply(self.pixels[chosen], generator)
            inputs = self.grid_to_real(pixels)
            taught = np.asarray(self.teacher.predict_on_batch(inputs)) if self.taught is None else self.taught[chosen]
            yield inputs, np.concatenate([taught, self.one_hot[chosen]], axis=1)


def one_hot(labels: Labels | None, count: int, classes: int) -> FloatArray:
    """(count, classes): a one for each label; zeros without labels."""
    rows = np.zeros((count, classes), np.float32)
    if labels is not None:
        rows[np.arange(count), labels] = 1.0
    return rows


def log_softmax(logits: FloatArray) -> npt.NDArray[np.float64]:
    """Over the last axis, in double precision."""
    shifted = logits.astype(np.float64) - logits.max(axis=-1, keepdims=True)
    normalised: npt.NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return normalised


def _check(teacher: Any, pixels: Pixels, labels: Labels | None) -> None:
    shape = teacher.inputs[0].shape[1:]
    if pixels.dtype != np.uint8 or pixels.ndim != 4 or pixels.shape[1:] != tuple(shape):
        raise InputError(
            f"pixels must be (N, {', '.join(map(str, shape))}) uint8; received {pixels.shape} {pixels.dtype}"
        )
    if len(pixels) < LEAST_PICTURES:
        raise InputError(f"training needs at least {LEAST_PICTURES} pictures; received {len(pixels)}")
    if labels is None:
        return
    classes = int(teacher.outputs[0].shape[-1])
    if labels.shape != (len(pixels),) or not np.issubdtype(labels.dtype, np.integer):
        raise InputError(f"labels must be ({len(pixels)},) whole numbers; received {labels.shape} {labels.dtype}")
    if labels.min() < 0 or labels.max() >= classes:
        raise InputError(f"labels must be from 0 to {classes - 1}; received {labels.min()} to {labels.max()}")
