"""SSD: targets over default boxes, and the loss with hard negatives (Liu et al. 2016, arXiv:1512.02325)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecv.detection.boxes import VARIANCES, decode_boxes, encode_boxes, iou_matrix, to_corners
from edgecv.detection.coding import Arrays, Candidates, Coding, one_hot
from edgecv.detection.matching import BACKGROUND, IGNORED, match


class SSDCoding(Coding):
    """Offsets and a class for every default box; the first class is the background.

    Targets: ``boxes`` (A, 4) float32 offsets, zeros without a box; ``classes`` (A,) int32, 0 the background,
    class + 1, or -1 for what the loss leaves out. Outputs: ``boxes`` (A, 4) and ``scores`` (A, 1 + C).

    Parameters
    ----------
    anchors : (A, 4)
        Centre x, centre y, width, height as fractions of the picture.
    size, classes
        See `Coding`.
    variances : four numbers
    positive, negative : float
        See `edgecv.detection.matching.match`.
    """

    def __init__(
        self,
        anchors: npt.ArrayLike,
        size: tuple[int, int],
        classes: int,
        variances: Sequence[float] = VARIANCES,
        positive: float = 0.5,
        negative: float | None = None,
    ) -> None:
        super().__init__(size, classes)
        self.anchors = np.asarray(anchors, np.float32) * self.unit
        self.variances = tuple(variances)
        self.positive, self.negative = positive, negative
        self._corners = to_corners(self.anchors)

    def encode(self, boxes: npt.ArrayLike, classes: npt.ArrayLike) -> dict[str, npt.NDArray]:
        corners, labels = self.checked(boxes, classes)
        owners = match(iou_matrix(self._corners, corners), self.positive, self.negative)
        offsets = np.zeros((len(owners), 4), np.float32)
        targets = np.zeros(len(owners), np.int32)
        taken = owners >= 0
        offsets[taken] = encode_boxes(corners[owners[taken]], self.anchors[taken], self.variances)
        targets[taken] = labels[owners[taken]] + 1
        targets[owners == IGNORED] = -1
        targets[owners == BACKGROUND] = 0
        return {"boxes": offsets, "classes": targets}

    def answer(self, targets: Arrays) -> dict[str, npt.NDArray]:
        classes = np.maximum(targets["classes"], 0)
        return {"boxes": targets["boxes"], "scores": one_hot(classes, self.classes + 1)}

    def decode(self, outputs: Arrays) -> Candidates:
        boxes = decode_boxes(outputs["boxes"], self.anchors, self.variances)
        return Candidates(boxes, np.asarray(outputs["scores"], np.float32)[:, 1:])


@dataclass(frozen=True)
class SSDLoss:
    """(L_conf + α L_loc) / N over the N matched default boxes of a batch (eq. 1 to 3); 0 where there is none.

    L_loc is smooth L1 of the offsets, L_conf the cross-entropy of matched boxes and of the hardest backgrounds of each
    picture, `ratio` for each matched one. ``loss(targets, outputs)``: targets of `SSDCoding`, batched; outputs
    ``boxes`` (N, A, 4) and ``scores`` (N, A, 1 + C), these as logits.

    Attributes
    ----------
    alpha : float
    ratio : float
    """

    alpha: float = 1.0
    ratio: float = 3.0

    def __call__(self, targets: Any, outputs: Any) -> Any:
        from keras import ops

        from edgecv.detection.losses import cross_entropy, hardest_negatives, smooth_l1

        logits, offsets = ops.cast(outputs["scores"], "float32"), ops.cast(outputs["boxes"], "float32")
        classes = ops.cast(targets["classes"], "int32")
        positive, negative = ops.cast(classes > 0, "float32"), ops.cast(classes == 0, "float32")
        confidence = cross_entropy(ops.maximum(classes, 0), logits)
        chosen = positive + hardest_negatives(confidence, positive, negative, self.ratio)
        location = ops.sum(smooth_l1(offsets - targets["boxes"]), axis=-1)
        matched = ops.sum(positive)
        total = ops.sum(chosen * confidence) + self.alpha * ops.sum(positive * location)
        return total / ops.maximum(matched, 1.0)
