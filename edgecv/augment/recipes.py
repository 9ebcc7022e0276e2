"""Augmentations by name, for the command line."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field
from typing import Literal

from edgecv.augment.crops import RandomCrop, ResizedCrop
from edgecv.augment.geometric import Affine, Elastic, GridWarp, Mirror, QuarterTurns
from edgecv.augment.photometric import Blur, Brightness, ColorShift, Contrast, Exposure, Noise, PcaColor
from edgecv.augment.pipeline import Pipeline
from edgecv_runtime.errors import InputError


@dataclass(frozen=True)
class Recipe:
    """What happens to training pictures.

    Attributes
    ----------
    name : str
    summary : str
        One line.
    pipeline : Pipeline
        Of each picture.
    superposition : {"mixup", "cutmix", None}
        Of a batch, afterwards.
    color : bool
        Whether it is for RGB pictures only.
    """

    name: str
    summary: str
    pipeline: Pipeline = field(default_factory=Pipeline)
    superposition: Literal["mixup", "cutmix"] | None = None
    color: bool = False


_LIGHT = (Mirror(), Affine(shift=(0.1, 0.1), zoom=(0.9, 1.1), border="reflect"))
_PHOTOS = (Mirror(), ResizedCrop(area=(0.5, 1.0)), Exposure(0.3), Contrast(0.2), PcaColor(0.1))

RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        Recipe("none", "pictures as they are"),
        Recipe("light", "mirrored, moved and zoomed by a tenth", Pipeline(_LIGHT)),
        Recipe("cifar", "mirrored, shifted by up to 4 pixels", Pipeline((Mirror(), RandomCrop(padding=4)))),
        Recipe(
            "digits",
            "turned, slanted, stretched, moved and bent; never mirrored",
            Pipeline((
                Affine(rotation=12, shear=0.2, stretch=0.15, shift=(0.06, 0.06), border="edge"),
                Elastic(1.3, 4.5, border="edge"),
            )),
        ),
        Recipe("photos", "mirrored, cropped, other light, PCA colour noise", Pipeline(_PHOTOS), color=True),
        Recipe(
            "strong",
            "as photos, turned, shifted colours, noise and blur, too",
            Pipeline((*_PHOTOS[:2], Affine(rotation=15, shear=0.1), *_PHOTOS[2:], ColorShift(), Noise(), Blur())),
            color=True,
        ),
        Recipe(
            "microscopy",
            "no up and no down; bent on a coarse grid (U-Net), other light",
            Pipeline((QuarterTurns(), Mirror(), GridWarp(3, 6.0), Brightness(0.1), Contrast(0.2))),
        ),
        Recipe("mixup", "as light, and pairs of pictures blended", Pipeline(_LIGHT), "mixup"),
        Recipe("cutmix", "as light, and a part of another picture in each", Pipeline(_LIGHT), "cutmix"),
    )
}  # fmt: skip


def recipe(name: str) -> Recipe:
    """The recipe of that name.

    Raises
    ------
    InputError
        There is none; the message names those there are.
    """
    if name in RECIPES:
        return RECIPES[name]
    close = difflib.get_close_matches(name, RECIPES, n=1)
    hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(RECIPES)}"
    raise InputError(f"there is no augmentation {name!r}: {hint}")
