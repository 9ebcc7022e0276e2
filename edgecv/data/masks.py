"""Pictures with a map of classes each, to train segmenters on: whole, or in patches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgecv.augment.sample import UNLABELLED, Sample
from edgecv.data.cache import CACHE_BYTES, StreamedSamples
from edgecv.data.labelled import input_spec
from edgecv.models.registry import Preprocessing
from edgecv_runtime.errors import InputError
from edgecv_runtime.evaluate_objects import read_mask, read_mask_pairs
from edgecv_runtime.images import read_image
from edgecv_runtime.preprocess import Preprocessor, resize


def mask_samples(
    source: str | Path | Sequence[tuple[Path, Path]],
    preprocessing: Preprocessing,
    input_shape: Sequence[int],
    *,
    whole: bool = True,
    cache_bytes: int | None = CACHE_BYTES,
) -> StreamedSamples:
    """Pictures of ``DIR/images`` with the maps of classes of ``DIR/masks`` (255 unlabelled).

    Parameters
    ----------
    source : folder, or (picture, mask) files
    preprocessing : Preprocessing
        Of the network's record: colour, and how a picture is resized.
    input_shape : (height, width, channels)
        Of the network.
    whole : bool
        Resized to the input as on the device, the map by the nearest pixel; False leaves pictures as they are, for
        patches.
    cache_bytes : int or None
        As of `StreamedSamples`.

    Raises
    ------
    MissingFileError, InputError
        As `read_mask_pairs` and `read_mask`.
    """
    pairs = read_mask_pairs(source) if isinstance(source, str | Path) else source
    spec = input_spec(preprocessing, input_shape)
    nearest = replace(spec.resize, interpolation="nearest", pad_value=UNLABELLED)

    def read(number: int) -> Sample:
        picture, mask_file = pairs[number]
        image, mask = read_image(picture), read_mask(mask_file)
        if mask.shape != image.shape[:2]:
            raise InputError(
                f"{mask_file} must have the size of {picture.name}, {image.shape[:2]}; received {mask.shape}"
            )
        if not whole:
            own = replace(spec, shape=(1, *image.shape[:2], spec.channels), resize=replace(spec.resize, mode="stretch"))
            return Sample(Preprocessor(own)(image)[0][0], masks=mask)
        resized = resize(mask[:, :, None], spec.size, nearest)[0].reshape(spec.size)
        return Sample(Preprocessor(spec)(image)[0][0], masks=resized)

    return StreamedSamples(len(pairs), read, cache_bytes)


def class_pixels(samples: Sequence[Sample], classes: int = UNLABELLED) -> npt.NDArray[np.int64]:
    """(N, classes) pixels of each class in each sample's map."""
    counts = np.zeros((len(samples), classes), np.int64)
    for number, sample in enumerate(samples):
        if sample.masks is not None:
            counts[number] = np.bincount(sample.masks.ravel(), minlength=256)[:classes]
    return counts
