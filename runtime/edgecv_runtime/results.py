"""What a model answers: small frozen dataclasses of arrays that share their first dimension."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt

from edgecv_runtime.errors import InputError, UnsupportedError

if TYPE_CHECKING:
    from edgecv_runtime.class_maps import ClassMaps


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
    maps : ClassMaps or None
        Of a bundle that gives its last feature map: what `cam` is made of.
    """

    indices: npt.NDArray[np.int64]
    scores: npt.NDArray[np.float32]
    names: tuple[str, ...] | None = None
    maps: ClassMaps | None = None

    def __post_init__(self) -> None:
        shape = self.indices.shape
        if len(shape) != 1 or shape != self.scores.shape:
            raise InputError(
                "indices and scores must be vectors of one length; "
                f"received shapes {self.indices.shape} and {self.scores.shape}"
            )

    @classmethod
    def from_scores(
        cls, scores: npt.NDArray[np.float32], names: tuple[str, ...] | None = None, maps: ClassMaps | None = None
    ) -> Classification:
        """From the (C,) scores of all classes.

        They are ranked when `indices` or `scores` is first asked for: a loop that skips frames pays nothing for it.
        """
        if scores.ndim != 1:
            raise InputError(f"scores must be a vector, one number a class; received shape {scores.shape}")
        result = cls.__new__(cls)
        result.__dict__.update(_by_class=scores, names=names, maps=maps)
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
        return Classification(self.indices[:k], self.scores[:k], self.names, self.maps)

    def cam(self, label: str | int | None = None) -> npt.NDArray[np.float32]:
        """Class activation map: where the picture speaks for a class (Zhou et al. 2016), without a gradient.

        Parameters
        ----------
        label : str or int, optional
            The class by name or index. Default: the best one.

        Returns
        -------
        (H, W) float32
            At every pixel of the source image; 0 where the model did not look.

        Raises
        ------
        UnsupportedError
            The bundle does not give its last feature map.
        InputError
            There is no such class.
        """
        if self.maps is None:
            raise UnsupportedError("this bundle does not give its last feature map: export it with cam=True (--cam)")
        if label is None:
            label = int(self.indices[0])
        if isinstance(label, str):
            if self.names is None or label not in self.names:
                raise InputError(f"there is no class {label!r}; there are {', '.join(self.names or ())}")
            label = self.names.index(label)
        classes = self.maps.weights.shape[1]
        if not 0 <= label < classes:
            raise InputError(f"class must be 0 to {classes - 1}; received {label}")
        return self.maps.in_source(label)

    def __len__(self) -> int:
        return len(self.indices)

    def __iter__(self) -> Iterator[tuple[int, float, str]]:
        """(index, score, label) of each class, best first."""
        return iter(zip(self.indices.tolist(), self.scores.tolist(), self.labels, strict=True))

    def __repr__(self) -> str:
        best = ", ".join(f"{label} {score:.3f}" for _, score, label in self.top(3))
        return f"<Classification {best}{', …' if len(self) > 3 else ''}>"

    @property
    def summary(self) -> str:
        """One line for people."""
        return ", ".join(f"{label} {score:.3f}" for _, score, label in self)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {"indices": self.indices.tolist(), "scores": self.scores.tolist(), "labels": list(self.labels)}


@dataclass(frozen=True, eq=False)
class Detections:
    """Objects found in one picture, best first.

    Attributes
    ----------
    boxes : (N, 4) float32
        xyxy, pixels of the source image, where a pixel covers [i, i + 1).
    scores : (N,) float32
    classes : (N,) int64
        Class indices.
    names : tuple of str, or None
        Name of every class of the model, by class index.
    masks : (N, H, W) bool, or None
        Of the source image's size.
    keypoints : (N, K, 3) float32, or None
        x, y in pixels of the source image, and a score (1 where the model gives none).
    skeleton : tuple of (int, int)
        Pairs of keypoints to join in a drawing.
    ids : (N,) int64, or None
        Numbers that stay with an object from frame to frame (`Tracker`).
    """

    boxes: npt.NDArray[np.float32]
    scores: npt.NDArray[np.float32]
    classes: npt.NDArray[np.int64]
    names: tuple[str, ...] | None = None
    masks: npt.NDArray[np.bool_] | None = None
    keypoints: npt.NDArray[np.float32] | None = None
    skeleton: tuple[tuple[int, int], ...] = ()
    ids: npt.NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        count = len(self.scores)
        if self.boxes.shape != (count, 4) or self.scores.shape != (count,) or self.classes.shape != (count,):
            raise InputError(
                "boxes, scores and classes must be (N, 4), (N,) and (N,); "
                f"received shapes {self.boxes.shape}, {self.scores.shape} and {self.classes.shape}"
            )
        if self.masks is not None and (self.masks.ndim != 3 or len(self.masks) != count):
            raise InputError(f"masks must be ({count}, H, W); received shape {self.masks.shape}")
        points = self.keypoints
        if points is not None and (points.ndim != 3 or len(points) != count or points.shape[2] != 3):
            raise InputError(f"keypoints must be ({count}, K, 3); received shape {points.shape}")
        if self.ids is not None and self.ids.shape != (count,):
            raise InputError(f"ids must be ({count},); received shape {self.ids.shape}")

    @classmethod
    def none(cls, names: tuple[str, ...] | None = None) -> Detections:
        """Nothing found."""
        return cls(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64), names)

    @property
    def labels(self) -> tuple[str, ...]:
        """(N,) names of the classes, ``"class 7"`` where the bundle has none."""
        return _names_of(self.classes, self.names)

    def top(self, k: int = 1) -> Detections:
        """The best `k` (all of them where there are fewer)."""
        if k < 1:
            raise InputError(f"k must be at least 1; received {k}")
        return self._take(slice(k))

    def above(self, score: float) -> Detections:
        """Those that score at least `score`."""
        return self._take(self.scores >= score)

    def of(self, *labels: str | int) -> Detections:
        """Those of some classes, by name or index."""
        there = self.labels
        chosen = [there[row] in labels or index in labels for row, index in enumerate(self.classes.tolist())]
        return self._take(np.array(chosen, np.bool_))

    def _take(self, rows: Any) -> Detections:
        return Detections(
            self.boxes[rows],
            self.scores[rows],
            self.classes[rows],
            self.names,
            None if self.masks is None else self.masks[rows],
            None if self.keypoints is None else self.keypoints[rows],
            self.skeleton,
            None if self.ids is None else self.ids[rows],
        )

    def __len__(self) -> int:
        return len(self.scores)

    def __iter__(self) -> Iterator[tuple[tuple[float, float, float, float], float, int, str]]:
        """(box, score, class index, label) of each, best first."""
        boxes = [(x1, y1, x2, y2) for x1, y1, x2, y2 in self.boxes.tolist()]
        return iter(zip(boxes, self.scores.tolist(), self.classes.tolist(), self.labels, strict=True))

    def __repr__(self) -> str:
        best = ", ".join(f"{label} {score:.2f}" for _, score, _, label in self.top(3))
        return f"<Detections {len(self)}{': ' if best else ''}{best}{', …' if len(self) > 3 else ''}>"

    @property
    def summary(self) -> str:
        """One line for people."""
        found = [
            f"{label} {score:.2f} [{' '.join(f'{round(value)}' for value in box)}]" for box, score, _, label in self
        ]
        return ", ".join(found) or "nothing"

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; masks as run lengths, row by row, beginning with what is not in the mask."""
        answer: dict[str, Any] = {
            "boxes": self.boxes.tolist(),
            "scores": self.scores.tolist(),
            "classes": self.classes.tolist(),
            "labels": list(self.labels),
        }
        if self.ids is not None:
            answer["ids"] = self.ids.tolist()
        if self.keypoints is not None:
            answer["keypoints"] = self.keypoints.tolist()
        if self.masks is not None:
            answer["masks"] = [{"size": list(mask.shape), "runs": _runs(mask)} for mask in self.masks]
        return answer


@dataclass(frozen=True, eq=False)
class Segmentation:
    """A class for every pixel.

    Attributes
    ----------
    mask : (H, W) int
        Class indices, of the source image's size; `UNKNOWN` where the model did not look (a crop).
    names : tuple of str, or None
        Name of every class of the model, by class index.
    """

    UNKNOWN: ClassVar[int] = 255

    mask: npt.NDArray[Any]
    names: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if self.mask.ndim != 2 or self.mask.dtype.kind not in "iu":
            raise InputError(
                f"a mask must be (H, W) class indices; received shape {self.mask.shape}, {self.mask.dtype}"
            )

    @property
    def shares(self) -> Classification:
        """The classes that are there, by the share of the pixels that they cover."""
        values, counts = np.unique(self.mask[self.mask != self.UNKNOWN], return_counts=True)
        order = (-counts).argsort(kind="stable")
        shares = (counts[order] / max(1, self.mask.size)).astype(np.float32)
        return Classification(values[order].astype(np.int64), shares, self.names)

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the classes that are there, the largest first."""
        return self.shares.labels

    def of(self, label: str | int) -> npt.NDArray[np.bool_]:
        """(H, W): where a class is, by name or index.

        Raises
        ------
        InputError
            There is no such class.
        """
        if isinstance(label, str):
            if self.names is None or label not in self.names:
                raise InputError(f"there is no class {label!r}; there are {', '.join(self.names or ())}")
            label = self.names.index(label)
        where: npt.NDArray[np.bool_] = self.mask == label
        return where

    def top(self, k: int = 1) -> Segmentation:
        """The same: every pixel has one class only."""
        if k < 1:
            raise InputError(f"k must be at least 1; received {k}")
        return self

    def __len__(self) -> int:
        return len(self.shares)

    def __iter__(self) -> Iterator[tuple[int, float, str]]:
        """(class index, share of the pixels, label), the largest first."""
        return iter(self.shares)

    def __repr__(self) -> str:
        height, width = self.mask.shape
        return f"<Segmentation {width}×{height}: {self.summary}>"

    @property
    def summary(self) -> str:
        """One line for people."""
        return ", ".join(f"{label} {100 * share:.1f} %" for _, share, label in self) or "nothing"

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; the mask as [class, run length] pairs, row by row."""
        flat = self.mask.reshape(-1)
        starts = np.flatnonzero(np.concatenate([[True], flat[1:] != flat[:-1]])) if flat.size else np.zeros(0, int)
        lengths = np.diff(np.concatenate([starts, [flat.size]]))
        runs = np.stack([flat[starts].astype(np.int64), lengths], axis=1).tolist()
        shares = [{"class": index, "label": label, "share": share} for index, share, label in self]
        return {"size": list(self.mask.shape), "classes": shares, "runs": runs}


@dataclass(frozen=True, eq=False)
class Pose:
    """The keypoints of one figure.

    Attributes
    ----------
    keypoints : (K, 2) float32
        x, y in pixels of the source image.
    scores : (K,) float32
    names : tuple of str, or None
        Name of every keypoint.
    skeleton : tuple of (int, int)
        Pairs of keypoints to join in a drawing.
    """

    keypoints: npt.NDArray[np.float32]
    scores: npt.NDArray[np.float32]
    names: tuple[str, ...] | None = None
    skeleton: tuple[tuple[int, int], ...] = ()

    def __post_init__(self) -> None:
        if self.keypoints.shape != (len(self.scores), 2) or self.scores.ndim != 1:
            raise InputError(
                "keypoints and scores must be (K, 2) and (K,); "
                f"received shapes {self.keypoints.shape} and {self.scores.shape}"
            )

    @property
    def labels(self) -> tuple[str, ...]:
        """(K,) names, ``"point 7"`` where the bundle has none."""
        return self.names if self.names is not None else tuple(f"point {index}" for index in range(len(self)))

    def top(self, k: int = 1) -> Pose:
        """The same: a figure is whole."""
        if k < 1:
            raise InputError(f"k must be at least 1; received {k}")
        return self

    def __len__(self) -> int:
        return len(self.scores)

    def __iter__(self) -> Iterator[tuple[tuple[float, float], float, str]]:
        """((x, y), score, label) of each."""
        points = [(x, y) for x, y in self.keypoints.tolist()]
        return iter(zip(points, self.scores.tolist(), self.labels, strict=True))

    @property
    def summary(self) -> str:
        """One line for people."""
        return ", ".join(f"{label} {score:.2f} [{x:.0f} {y:.0f}]" for (x, y), score, label in self)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {"keypoints": self.keypoints.tolist(), "scores": self.scores.tolist(), "labels": list(self.labels)}


@dataclass(frozen=True, eq=False)
class Anomaly:
    """How far a picture is from what a model has learned as usual, and where.

    Attributes
    ----------
    map : (H, W) float32
        Scores at every pixel of the source image, not negative; 0 where the model did not look (a crop).
    score : float
        Of the whole picture.
    threshold : float or None
        Above it a picture counts as anomalous; None where nobody has set one.
    """

    map: npt.NDArray[np.float32]
    score: float
    threshold: float | None = None

    def __post_init__(self) -> None:
        if self.map.ndim != 2:
            raise InputError(f"an anomaly map must be (H, W); received shape {self.map.shape}")

    @property
    def anomalous(self) -> bool | None:
        """Whether the score is above the threshold; None without one."""
        return None if self.threshold is None else self.score > self.threshold

    @property
    def peak(self) -> tuple[int, int]:
        """x, y of the pixel with the highest score."""
        row, column = np.unravel_index(int(self.map.argmax()), self.map.shape)
        return int(column), int(row)

    def top(self, k: int = 1) -> Anomaly:
        """The same: a picture has one score."""
        if k < 1:
            raise InputError(f"k must be at least 1; received {k}")
        return self

    def __len__(self) -> int:
        return 1

    def __iter__(self) -> Iterator[tuple[tuple[int, int], float, str]]:
        """((x, y) of the peak, score, label), once."""
        return iter(((self.peak, self.score, self._label),))

    def __repr__(self) -> str:
        height, width = self.map.shape
        return f"<Anomaly {width}×{height}: {self.summary}>"

    @property
    def _label(self) -> str:
        return {None: "score", True: "anomalous", False: "normal"}[self.anomalous]

    @property
    def summary(self) -> str:
        """One line for people."""
        x, y = self.peak
        return f"{self._label} {self.score:.4g} [{x} {y}]"

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; of the map its size and its peak."""
        return {
            "score": self.score,
            "threshold": self.threshold,
            "anomalous": self.anomalous,
            "peak": list(self.peak),
            "size": list(self.map.shape),
        }


@dataclass(frozen=True, eq=False)
class Embedding:
    """A vector that stands for a picture: like pictures lie near one another.

    Attributes
    ----------
    vector : (D,) float32
    """

    vector: npt.NDArray[np.float32]

    def __post_init__(self) -> None:
        if self.vector.ndim != 1:
            raise InputError(f"an embedding must be a vector; received shape {self.vector.shape}")

    def similarity(self, other: Embedding | npt.NDArray[Any]) -> float:
        """Cosine of the angle to another, in [-1, 1]; 0 where one is zero.

        Raises
        ------
        InputError
            The other has another length.
        """
        vector = other.vector if isinstance(other, Embedding) else other
        if vector.shape != self.vector.shape:
            raise InputError(f"embeddings must have one length; received {len(self)} and {vector.shape}")
        a, b = self.vector.astype(np.float64), vector.astype(np.float64)
        length = float(np.sqrt((a @ a) * (b @ b)))
        return float(a @ b) / length if length > 0 else 0.0

    def top(self, k: int = 1) -> Embedding:
        """The same: a vector is whole."""
        if k < 1:
            raise InputError(f"k must be at least 1; received {k}")
        return self

    def __len__(self) -> int:
        return len(self.vector)

    def __iter__(self) -> Iterator[float]:
        return iter(self.vector.tolist())

    def __repr__(self) -> str:
        return f"<Embedding {self.summary}>"

    @property
    def summary(self) -> str:
        """One line for people."""
        start = ", ".join(f"{value:.3f}" for value in self.vector[:4].tolist())
        return f"{len(self)}-d [{start}{', …' if len(self) > 4 else ''}]"

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {"vector": self.vector.tolist()}


def _names_of(indices: npt.NDArray[np.int64], names: tuple[str, ...] | None) -> tuple[str, ...]:
    count = 0 if names is None else len(names)
    return tuple(
        names[index] if names is not None and 0 <= index < count else f"class {index}" for index in indices.tolist()
    )


def _runs(mask: npt.NDArray[np.bool_]) -> list[int]:
    """Lengths of the runs of a mask, row by row, false first."""
    flat = np.concatenate([[False], mask.reshape(-1)])
    changes = np.flatnonzero(flat[1:] != flat[:-1])
    lengths: list[int] = np.diff(np.concatenate([[0], changes, [mask.size]])).tolist()
    return lengths
