"""Training of a network that paints in one style at once (Johnson, Alahi, Fei-Fei 2016, "Perceptual Losses ...")."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from edgecv.style.perception import PARTS, Goal, PerceptualNetwork, Weights
from edgecv_runtime.errors import InputError

if TYPE_CHECKING:
    import keras

Array = npt.NDArray[np.float32]

_REFERENCES = 8  # content pictures that say what one unit of the losses is
_WARM_UP = 0.05  # share of the steps in which the rate rises


def train_transfer(
    model: keras.Model,
    network: PerceptualNetwork,
    contents: Array,
    style: Any,
    *,
    steps: int = 1000,
    batch: int = 4,
    learning_rate: float = 2e-3,
    weights: Weights | None = None,
    seed: int = 0,
    notify: Callable[[int, Mapping[str, float]], None] | None = None,
) -> Goal:
    """Teach a transfer network one style; its weights change in place.

    Parameters
    ----------
    model : keras.Model
        (N, H, W, 3) in 0..1 to the same shape: the registry's ``style_transfer``.
    network : PerceptualNetwork
        Of the same size.
    contents : (N, H, W, 3) float32 in 0..1
        Pictures to learn from, of that size; they are mirrored at random.
    style : (H, W) or (H, W, 3) uint8
    steps, batch : int
    learning_rate : float
        Of Adam; it rises over the first steps and falls along half a cosine.
    weights : Weights, optional
    seed : int
        Of the order of the pictures.
    notify : callable, optional
        Is given the number of each step and the weighed losses of its batch.

    Returns
    -------
    Goal
        To measure pictures with: `Goal.of`.

    Raises
    ------
    InputError
        Pictures, network and model differ in size, or fewer pictures than a batch.
    """
    import keras

    contents = np.asarray(contents, np.float32)
    sizes = {network.size, tuple(model.input_shape[1:3]), tuple(contents.shape[1:3])}
    if len(sizes) != 1 or model.output_shape != model.input_shape:
        raise InputError(
            f"model, network and pictures must have one size; received {tuple(model.input_shape[1:])} to "
            f"{tuple(model.output_shape[1:])}, {network.size} and {contents.shape[1:]}"
        )
    if not 1 <= batch <= len(contents) or steps < 1:
        raise InputError(f"batch must be 1 to {len(contents)} pictures and steps at least 1; received {batch}, {steps}")
    places = np.linspace(0, len(contents) - 1, min(_REFERENCES, len(contents))).astype(int)
    goal = Goal(network, network.fit(style), contents[places], weights)
    _ = goal.units  # before the loss is traced
    trainer = _trainer(model, goal)
    warm_up = max(1, round(_WARM_UP * steps))
    rate = keras.optimizers.schedules.CosineDecay(
        learning_rate / 10, max(1, steps - warm_up), warmup_target=learning_rate, warmup_steps=warm_up
    )
    # XLA would compile both networks for minutes on a CPU and then be slower.
    trainer.compile(keras.optimizers.Adam(rate), jit_compile=False)
    generator = np.random.default_rng(seed)
    order: list[int] = []
    for step in range(1, steps + 1):
        while len(order) < batch:
            order += generator.permutation(len(contents)).tolist()
        chosen, order = order[:batch], order[batch:]
        pictures = contents[chosen]
        mirrored = np.where(generator.random((batch, 1, 1, 1)) < 0.5, pictures[:, :, ::-1], pictures)
        logs = trainer.train_on_batch(mirrored, return_dict=True)
        trainer.reset_metrics()
        if notify is not None:
            notify(step, {part: float(logs[part]) for part in PARTS})
    return goal


def _trainer(model: keras.Model, goal: Goal) -> keras.Model:
    """The transfer network with the perceptual losses in place of a comparison with targets."""
    import keras

    class Trainer(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.painter = model
            self.means = [keras.metrics.Mean(part) for part in PARTS]

        def call(self, images: Any, training: bool = False) -> Any:
            return self.painter(images, training=training)

        def compute_loss(
            self,
            x: Any = None,
            y: Any = None,
            y_pred: Any = None,
            sample_weight: Any = None,
            training: bool = True,
        ) -> Any:
            wanted, _ = goal.network.maps(x)
            parts = keras.ops.mean(goal.losses(y_pred, wanted), axis=0)
            for index, mean in enumerate(self.means):
                mean.update_state(parts[index])
            return keras.ops.sum(parts)

    return Trainer()


def paint(model: keras.Model, contents: npt.ArrayLike, batch: int = 8) -> Array:
    """(N, H, W, 3) in 0..1: what a transfer network makes of pictures."""
    pictures = np.asarray(contents, np.float32)
    parts = [
        np.asarray(model(pictures[first : first + batch], training=False), np.float32)
        for first in range(0, len(pictures), batch)
    ]
    return np.concatenate(parts)
