"""What happens beside the training: a bar, a line an epoch, checkpoints, the best weights, TensorBoard.

This module imports Keras when it is imported.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np

from edgecv.layers.graph import functional
from edgecv.training.checkpoint import Checkpoint, State
from edgecv.training.events import EventFile
from edgecv_runtime.errors import CheckFailedError
from edgecv_runtime.progress import Progress

Notify = Callable[[dict[str, float]], None]


def save_network(model: keras.Model, path: Path) -> None:
    """Write the network without its optimizer: as ``.weights.h5``, or whole as ``.keras``."""
    # A model of the same layers that was never compiled.
    bare = functional(model.inputs, model.outputs[0] if len(model.outputs) == 1 else model.outputs, model.name)
    if path.suffix == ".keras":
        bare.save(path)
    else:
        bare.save_weights(path)


class Keeper(keras.callbacks.Callback):
    """Writes every epoch to the checkpoint, remembers the best one, and ends training after `patience` without one.

    Parameters
    ----------
    checkpoint : Checkpoint
    patience : int or None
    notify : callable
        Is given the figures of each epoch.
    """

    def __init__(self, checkpoint: Checkpoint, patience: int | None, notify: Notify) -> None:
        super().__init__()
        self._checkpoint, self._patience, self._notify = checkpoint, patience, notify

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        done, state = epoch + 1, self._checkpoint.state
        figures = {"epoch": float(done), **{key: float(value) for key, value in (logs or {}).items()}}
        if not all(math.isfinite(value) for value in figures.values()):
            raise CheckFailedError(f"the loss is no longer finite in epoch {done}: lower --learning-rate")
        history = [*(state.history if state else []), figures]
        best = (state.best, state.best_epoch, state.best_loss) if state else ("", 0, math.inf)
        if figures["val_loss"] < best[2]:
            name = self._checkpoint.write_weights(f"best-{done:05d}", lambda path: save_network(self.model, path))
            best = (name, done, figures["val_loss"])
        weights = self._checkpoint.write_weights(f"epoch-{done:05d}", lambda path: self.model.save_weights(path))
        self._checkpoint.commit(State(done, weights, *best, history=history))
        self._notify(figures)
        if self._patience is not None and done - best[1] >= self._patience:
            self.model.stop_training = True

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:
        if self._checkpoint.state is not None:
            self._checkpoint.commit(replace(self._checkpoint.state, finished=True))


class EpochSeeds(keras.callbacks.Callback):
    """Dropout draws from (seed, epoch, layer) too: weight files do not hold what its generators have come to."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._seed = seed

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        states = [variable for variable in self.model.variables if variable.path.endswith("seed_generator_state")]
        for number, state in enumerate(states):
            generator = np.random.default_rng([self._seed, epoch, number])
            state.assign(generator.integers(0, 2**32, tuple(state.shape), np.uint32))


class Bar(keras.callbacks.Callback):
    """A progress bar over all epochs, with the running loss."""

    def __init__(self, epochs: int, steps: int, begin: int) -> None:
        super().__init__()
        self._epochs, self._steps = epochs, steps
        self._bar = Progress(epochs * steps, "training", "batches")
        self._bar.done = begin * steps
        self._epoch = begin

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self._epoch = epoch

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        loss = (logs or {}).get("loss", math.nan)
        self._bar.text = f"epoch {self._epoch + 1}/{self._epochs}  loss {loss:.4f} "
        self._bar.advance()

    def close(self) -> None:
        """Clear the line."""
        self._bar.__exit__(None, None, None)


class TensorBoard(keras.callbacks.Callback):
    """The figures of each epoch as TensorBoard's scalars, in folders ``train`` and ``validation`` as Keras has them.

    Keras's own callback needs TensorFlow and TensorBoard, whatever the back end.

    Parameters
    ----------
    folder : Path
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._files = {part: EventFile(folder / part) for part in ("train", "validation")}

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        for name, value in (logs or {}).items():
            part = "validation" if name.startswith("val_") else "train"
            self._files[part].scalar(f"epoch_{name.removeprefix('val_')}", float(value), epoch)
        rate = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
        self._files["train"].scalar("epoch_learning_rate", rate, epoch)

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:
        for file in self._files.values():
            file.close()
