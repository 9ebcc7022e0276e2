"""Pictures with boxes, from COCO, VOC or YOLO annotations."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgecv.augment.sample import Sample
from edgecv.data.cache import CACHE_BYTES, StreamedSamples
from edgecv_runtime.annotations import read_annotated_images
from edgecv_runtime.images import read_image


@dataclass(frozen=True)
class ObjectPictures:
    """Samples with boxes.

    Attributes
    ----------
    samples : StreamedSamples
        (H, W, 3) uint8 RGB pictures as they are, boxes in their pixels.
    names : tuple of str, or None
        Of the classes, in the order of the index.
    """

    samples: StreamedSamples
    names: tuple[str, ...] | None


def object_samples(source: str | Path, cache_bytes: int | None = CACHE_BYTES) -> ObjectPictures:
    """Read annotated pictures, in whichever of the three layouts they lie.

    Crowds and objects called difficult are left out, as are boxes of less than a pixel.

    Parameters
    ----------
    source : str or Path
        As of `edgecv_runtime.annotations.read_annotated_images`.
    cache_bytes : int or None
        As of `StreamedSamples`.

    Raises
    ------
    MissingFileError, InputError
        As `read_annotated_images`.
    """
    annotated = read_annotated_images(source)

    def read(number: int) -> Sample:
        entry = annotated.images[number]
        image = read_image(entry.path)
        height, width = image.shape[:2]
        truth = entry.in_pixels(height, width)
        boxes = np.clip(truth.boxes, 0, [width, height, width, height])
        counted = ~truth.crowd & (boxes[:, 2:] - boxes[:, :2] >= 1).all(axis=1)
        return Sample(image, boxes[counted].astype(np.float32), truth.classes[counted])

    names = None
    if annotated.names is not None:
        names = tuple(annotated.names.get(index, str(index)) for index in range(max(annotated.names, default=-1) + 1))
    return ObjectPictures(StreamedSamples(len(annotated.images), read, cache_bytes), names)
