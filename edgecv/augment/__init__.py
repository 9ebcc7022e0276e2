"""Augmentation of training pictures: image, boxes, masks and keypoints move together, reproducibly from a seed.

Keras has layers for part of this, and pictures alone go through them (`edgecv.metric_learning.augment`). They are not
used here, because in Keras 3.15 none of them moves keypoints, `MixUp` takes a mask's rows by the flattened index and
joins the box labels along the batch, and all of them draw from a running state, so that a training that goes on after
an interruption sees other pictures than one that was not interrupted. Here one warp moves everything, and what is
drawn depends on (seed, epoch, number of the picture) alone.
"""

from __future__ import annotations

from edgecv.augment.background import ReplaceBackground, replace_background
from edgecv.augment.crops import RandomCrop, ResizedCrop, crop, ten_crop
from edgecv.augment.geometric import Affine, Elastic, GridWarp, Mirror, QuarterTurns
from edgecv.augment.photometric import (
    Blur,
    Brightness,
    ColorShift,
    Contrast,
    Exposure,
    Noise,
    PcaColor,
    PrincipalColors,
    principal_colors,
)
from edgecv.augment.pipeline import Pipeline
from edgecv.augment.recipes import RECIPES, Recipe, recipe
from edgecv.augment.sample import Sample
from edgecv.augment.superposition import cutmix, mixup, superpose
from edgecv.augment.warp import Warp, warp

__all__ = [
    "Sample",
    "Pipeline",
    "Recipe",
    "RECIPES",
    "recipe",
    "Mirror",
    "QuarterTurns",
    "Affine",
    "Elastic",
    "GridWarp",
    "RandomCrop",
    "ResizedCrop",
    "crop",
    "ten_crop",
    "Brightness",
    "Contrast",
    "Exposure",
    "ColorShift",
    "PcaColor",
    "PrincipalColors",
    "principal_colors",
    "Noise",
    "Blur",
    "ReplaceBackground",
    "replace_background",
    "mixup",
    "cutmix",
    "superpose",
    "Warp",
    "warp",
]
