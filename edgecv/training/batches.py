"""Batches for Keras's ``fit``: augmented, normalised, the same ones in every run with the same seed.

This module imports Keras when it is imported.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from edgecv.augment.recipes import Recipe, recipe
from edgecv.augment.sample import ArraySample, Sample
from edgecv.augment.superposition import cutmix, mixup
from edgecv.data.patches import PatchSamples
from edgecv.models.registry import Preprocessing
from edgecv.training.pictures import Part
from edgecv_runtime.errors import InputError

_SUPERPOSITION = 1  # sets the draws of a batch apart from those of a picture


class Batches(keras.utils.PyDataset):
    """Normalised pictures, signals or volumes, with one-hot rows and weights of the rows where classes have weights; or
    pictures with maps of classes.

    Parameters
    ----------
    part : Part
    preprocessing : Preprocessing
        Mean and standard deviation of the network's input.
    classes : int
    batch : int
    augment : Recipe
    seed : int
    epoch : int or None
        To begin with. None: the pictures in their own order, in every epoch, none left out.
    class_weights : (classes,) float, optional
        Of classifiers; a segmenter's loss knows them.
    output_size : (height, width), optional
        Of a segmenter whose output is the middle of its input.
    """

    def __init__(
        self,
        part: Part,
        preprocessing: Preprocessing,
        classes: int,
        batch: int,
        *,
        augment: Recipe | None = None,
        seed: int = 0,
        epoch: int | None = 0,
        class_weights: npt.NDArray[np.float32] | None = None,
        output_size: tuple[int, int] | None = None,
    ) -> None:
        super().__init__()
        self._part, self._classes, self._seed, self._epoch = part, classes, seed, epoch
        self._augment = augment or recipe("none")
        self._weights, self._output_size = class_weights, output_size
        self._mean, self._std = np.array(preprocessing.mean, np.float32), np.array(preprocessing.std, np.float32)
        self._batch = min(batch, len(part))
        if self._augment.superposition is not None and part.labels is None:
            raise InputError(f"{self._augment.name} mixes the classes of whole pictures: it is not for maps of classes")
        if self._augment.name != "none" and isinstance(next(iter(part)), ArraySample):
            raise InputError(f"augmentation {self._augment.name!r} is for pictures, not for signals or volumes")
        if self._augment.color and len(preprocessing.mean) != 3:
            raise InputError(f"augmentation {self._augment.name!r} is for RGB pictures; this network takes grey ones")
        self._order = self._draw_order()

    def _draw_order(self) -> npt.NDArray[np.int64]:
        if self._epoch is None:
            return np.arange(len(self._part))
        if isinstance(self._part.samples, PatchSamples):
            self._samples: Sequence[Sample] = self._part.samples.at_epoch(self._epoch)
        return np.random.default_rng([self._seed, self._epoch]).permutation(len(self._part))

    def __len__(self) -> int:
        # The rest of an epoch would be a smaller batch, whose statistics a batch norm takes as seriously; the next
        # epoch has another order.
        return -(-len(self._part) // self._batch) if self._epoch is None else len(self._part) // self._batch

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        chosen = self._order[index * self._batch : (index + 1) * self._batch]
        samples = [self._sample(place) for place in chosen.tolist()]
        images = np.stack([sample.image for sample in samples])
        if self._part.labels is None:
            return self._normalised(images), np.stack([self._map(sample) for sample in samples])
        targets = np.eye(self._classes, dtype=np.float32)[self._part.labels[chosen]]
        if self._augment.superposition is not None and self._epoch is not None:
            rng = np.random.default_rng([self._seed, self._epoch, index, _SUPERPOSITION])
            mix = mixup if self._augment.superposition == "mixup" else cutmix
            images, targets = mix(images, targets, rng)
        if self._weights is None:
            return self._normalised(images), targets
        return self._normalised(images), targets, targets @ self._weights

    def _sample(self, place: int) -> Sample:
        number = int(self._part.numbers[place])
        if self._epoch is None:
            return self._part.samples[number]
        samples = getattr(self, "_samples", self._part.samples)
        return self._augment.pipeline.draw(samples[number], self._seed, self._epoch, number)

    def _normalised(self, images: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        normalised: npt.NDArray[np.float32] = (images.astype(np.float32) - self._mean) / self._std
        return normalised

    def _map(self, sample: Sample) -> npt.NDArray[np.int32]:
        mask = np.asarray(sample.masks, np.int32)
        if self._output_size is None or self._output_size == mask.shape:
            return mask
        height, width = self._output_size
        top, left = (mask.shape[0] - height) // 2, (mask.shape[1] - width) // 2
        return mask[top : top + height, left : left + width]

    def begin_at(self, epoch: int) -> None:
        """Go to the order and the draws of an epoch, counted from 0."""
        self._epoch = epoch
        self._order = self._draw_order()

    def on_epoch_end(self) -> None:
        if self._epoch is not None:
            self._epoch += 1
            self._order = self._draw_order()
