"""Approximate joint training: both stages in one step, proposals taken as they are (Ren et al. 2017, section 3.2).

At each step the network first proposes regions for the batch, as it would when it runs; regions are sampled from them,
and one step of the optimizer then learns anchors, regions, masks and keypoints together. No gradient passes through
the proposals' coordinates: that is the approximation. This module imports Keras when it is imported.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from edgecv.layers.roi_heads import BoxHead, KeypointHead, MaskHead, RegionRows
from edgecv.two_stage.backbones import FEATURES
from edgecv.two_stage.fit import Batch, Floats, TrainingNetwork, TrainingOptions, fit, normalise
from edgecv.two_stage.sampling import (
    Sample,
    anchor_targets,
    keypoint_targets,
    mask_targets,
    region_targets,
)
from edgecv_runtime.errors import InputError


def training_network(model: keras.Model, regions: int, objects: int) -> TrainingNetwork:
    """The layers of a two-stage detector, applied to regions that are given.

    Parameters
    ----------
    model : keras.Model
        As from the builders of `edgecv.models.fast_rcnn`, `faster_rcnn` and `mask_rcnn`; its weights are shared.
    regions : int
        Regions of a picture.
    objects : int
        Regions, the first ones, that masks and keypoints are learned of.

    Returns
    -------
    TrainingNetwork
        From a picture and regions (N, R, 4) to a dict: ``logits`` (N, R, 1 + classes), ``offsets``
        (N, R, 4 · classes), and where the model has them ``rpn_logits``, ``rpn_offsets``, ``masks``, ``keypoints``.
    """
    head = BoxHead.of(model)
    if head is None:
        raise InputError(f"a two-stage detector is required; {model.name} has no layers called roi_…")
    there = {layer.name: layer for layer in model.layers}
    features = there[FEATURES].output
    boxes = keras.layers.Input((regions, 4), name="regions")
    pooled = there["region_features"]([features, boxes])
    logits, offsets = head(RegionRows(regions, flat=True, name="learned_vectors")(pooled))
    outputs = {"logits": logits, "offsets": offsets}
    if "rpn_logits" in there:
        outputs |= {name: there[name].output for name in ("rpn_logits", "rpn_offsets")}
    if "mask_features" in there:
        fine = there["mask_features"]([features, boxes[:, :objects]])
        for name, kind in (("masks", MaskHead), ("keypoints", KeypointHead)):
            branch = kind.of(model)
            if branch is not None:
                outputs[name] = RegionRows(objects, name=f"learned_{name}")(branch(fine))
    image = there["image"].output
    return TrainingNetwork([image, boxes], outputs, name=f"{model.name}_training")


def train_two_stage(
    model: keras.Model,
    samples: Sequence[Sample],
    options: TrainingOptions | None = None,
    proposals: Sequence[npt.ArrayLike] | None = None,
    on_epoch: Callable[[int, float], None] | None = None,
) -> list[float]:
    """Train Fast, Faster or Mask R-CNN.

    Parameters
    ----------
    model : keras.Model
        Its weights are trained in place. It takes pixels as ``x / 127.5 - 1``.
    samples : sequence of Sample
        Pictures of the model's input size.
    options : TrainingOptions, optional
    proposals : sequence of (P, 4) arrays, optional
        Regions of each picture, xyxy pixels. Default: those that the network itself proposes, or, of a Fast R-CNN
        without a second input, its windows.
    on_epoch : callable, optional
        ``on_epoch(epoch, mean loss)`` after each, from 1 on.

    Returns
    -------
    list of float
        Mean loss of each epoch.

    Raises
    ------
    InputError
        A picture of another size, no picture, or no proposals for a network that makes none.
    """
    options = options or TrainingOptions()
    _check(model, samples, proposals)
    keras.utils.set_random_seed(options.seed)
    source = _Source(model, samples, options, proposals)
    network = training_network(model, options.regions, options.objects)
    return fit(network, options, len(samples), lambda rows, _: source.batch(rows), on_epoch)


def _check(model: keras.Model, samples: Sequence[Sample], proposals: Sequence[npt.ArrayLike] | None) -> None:
    if not samples:
        raise InputError("training needs at least one picture; received none")
    wanted = tuple(model.inputs[0].shape[1:])
    other = next((sample.image.shape for sample in samples if sample.image.shape != wanted), None)
    if other is not None:
        raise InputError(
            f"pictures must be {wanted}, the model's input; received {other}: resize them with their boxes"
        )
    if proposals is not None and len(proposals) != len(samples):
        raise InputError(f"there must be proposals for every picture: {len(samples)}; received {len(proposals)}")
    if proposals is None and len(model.inputs) > 1:
        raise InputError(f"{model.name} makes no proposals: proposals for every picture are required")


class _Source:
    """Batches of pictures with what is to be learned of them."""

    def __init__(
        self,
        model: keras.Model,
        samples: Sequence[Sample],
        options: TrainingOptions,
        proposals: Sequence[npt.ArrayLike] | None,
    ) -> None:
        self._samples, self._options, self._proposals = samples, options, proposals
        self._generator = np.random.default_rng([options.seed, 0x70])
        there = {layer.name: layer for layer in model.layers}
        self._anchors = there["proposals"].anchors if "proposals" in there else None
        self._windows: Floats = there["windows"].boxes if "windows" in there else np.zeros((0, 4), np.float32)
        self._mask_size = there["masks"].output.shape[2] if "masks" in there else 0
        self._map_size = there["keypoints"].output.shape[2] if "keypoints" in there else 0
        self._proposer = None
        if self._anchors is not None and proposals is None:
            self._proposer = keras.Model(there["image"].output, there["proposals"].output[0])

    def batch(self, rows: npt.NDArray[np.int64]) -> tuple[list[npt.NDArray[Any]], Batch]:
        chosen = [self._samples[row] for row in rows]
        images = normalise(np.stack([sample.image for sample in chosen]))
        parts = [
            self._targets(sample, regions) for sample, regions in zip(chosen, self._regions(rows, images), strict=True)
        ]
        truth = {name: np.stack([part[name] for part in parts]) for name in parts[0]}
        return [images, truth.pop("regions")], truth

    def _regions(self, rows: npt.NDArray[np.int64], images: Floats) -> list[npt.ArrayLike]:
        if self._proposals is not None:
            return [self._proposals[row] for row in rows]
        if self._proposer is not None:
            return list(np.asarray(self._proposer.predict_on_batch(images)))
        return [self._windows for _ in rows]

    def _targets(self, sample: Sample, proposals: npt.ArrayLike) -> Batch:
        options, objects = self._options, self._options.objects
        found = region_targets(
            proposals, sample.boxes, sample.classes, self._generator, count=options.regions, share=options.share
        )
        truth: Batch = {"regions": found.regions, "labels": found.labels, "offsets": found.offsets}
        if self._anchors is not None:
            size = sample.image.shape[:2]
            truth["anchor_labels"], truth["anchor_offsets"] = anchor_targets(
                self._anchors, sample.boxes, (size[0], size[1]), self._generator, count=options.anchors
            )
        which = found.objects[:objects]
        if self._mask_size:
            truth["mask_labels"] = np.where(which >= 0, found.labels[:objects], 0)
            truth["masks"] = mask_targets(sample.masks[which.clip(0)], found.regions[:objects], self._mask_size)
        if self._map_size:
            cells = keypoint_targets(sample.keypoints[which.clip(0)], found.regions[:objects], self._map_size)
            truth["keypoints"] = np.where(which[:, None] >= 0, cells, -1)
        return truth
