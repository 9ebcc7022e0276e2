"""How to train, as data."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from edgecv.augment.recipes import recipe
from edgecv_runtime.errors import InputError


@dataclass(frozen=True)
class Settings:
    """Everything that a training depends on, beside the network and the pictures.

    Attributes
    ----------
    epochs, batch : int
    learning_rate : float
        Of Adam at the start; it falls to zero along half a cosine over all epochs.
    fine_tune_rate : float or None
        The same for the body of a network whose head is new. Default: a tenth of `learning_rate`.
    augment : str
        Name of a recipe of `edgecv.augment`.
    class_weights : {"balanced", None}
        Whether rare classes count as much as common ones.
    patience : int or None
        Epochs without a lower loss on the pictures held out, after which training ends.
    patches : int or None
        Of segmenters: so many class-balanced patches an epoch at the pictures' own resolution, instead of whole
        pictures at the input's.
    seed : int
        Of the head's weights, the order, the augmentation and the dropout.

    Raises
    ------
    InputError
        A value out of bounds.
    """

    epochs: int = 20
    batch: int = 32
    learning_rate: float = 1e-3
    fine_tune_rate: float | None = None
    augment: str = "none"
    class_weights: str | None = None
    patience: int | None = None
    patches: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("epochs", "batch", "patience", "patches"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InputError(f"{name} must be at least 1; received {value}")
        if not self.learning_rate > 0:
            raise InputError(f"learning_rate must be above 0; received {self.learning_rate}")
        if self.fine_tune_rate is not None and self.fine_tune_rate < 0:
            raise InputError(f"fine_tune_rate must be at least 0; received {self.fine_tune_rate}")
        if self.class_weights not in (None, "balanced"):
            raise InputError(f"class_weights must be balanced, or not given; received {self.class_weights!r}")
        if self.seed < 0:
            raise InputError(f"seed must be at least 0; received {self.seed}")
        recipe(self.augment)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)
