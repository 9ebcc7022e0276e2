"""Pictures to train on: from a folder, labelled or not, at the model's input size."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgecv_export.quantize.aware.finetune import LEAST_PICTURES
from edgecv_export.sources.base import Source
from edgecv_runtime.errors import InputError, MissingFileError
from edgecv_runtime.evaluate import LabelledImage, read_labelled_images
from edgecv_runtime.images import list_images, read_image
from edgecv_runtime.progress import track

# Pixels that are held in memory; of more, evenly spaced pictures are taken.
_MEMORY = 1 << 30


@dataclass(frozen=True, eq=False)
class TrainingPictures:
    """Pictures for quantization-aware training.

    Attributes
    ----------
    pixels : (N, H, W, C) uint8
        As the device would resize them.
    labels : (N,) int64, or None
        Class indices; without them the float network alone is imitated.
    """

    pixels: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64] | None

    def __len__(self) -> int:
        return len(self.pixels)


def load_training(
    folder: str | Path, source: Source, labels: tuple[str, ...] | None, evaluation: Sequence[LabelledImage] = ()
) -> TrainingPictures:
    """Read training pictures.

    Parameters
    ----------
    folder : str or Path
        Labelled like an evaluation folder, or pictures in any arrangement.
    source : Source
        Gives input size and preprocessing.
    labels : tuple of str, or None
        Class names.
    evaluation : sequence of LabelledImage
        Pictures that must not be trained on.

    Raises
    ------
    MissingFileError
        No such folder.
    InputError
        Too few pictures can be read, or one of them is an evaluation picture.

    Warns
    -----
    RuntimeWarning
        For each picture that cannot be read, and where the folder is not labelled or too large for memory.
    """
    try:
        items: Sequence[LabelledImage] = read_labelled_images(folder, labels, source.classes)
        labelled = True
    except InputError as error:
        warnings.warn(f"training without labels: {error}", RuntimeWarning, stacklevel=2)
        items, labelled = [LabelledImage(path, -1) for path in list_images(folder)], False
    kept_aside = {item.path.resolve() for item in evaluation}
    shared = next((item.path for item in items if item.path.resolve() in kept_aside), None)
    if shared is not None:
        raise InputError(f"training and evaluation pictures must differ; {shared.name} is among both")
    items = _that_fit(items, source)
    pixels, classes = [], []
    for item in track(items, len(items), "reading training pictures", "images"):
        try:
            pixels.append(source.pixels([read_image(item.path)])[0])
        except (InputError, MissingFileError) as error:
            warnings.warn(f"training picture skipped: {error}", RuntimeWarning, stacklevel=2)
            continue
        classes.append(item.class_index)
    if len(pixels) < LEAST_PICTURES:  # told now, not at the end of a search
        raise InputError(
            f"training needs at least {LEAST_PICTURES} pictures; {len(pixels)} of {len(items)} in {folder} can be read"
        )
    return TrainingPictures(np.stack(pixels), np.array(classes) if labelled else None)


def _that_fit(items: Sequence[LabelledImage], source: Source) -> Sequence[LabelledImage]:
    height, width = source.size
    most = max(1, _MEMORY // (height * width * len(source.preprocessing.mean)))
    if len(items) <= most:
        return items
    warnings.warn(f"{most} of {len(items)} training pictures are used: more do not fit memory", RuntimeWarning, 3)
    return [items[index] for index in np.linspace(0, len(items) - 1, most).round().astype(int)]
