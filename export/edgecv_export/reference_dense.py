"""The float segmenter or detector on labelled pictures: what every candidate is compared with.

Both sides are read by the runtime's own decoder; the figures are those of `edgecv eval`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from edgecv_export.reference import Fidelity
from edgecv_export.sources.base import Source
from edgecv_export.tasks.matched_boxes import matches
from edgecv_export.tasks.reading import Reader, float_manifest
from edgecv_runtime.annotations import AnnotatedImage, AnnotatedImages
from edgecv_runtime.decoders.base import decoder_class
from edgecv_runtime.decoders.parameters import DETECTION
from edgecv_runtime.evaluate import readable
from edgecv_runtime.evaluate_objects import SCORE_THRESHOLD, class_map, read_mask, read_mask_pairs, translated
from edgecv_runtime.images import Image, read_image
from edgecv_runtime.manifest import DecoderSpec
from edgecv_runtime.metrics.coco import DetectionAccuracy, Truth, average_precision
from edgecv_runtime.metrics.miou import Confusion, SegmentationAccuracy
from edgecv_runtime.model import Model
from edgecv_runtime.progress import track
from edgecv_runtime.results import Detections, Segmentation

_CHUNK = 16  # pictures that the float source answers to at once


@dataclass(frozen=True)
class MaskedImage:
    """A picture and the file of its mask."""

    path: Path
    mask: Path


def read_masks(folder: str | Path) -> list[MaskedImage]:
    """The pictures of a folder that have a mask (see `read_mask_pairs`)."""
    return [MaskedImage(path, mask) for path, mask in read_mask_pairs(folder)]


@dataclass(frozen=True, eq=False)
class MaskReference:
    """Pictures with masks, and the float segmenter's answers to them; the counterpart of `Reference`.

    Attributes
    ----------
    items : tuple of MaskedImage
        Those that can be read.
    results : tuple of Segmentation
        The float source's.
    skipped : int
    """

    items: tuple[MaskedImage, ...]
    results: tuple[Segmentation, ...]
    skipped: int

    @classmethod
    def of(cls, source: Source, items: Sequence[MaskedImage]) -> MaskReference:
        """Ask the float source; raises and warns as `Reference.of`."""
        answered = list(float_results(source, items))
        kept, results = zip(*answered, strict=True)
        return cls(kept, results, len(items) - len(answered))

    @property
    def trials(self) -> int:
        """How many chances to fail the accuracy is a share of: pixels, whose classes weigh alike."""
        return sum(result.mask.size for result in self.results)

    @property
    def trial(self) -> str:
        """One of them, in words."""
        return "pixel"

    @cached_property
    def accuracy(self) -> SegmentationAccuracy:
        """The float source's own."""
        return self._accuracy(self.results)

    def compare(self, model: Model, text: str = "evaluating") -> Fidelity:
        """Run an artefact on the same pictures, through the whole road of the device."""
        results = artefact_results(model, self.items, text)
        equal = gained = lost = 0
        for item, mine, other in zip(self.items, results, self.results, strict=True):
            truth = read_mask(item.mask)
            equal += int((mine.mask == other.mask).sum())
            gained += int(((mine.mask == truth) & (other.mask != truth)).sum())
            lost += int(((mine.mask != truth) & (other.mask == truth)).sum())
        return Fidelity(self._accuracy(results), equal / max(1, self.trials), gained, lost, ())

    def _accuracy(self, results: Sequence[Segmentation]) -> SegmentationAccuracy:
        confusion = Confusion()
        for item, result in zip(self.items, results, strict=True):
            confusion.add(read_mask(item.mask), result.mask)
        return confusion.accuracy(self.skipped)


@dataclass(frozen=True, eq=False)
class BoxReference:
    """Annotated pictures, and the float detector's answers to them; the counterpart of `Reference`.

    Attributes
    ----------
    items : tuple of AnnotatedImage
        Those that can be read.
    truths : tuple of Truth
    results : tuple of Detections
        The float source's, down to the threshold of an evaluation.
    skipped : int
    classes : mapping of int to int, or None
        From the model's class index to the data's (see `class_map`).
    shown : float
        The score from which a detection counts in use.
    """

    items: tuple[AnnotatedImage, ...]
    truths: tuple[Truth, ...]
    results: tuple[Detections, ...]
    skipped: int
    classes: Mapping[int, int] | None
    shown: float

    @classmethod
    def of(cls, source: Source, data: AnnotatedImages, labels: tuple[str, ...] | None) -> BoxReference:
        """Ask the float source; raises and warns as `Reference.of`."""
        classes = class_map(labels, data.names)
        answered = list(float_results(source, data.images, score_threshold=SCORE_THRESHOLD))
        sizes = [read_image(item.path).shape[:2] for item, _ in answered]
        return cls(
            tuple(item for item, _ in answered),
            tuple(item.in_pixels(*size) for (item, _), size in zip(answered, sizes, strict=True)),
            tuple(result for _, result in answered),
            len(data.images) - len(answered),
            classes,
            _threshold(source.decoder),
        )

    @property
    def trials(self) -> int:
        """How many chances to fail the accuracy is a share of."""
        return max(1, self.accuracy.objects)

    @property
    def trial(self) -> str:
        """One of them, in words."""
        return "object"

    @cached_property
    def accuracy(self) -> DetectionAccuracy:
        """The float source's own."""
        return self._accuracy(self.results)

    def compare(self, model: Model, text: str = "evaluating") -> Fidelity:
        """Run an artefact on the same pictures, through the whole road of the device."""
        with model.configured(score_threshold=SCORE_THRESHOLD):
            results = artefact_results(model, self.items, text)
        found = both = gained = lost = 0
        for mine, other in zip(results, self.results, strict=True):
            shown, before = mine.above(self.shown), other.above(self.shown)
            alike = matches(shown, before)
            found += len(shown) + len(before)
            both += 2 * alike
            gained += len(shown) - alike
            lost += len(before) - alike
        return Fidelity(self._accuracy(results), both / found if found else 1.0, gained, lost, ())

    def _accuracy(self, results: Sequence[Detections]) -> DetectionAccuracy:
        found = [translated(result, self.classes) for result in results]
        return average_precision(self.truths, found, self.skipped)


def float_results(source: Source, items: Sequence[Any], **parameters: Any) -> Iterator[tuple[Any, Any]]:
    """The items whose pictures can be read, and what the float source answers to each.

    Parameters
    ----------
    source : Source
    items : sequence with ``path``
    parameters
        Of the decoder, in place of its own.

    Raises
    ------
    InputError
        Not one can be read.

    Warns
    -----
    RuntimeWarning
        For each that cannot.
    """
    reader = Reader(float_manifest(source), **parameters)
    pending: list[tuple[Any, Image]] = []
    for item, image in readable([(item.path, item) for item in items], "evaluating the float source"):
        pending.append((item, image))
        if len(pending) == _CHUNK:
            yield from _answered(source, reader, pending)
            pending = []
    yield from _answered(source, reader, pending)


def _answered(source: Source, reader: Reader, pending: Sequence[tuple[Any, Image]]) -> Iterator[tuple[Any, Any]]:
    if pending:
        answers = source.answers(source.pixels([image for _, image in pending]))
        for row, (item, image) in enumerate(pending):
            yield item, reader.read(image, [output[row] for output in answers])


def artefact_results(model: Model, items: Sequence[Any], text: str) -> list[Any]:
    """What an artefact answers to the pictures, through the whole road of the device."""
    return [model(read_image(item.path)) for item in track(items, len(items), text, "images")]


def _threshold(decoder: DecoderSpec) -> float:
    known = getattr(decoder_class(decoder.name), "parameters_known", DETECTION)["score_threshold"]
    return float(decoder.parameters.get("score_threshold", known.default))
