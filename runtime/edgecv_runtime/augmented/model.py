"""A model that looks at each picture several times."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from edgecv_runtime.augmented import merge as merging
from edgecv_runtime.augmented.looks import SeveralLooks
from edgecv_runtime.augmented.views import View, views_of
from edgecv_runtime.errors import InputError, UnsupportedError
from edgecv_runtime.images import Image
from edgecv_runtime.model import Model
from edgecv_runtime.results import Segmentation

DEFAULT = ("identity", "hflip")
_TASKS = ("classification", "detection", "segmentation", "pose", "embedding")


def tta(
    model: Model,
    image: Any,
    transforms: Sequence[str] = DEFAULT,
    *,
    merge: str = "mean",
    only_if_unsure: float | None = None,
    iou_threshold: float = 0.55,
) -> Any:
    """Ask a model about several views of a picture and merge what it answers.

    Parameters
    ----------
    model : Model
    image : (H, W, 3) uint8 RGB, or a path
    transforms : sequence of str
        See `views_of`: identity, flips, shifts, scales, rotations, crops, colour.
    merge : {"mean", "gmean", "max"}
        Of the class scores of a classifier; other tasks take the mean.
    only_if_unsure : float, optional
        Ask about the first view alone where its best score reaches this; the others only where it does not.
    iou_threshold : float
        Above it boxes of two views are taken for the same object.

    Returns
    -------
    The task's result, in pixels of the picture itself.

    Raises
    ------
    InputError
        An unknown transform or merge, or not an image.
    UnsupportedError
        The task's answers cannot be merged, or have no scores to be sure of (`only_if_unsure`).

    Examples
    --------
    >>> import edgecv_runtime as ert
    >>> with ert.load("mobilenet_v2.edgecv") as model:                                      # doctest: +SKIP
    ...     ert.tta(model, "photo.jpg", ["ten-crop"], merge="gmean").top(1).labels
    """
    return AugmentedModel(model, transforms, merge=merge, only_if_unsure=only_if_unsure, iou_threshold=iou_threshold)(
        image
    )


class AugmentedModel(SeveralLooks):
    """A `Model` whose every call is test-time augmented; it stands in for one where pictures are evaluated.

    Parameters
    ----------
    model : Model
        It stays the caller's to close.
    transforms, merge, only_if_unsure, iou_threshold
        As in `tta`.

    Attributes
    ----------
    calls, pictures : int
        How often the model was asked, and about how many pictures.
    """

    def __init__(
        self,
        model: Model,
        transforms: Sequence[str] = DEFAULT,
        *,
        merge: str = "mean",
        only_if_unsure: float | None = None,
        iou_threshold: float = 0.55,
    ) -> None:
        if merge not in merging.MERGES:
            raise InputError(f"merge must be one of {', '.join(merging.MERGES)}; received {merge!r}")
        if model.task not in _TASKS:
            raise UnsupportedError(f"answers of {model.task} models cannot be merged; {', '.join(_TASKS)} can")
        if merge != "mean" and model.task != "classification":
            raise UnsupportedError(f"merge={merge!r} is for classifiers; this is a {model.task} model")
        if only_if_unsure is not None and model.task in ("segmentation", "embedding"):
            raise UnsupportedError(f"a {model.task} model gives no score to be sure of: leave out only_if_unsure")
        if only_if_unsure is not None and not 0 <= only_if_unsure <= 1:
            raise InputError(f"only_if_unsure must be a score from 0 to 1; received {only_if_unsure}")
        views_of(np.zeros((8, 8, 3), np.uint8), transforms, model.manifest.inputs[0])  # refuses unknown ones now
        super().__init__(model)
        self.transforms, self.merge = tuple(transforms), merge
        self.only_if_unsure, self.iou_threshold = only_if_unsure, iou_threshold
        self.calls = self.pictures = 0

    def _look(self, pixels: Image) -> Any:
        self.pictures += 1
        if self.only_if_unsure is None:
            views = self._views(pixels, self.transforms)
            answers = self._ask(views)
        else:
            views = self._views(pixels, self.transforms[:1])
            answers = self._ask(views[:1])
            if self._best_score(answers[0]) >= self.only_if_unsure:
                views = views[:1]
            else:
                views += self._views(pixels, self.transforms[1:])
                answers += self._ask(views[1:])
        return self._merged(answers, views, (pixels.shape[0], pixels.shape[1]))

    def _views(self, pixels: Image, transforms: Sequence[str]) -> list[View]:
        if not transforms:
            return []
        return views_of(pixels, transforms, self.manifest.inputs[0], mirror_border=self.task != "detection")

    def _ask(self, views: Sequence[View]) -> list[Any]:
        self.calls += len(views)
        if self.model.task == "segmentation":
            return [self.model.score_map(view.image) for view in views]
        pictures: list[Image] = [view.image for view in views]
        return list(self.model(pictures))

    def _best_score(self, answer: Any) -> float:
        return float(np.mean(answer.scores) if self.model.task == "pose" else max(answer.scores, default=0.0))

    def _merged(self, answers: list[Any], views: Sequence[View], size: tuple[int, int]) -> Any:
        task = self.model.task
        if task == "classification":
            return merging.merge_classes(answers, self.merge)
        if task == "detection":
            return merging.merge_detections(answers, views, size, self.iou_threshold)
        if task == "pose":
            return merging.merge_poses(answers, views)
        if task == "embedding":
            return merging.merge_embeddings(answers)
        return self._segmentation(answers, views, size)

    def _segmentation(self, answers: list[Any], views: Sequence[View], size: tuple[int, int]) -> Segmentation:
        """The mean of the scores of all views that show a pixel."""
        total: Any = 0.0
        seen = np.zeros(size, np.int64)
        for (scores, shown), view in zip(answers, views, strict=True):
            there = view.map_to_source(shown, size, False)
            total = total + np.where(there[..., None], view.map_to_source(scores, size, 0.0), 0.0)
            seen += there
        return self.model.decide(total / np.maximum(seen, 1)[..., None], seen > 0)
