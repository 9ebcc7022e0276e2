"""Several looks at one picture, one answer: test-time augmentation, and tiles of large frames."""

from __future__ import annotations

from edgecv_runtime.augmented.model import AugmentedModel, tta
from edgecv_runtime.augmented.tiles import TiledModel
from edgecv_runtime.augmented.views import KINDS, View, views_of

__all__ = ["AugmentedModel", "TiledModel", "tta", "View", "views_of", "KINDS"]
