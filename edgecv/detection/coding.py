"""What a family's coding must do: from labelled boxes to what its network shall answer, and back."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgecv.detection.boxes import Floats
from edgecv_runtime.errors import InputError

Arrays = Mapping[str, npt.NDArray]


@dataclass(frozen=True, eq=False)
class Candidates:
    """Every box that a network answers, before any threshold or suppression.

    Attributes
    ----------
    boxes : (N, 4) float32
        xyxy in pixels of the input.
    scores : (N, C) float32
        Of each class.
    """

    boxes: Floats
    scores: Floats


class Coding(ABC):
    """How one family writes boxes into its outputs.

    Outputs go by the names of the layers that make them, without a batch dimension. `encode` gives what the family's
    loss compares with; `answer` gives the outputs of a network that has learned a picture by heart, as the network with
    its last activations gives them; `decode` reads those.

    Parameters
    ----------
    size : (height, width)
        Of the input, pixels.
    classes : int
        Without a background.
    """

    def __init__(self, size: tuple[int, int], classes: int) -> None:
        if min(size) < 1 or classes < 1:
            raise InputError(f"size and classes must be at least 1; received {size} and {classes}")
        self.size, self.classes = size, classes

    @property
    def unit(self) -> Floats:
        """(4,) the picture's width, height, width and height."""
        height, width = self.size
        return np.array([width, height, width, height], np.float32)

    def checked(self, boxes: npt.ArrayLike, classes: npt.ArrayLike) -> tuple[Floats, npt.NDArray[np.int64]]:
        """(n, 4) boxes and (n,) classes of one picture.

        Raises
        ------
        InputError
            Lengths that differ, a class that there is not, or a box without an area.
        """
        corners, labels = np.asarray(boxes, np.float32).reshape(-1, 4), np.asarray(classes, np.int64).reshape(-1)
        if len(corners) != len(labels):
            raise InputError(f"there must be one class a box; received {len(corners)} boxes and {len(labels)} classes")
        if ((labels < 0) | (labels >= self.classes)).any():
            raise InputError(f"classes must be in 0..{self.classes - 1}; received {sorted(set(labels.tolist()))}")
        if not (corners[:, 2:] > corners[:, :2]).all():
            raise InputError("boxes must be x1, y1, x2, y2 with x1 < x2 and y1 < y2; leave out those without an area")
        return corners, labels

    @abstractmethod
    def encode(self, boxes: npt.ArrayLike, classes: npt.ArrayLike) -> dict[str, npt.NDArray]:
        """Targets of one picture.

        Parameters
        ----------
        boxes : (n, 4) xyxy, pixels of the input
        classes : (n,) int
        """

    @abstractmethod
    def answer(self, targets: Arrays) -> dict[str, npt.NDArray]:
        """The outputs that would be right."""

    @abstractmethod
    def decode(self, outputs: Arrays) -> Candidates:
        """All candidates of one picture's outputs."""


def one_hot(indices: npt.NDArray, classes: int) -> Floats:
    """(...) int to (..., classes) float32; a row of zeros for an index below 0."""
    return (indices[..., None] == np.arange(classes)).astype(np.float32)


def logistic(values: npt.NDArray) -> npt.NDArray:
    """1 / (1 + exp(-x)), without overflow."""
    return 0.5 * (1 + np.tanh(0.5 * values))


def logit(probabilities: npt.NDArray, edge: float = 1e-6) -> Floats:
    """The inverse of `logistic`; 0 and 1 are moved inwards by `edge`."""
    inside = np.clip(np.asarray(probabilities, np.float64), edge, 1 - edge)
    logits: Floats = np.log(inside / (1 - inside)).astype(np.float32)
    return logits
