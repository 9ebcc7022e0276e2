"""One training of any two-stage detector: its options, its loss, its schedule and its epochs.

This module imports Keras when it is imported.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from edgecv.two_stage.losses import losses
from edgecv_runtime.errors import InputError
from edgecv_runtime.progress import Progress

Batch = dict[str, npt.NDArray[Any]]
Floats = npt.NDArray[np.float32]
# From the numbers of a batch's pictures, and the epoch's generator, to inputs and what is to be learned of them.
Batches = Callable[[npt.NDArray[np.int64], np.random.Generator], tuple[Any, Batch]]


@dataclass(frozen=True)
class TrainingOptions:
    """How a two-stage detector learns.

    Attributes
    ----------
    epochs, batch : int
    learning_rate : float
        Of Adam; it falls to zero along half a cosine, after a linear rise over the first 5 % of the steps.
    anchors, regions : int
        Sampled for each picture: 256 and 128 in the papers.
    share : float
        Of objects among the regions, at most.
    clip : float
        Largest norm of the gradient.
    seed : int
    """

    epochs: int = 10
    batch: int = 8
    learning_rate: float = 1e-3
    anchors: int = 256
    regions: int = 128
    share: float = 0.25
    clip: float = 5.0
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("epochs", "batch", "anchors", "regions"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} must be at least 1; received {getattr(self, name)}")
        if not (self.learning_rate > 0 and 0 < self.share <= 1 and self.clip > 0):
            raise InputError(
                "learning_rate and clip must be above 0 and share in (0, 1]; "
                f"received {self.learning_rate}, {self.clip} and {self.share}"
            )

    @property
    def objects(self) -> int:
        """Most regions of a picture that are objects: as many get a mask."""
        return max(1, int(self.regions * self.share))


class TrainingNetwork(keras.Model):
    """A functional model whose loss is the sum of `edgecv.two_stage.losses.losses`."""

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Any:
        return sum(losses(y, y_pred).values(), start=0.0) + sum(self.losses, start=0.0)


def fit(
    network: TrainingNetwork,
    options: TrainingOptions,
    count: int,
    batches: Batches,
    on_epoch: Callable[[int, float], None] | None = None,
) -> list[float]:
    """Train a network in place, every picture once an epoch, in an order of the epoch's own.

    Parameters
    ----------
    network : TrainingNetwork
    options : TrainingOptions
    count : int
        Pictures there are.
    batches : callable
        ``batches(rows, generator)`` gives inputs and truths of the pictures (B,) `rows`; the generator is the epoch's.
    on_epoch : callable, optional
        ``on_epoch(epoch, mean loss)`` after each, from 1 on.

    Returns
    -------
    list of float
        Mean loss of each epoch.
    """
    steps = math.ceil(count / options.batch)
    network.compile(
        keras.optimizers.Adam(learning_rate(options, steps), global_clipnorm=options.clip), jit_compile=False
    )
    history = []
    for epoch in range(1, options.epochs + 1):
        generator = np.random.default_rng([options.seed, epoch])
        order = generator.permutation(count)
        total = 0.0
        with Progress(steps, f"epoch {epoch}/{options.epochs}", "batches") as bar:
            for step in range(steps):
                inputs, truth = batches(order[step * options.batch :][: options.batch], generator)
                total += float(network.train_on_batch(inputs, truth, return_dict=True)["loss"])
                network.reset_metrics()
                bar.advance()
        history.append(total / steps)
        if on_epoch is not None:
            on_epoch(epoch, history[-1])
    return history


def learning_rate(options: TrainingOptions, steps: int) -> Any:
    """The schedule of a training of so many steps an epoch."""
    total = steps * options.epochs
    warm = max(1, total // 20)
    return keras.optimizers.schedules.CosineDecay(
        options.learning_rate * 0.05,
        max(1, total - warm),
        alpha=0.0,
        warmup_target=options.learning_rate,
        warmup_steps=warm,
    )


def normalise(images: npt.NDArray[Any]) -> Floats:
    """Pixels 0..255 as the networks take them."""
    return (images.astype(np.float32) - 127.5) / 127.5
