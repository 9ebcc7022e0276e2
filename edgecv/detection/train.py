"""Train a single-stage detector on pictures with boxes. Import it where Keras may be imported."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import keras
import numpy as np
import numpy.typing as npt

from edgecv.detection.augment import light, mirror
from edgecv.detection.coding import Coding
from edgecv.models.registry import Preprocessing
from edgecv.training.fit import fit
from edgecv_runtime.errors import InputError


class Sample(Protocol):
    """A labelled picture of the network's input size, such as `edgecv.data.shapes.ShapesSample`."""

    @property
    def image(self) -> npt.NDArray[np.uint8]:
        """(H, W, 3) uint8, RGB."""

    @property
    def boxes(self) -> npt.NDArray[np.float32]:
        """(n, 4) xyxy, pixels."""

    @property
    def classes(self) -> npt.NDArray[np.int64]:
        """(n,)"""


def train_detector(
    model: keras.Model,
    samples: Sequence[Sample],
    coding: Coding,
    loss: Callable[[Any, Any], Any],
    *,
    preprocessing: Preprocessing,
    epochs: int = 30,
    batch: int = 16,
    learning_rate: float = 1e-3,
    seed: int = 0,
    photometric: float = 1.0,
    clip: float | None = 10.0,
    callbacks: Sequence[Any] = (),
    after_epoch: Callable[[int, float], None] | None = None,
) -> list[float]:
    """Train in place with Adam; half of the pictures are mirrored, and the light of all of them changes.

    Batch normalisation averages over a twentieth of the steps at most, whatever momentum the model was built with.

    Parameters
    ----------
    model : keras.Model
        From normalised pictures to its named outputs, without their last activation (``classifier_activation=None``).
    samples : sequence of Sample
        At the model's input size.
    coding : Coding
        Its `encode` makes the targets.
    loss : callable
        ``loss(targets, outputs)``, both mappings of batched tensors by name, gives a scalar.
    preprocessing : Preprocessing
        What the model expects of a pixel.
    epochs, batch : int
    learning_rate : float
        At its highest, after a tenth of the steps; it falls to zero along a cosine.
    seed : int
        Of order and augmentation. Initial weights have a seed of their own: ``keras.utils.set_random_seed``.
    photometric : float
        Strength of the light's changes; 0 for none.
    clip : float, optional
        Gradients that are longer than that, all weights together, are shortened.
    callbacks : sequence of keras.callbacks.Callback
    after_epoch : callable, optional
        Is given the number of the epoch, from 1, and its mean loss.

    Returns
    -------
    list of float
        Mean loss of each epoch.

    Raises
    ------
    InputError
        Fewer samples than a batch, or one of another size.
    """
    if len(samples) < batch:
        raise InputError(f"there must be a batch of {batch} samples at least; received {len(samples)}")
    shape = tuple(model.input_shape[1:])
    for sample in samples:
        if sample.image.shape != shape:
            raise InputError(f"pictures must be of the model's input size {shape}; received {sample.image.shape}")
    data = _Batches(samples, coding, preprocessing, batch, seed, photometric)
    steps = epochs * len(data)
    warm = max(1, steps // 10)
    schedule = keras.optimizers.schedules.CosineDecay(
        learning_rate / 100, max(1, steps - warm), warmup_target=learning_rate, warmup_steps=warm
    )
    _shorten_memory(model, steps)
    trainer = _Trainer(model, loss)
    # The graph is compiled by the back end alone: XLA takes longer than it gains on networks this small.
    trainer.compile(optimizer=keras.optimizers.Adam(schedule, global_clipnorm=clip), jit_compile=False)
    return fit(trainer, data, epochs=epochs, after_epoch=after_epoch, callbacks=callbacks)


def _shorten_memory(model: keras.Model, steps: int) -> None:
    """Let the averages of batch normalisation forget within a twentieth of the training.

    MobileNet's momentum of 0.999 is for hundreds of thousands of steps; after two thousand its averages would still
    hold a part of what they started from, and the network would answer with the statistics of another one.
    """
    longest = max(0.5, 1 - 20 / steps)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = min(layer.momentum, longest)


class _Batches(keras.utils.PyDataset):
    """Batches of an epoch in an order of its own; each picture's augmentation follows from seed, epoch and place."""

    def __init__(
        self,
        samples: Sequence[Sample],
        coding: Coding,
        preprocessing: Preprocessing,
        batch: int,
        seed: int,
        photometric: float,
    ) -> None:
        super().__init__(workers=1)
        self.samples, self.coding, self.batch = samples, coding, batch
        self.mean, self.std = (np.array(values, np.float32) for values in (preprocessing.mean, preprocessing.std))
        self.seed, self.photometric = seed, photometric
        self.epoch = 0
        self.order = self._shuffled()

    def __len__(self) -> int:
        return len(self.samples) // self.batch

    def on_epoch_end(self) -> None:
        self.epoch += 1
        self.order = self._shuffled()

    def _shuffled(self) -> npt.NDArray[np.int64]:
        return np.random.default_rng([self.seed, self.epoch]).permutation(len(self.samples))

    def __getitem__(self, index: int) -> tuple[npt.NDArray[np.float32], dict[str, npt.NDArray]]:
        rng = np.random.default_rng([self.seed, self.epoch, index])
        images, targets = [], []
        for number in self.order[index * self.batch : (index + 1) * self.batch]:
            sample = self.samples[number]
            image, boxes = sample.image.astype(np.float32), sample.boxes
            if rng.random() < 0.5:
                image, boxes = mirror(image, boxes)
            if self.photometric > 0:
                image = light(image, rng, self.photometric)
            images.append((image - self.mean) / self.std)
            targets.append(self.coding.encode(boxes, sample.classes))
        return np.stack(images), {name: np.stack([part[name] for part in targets]) for name in targets[0]}


class _Trainer(keras.Model):
    """A network with a loss over all of its outputs at once."""

    def __init__(self, network: keras.Model, loss: Callable[[Any, Any], Any]) -> None:
        super().__init__(name="trainer")
        self.network, self.objective = network, loss
        self.built = True

    def call(self, images: Any, training: bool | None = None) -> dict[str, Any]:
        answers = self.network(images, training=training)
        return dict(zip(self.network.output_names, answers if isinstance(answers, list) else [answers], strict=True))

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Any:
        loss = self.objective(y, y_pred)
        self._loss_tracker.update_state(loss, sample_weight=keras.ops.shape(keras.tree.flatten(y)[0])[0])
        return loss
