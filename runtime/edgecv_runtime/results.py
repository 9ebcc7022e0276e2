"""What a model answers: small frozen dataclasses of arrays that share their first dimension."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from edgecv_runtime.errors import InputError


@dataclass(frozen=True, eq=False)
class Classification:
    """Classes from the most to the least probable.

    Attributes
    ----------
    indices : (N,) int64
        Class indices, best first; equal scores in order of class index.
    scores : (N,) float32
        Their scores, as the model gives them (probabilities after a softmax).
    names : tuple of str, or None
        Name of every class of the model, by class index.
    """

    indices: npt.NDArray[np.int64]
    scores: npt.NDArray[np.float32]
    names: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        shape = self.indices.shape
        if len(shape) != 1 or shape != self.scores.shape:
            raise InputError(
                "indices and scores must be vectors of one length; "
                f"received shapes {self.indices.shape} and {self.scores.shape}"
            )

    @classmethod
    def from_scores(cls, scores: npt.NDArray[np.float32], names: tuple[str, ...] | None = None) -> Classification:
        """From the (C,) scores of all classes.

        They are ranked when `indices` or `scores` is first asked for: a loop that skips frames pays nothing for it.
        """
        if scores.ndim != 1:
            raise InputError(f"scores must be a vector, one number a class; received shape {scores.shape}")
        result = cls.__new__(cls)
        result.__dict__.update(_by_class=scores, names=names)
        return result

    if not TYPE_CHECKING:  # a type checker would take it for every attribute

        def __getattr__(self, name: str) -> Any:
            """Rank the scores on first use."""
            by_class = self.__dict__.get("_by_class")
            if by_class is None or name not in ("indices", "scores"):
                raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
            order = (-by_class).argsort(0, "stable")
            self.__dict__.update(indices=order, scores=by_class[order])
            return self.__dict__[name]

    @property
    def labels(self) -> tuple[str, ...]:
        """(N,) names of the classes, ``"class 7"`` where the bundle has none."""
        if self.names is None:
            return tuple(f"class {index}" for index in self.indices.tolist())
        return tuple(self.names[index] for index in self.indices.tolist())

    def top(self, k: int = 1) -> Classification:
        """The best `k` classes (all of them where there are fewer)."""
        if k < 1:
            raise InputError(f"k must be at least 1; received {k}")
        return Classification(self.indices[:k], self.scores[:k], self.names)

    def __len__(self) -> int:
        return len(self.indices)

    def __iter__(self) -> Iterator[tuple[int, float, str]]:
        """(index, score, label) of each class, best first."""
        return iter(zip(self.indices.tolist(), self.scores.tolist(), self.labels, strict=True))

    def __repr__(self) -> str:
        best = ", ".join(f"{label} {score:.3f}" for _, score, label in self.top(3))
        return f"<Classification {best}{', …' if len(self) > 3 else ''}>"

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {"indices": self.indices.tolist(), "scores": self.scores.tolist(), "labels": list(self.labels)}
