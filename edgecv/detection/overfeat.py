"""OverFeat: what its windows learn, and the network that learns it (Sermanet et al. 2014, arXiv:1312.6229).

Import it where Keras may be imported: `training_parts` builds a network.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecv.detection.boxes import decode_boxes, encode_boxes, to_centres
from edgecv.detection.coding import Arrays, Candidates, Coding, one_hot
from edgecv.detection.losses import cross_entropy, hardest_negatives, smooth_l1
from edgecv_runtime.errors import InputError


class OverFeatCoding(Coding):
    """A class and a box of it for every window; the first class is the background (section 5).

    A window learns the object whose middle is nearest to its own, where that is within `reach` window distances along
    both axes; the window nearest to an object always learns one. Targets: ``classes`` (W,) int32, 0 the background or
    class + 1, and ``offsets`` (W, 4) float32 from the window to the box, zeros without one. Outputs: ``boxes``
    (W, 4 · C) xyxy pixels and ``scores`` (W, 1 + C).

    Parameters
    ----------
    windows : (W, 4) xyxy pixels
        As `edgecv.models.overfeat.windows_of` gives them.
    size, classes
        See `Coding`.
    spacing : float
        From one window to the next, pixels.
    reach : float
    """

    def __init__(
        self, windows: npt.ArrayLike, size: tuple[int, int], classes: int, spacing: float = 32.0, reach: float = 0.6
    ) -> None:
        super().__init__(size, classes)
        self.windows = to_centres(np.asarray(windows, np.float32).reshape(-1, 4))
        self.reach = reach * spacing

    def encode(self, boxes: npt.ArrayLike, classes: npt.ArrayLike) -> dict[str, npt.NDArray]:
        corners, labels = self.checked(boxes, classes)
        targets = np.zeros(len(self.windows), np.int32)
        offsets = np.zeros((len(self.windows), 4), np.float32)
        if len(corners):
            middles = to_centres(corners)[:, :2]
            apart = np.abs(self.windows[:, None, :2] - middles[None]).max(axis=-1)  # (W, n)
            near = apart <= self.reach
            near[apart.argmin(axis=0), np.arange(len(corners))] = True
            owners = np.where(near, apart, np.inf).argmin(axis=1)
            taken = near.any(axis=1)
            targets[taken] = labels[owners[taken]] + 1
            offsets[taken] = encode_boxes(corners[owners[taken]], self.windows[taken])
        return {"classes": targets, "offsets": offsets}

    def answer(self, targets: Arrays) -> dict[str, npt.NDArray]:
        boxes = decode_boxes(targets["offsets"], self.windows)
        return {
            "boxes": np.tile(boxes, (1, self.classes)),
            "scores": one_hot(targets["classes"], self.classes + 1),
        }

    def decode(self, outputs: Arrays) -> Candidates:
        boxes = np.asarray(outputs["boxes"], np.float32).reshape(len(self.windows), self.classes, 4)
        scores = np.asarray(outputs["scores"], np.float32)[:, 1:]
        each = (scores[:, :, None] * np.eye(self.classes, dtype=np.float32)).reshape(-1, self.classes)
        return Candidates(boxes.reshape(-1, 4), each)


@dataclass(frozen=True)
class OverFeatLoss:
    """Cross-entropy of windows with an object and of the hardest without, and the distance of their own class's box.

    Where the paper trains one after the other, the classifier and then the regressor with an ℓ2 loss (section 4.2),
    both are learned at once, over the number of windows with an object, and far-off boxes pull no harder than others.
    ``loss(targets, outputs)``: targets of `OverFeatCoding`, batched; outputs ``logits`` (N, W, 1 + C) and ``offsets``
    (N, W, 4 · C).

    Attributes
    ----------
    ratio : float
        Windows without an object for each with one (section 5: negatives are chosen "on the fly").
    """

    ratio: float = 6.0

    def __call__(self, targets: Any, outputs: Any) -> Any:
        from keras import ops

        logits, offsets = ops.cast(outputs["logits"], "float32"), ops.cast(outputs["offsets"], "float32")
        classes = ops.cast(targets["classes"], "int32")
        count = logits.shape[-1] - 1
        positive = ops.cast(classes > 0, "float32")
        confidence = cross_entropy(classes, logits)
        chosen = positive + hardest_negatives(confidence, positive, 1.0 - positive, self.ratio, least=4)
        own = ops.one_hot(classes - 1, count, dtype="float32")  # of -1, the background: no class
        by_class = ops.reshape(offsets, (-1, offsets.shape[1], count, 4))
        apart = ops.sum(smooth_l1(by_class - targets["offsets"][:, :, None]), axis=-1)
        total = ops.sum(chosen * confidence) + ops.sum(own * apart)
        return total / ops.maximum(ops.sum(positive), 1.0)


def training_parts(model: Any) -> tuple[Any, OverFeatCoding, OverFeatLoss]:
    """What `edgecv.detection.train.train_detector` needs to train an OverFeat.

    Parameters
    ----------
    model : keras.Model
        As `edgecv.models.overfeat` builds it; its weights are shared.

    Returns
    -------
    network : keras.Model
        To ``logits`` (N, W, 1 + C) and ``offsets`` (N, W, 4 · C).
    coding : OverFeatCoding
    loss : OverFeatLoss

    Raises
    ------
    InputError
        Another model.
    """
    import keras

    there = {layer.name: layer for layer in model.layers}
    if not {"class_rows", "box_rows", "windows"} <= there.keys():
        raise InputError(f"an OverFeat built by edgecv.create_model is required; received {model.name!r}")
    logits, offsets = there["class_rows"].output, there["box_rows"].output
    named = [keras.layers.Identity(name=name)(x) for name, x in (("logits", logits), ("offsets", offsets))]
    network = keras.Model(model.input, named, name=f"{model.name}_training")
    coding = OverFeatCoding(there["windows"].boxes, model.input_shape[1:3], logits.shape[-1] - 1)
    return network, coding, OverFeatLoss()
