"""Two bundles on the same pictures: where they agree, who is right where they do not, and what each costs."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecv_runtime.artefact import MODEL_SUFFIXES, Artefact
from edgecv_runtime.bench import Latency, measure_latency, median_ratio, noise_image
from edgecv_runtime.bundle import Bundle
from edgecv_runtime.errors import InputError, UnsupportedError
from edgecv_runtime.evaluate import LABELS_FILE, class_count, read_labelled_images, readable
from edgecv_runtime.files import existing_folder
from edgecv_runtime.images import IMAGE_SUFFIXES, list_images
from edgecv_runtime.model import Model, load, load_second
from edgecv_runtime.paired import difference_interval, mcnemar_exact


@dataclass(frozen=True)
class Picture:
    """A picture, and its class where that is known."""

    path: Path
    truth: int | None = None


@dataclass(frozen=True)
class Answer:
    """A model's best class for one picture."""

    index: int
    label: str
    score: float


@dataclass(frozen=True)
class Disagreement:
    """A picture on which the two models' best classes differ.

    Attributes
    ----------
    path : Path
    truth : int or None
        Its class index, where it is known.
    truth_label : str or None
    a, b : Answer
    right : {"A", "B", "neither"} or None
        Who is right; None where the truth is not known.
    """

    path: Path
    truth: int | None
    truth_label: str | None
    a: Answer
    b: Answer

    @property
    def right(self) -> str | None:
        if self.truth is None:
            return None
        if self.a.index == self.truth:
            return "A"
        return "B" if self.b.index == self.truth else "neither"

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "path": str(self.path), "right": self.right}


@dataclass(frozen=True)
class PairedAccuracy:
    """Top-1 accuracy of both on the same pictures, and how sure their difference is.

    Attributes
    ----------
    a, b : float in [0, 1]
    gained : int
        Pictures on which only B is right.
    lost : int
        Pictures on which only A is right.
    difference : float
        b - a, as a fraction.
    interval : (float, float)
        95 % confidence interval of the difference; see `difference_interval`.
    p_value : float
        Of "neither is better"; see `mcnemar_exact`.
    """

    a: float
    b: float
    gained: int
    lost: int
    difference: float
    interval: tuple[float, float]
    p_value: float

    @classmethod
    def of(cls, right_a: npt.NDArray[np.bool_], right_b: npt.NDArray[np.bool_]) -> PairedAccuracy:
        """From (N,) bool: whether each is right on each picture."""
        n, gained, lost = len(right_a), int((right_b & ~right_a).sum()), int((right_a & ~right_b).sum())
        return cls(
            a=float(right_a.mean()),
            b=float(right_b.mean()),
            gained=gained,
            lost=lost,
            difference=(gained - lost) / n,
            interval=difference_interval(gained, lost, n),
            p_value=mcnemar_exact(gained, lost),
        )


@dataclass(frozen=True)
class Side:
    """One of the two bundles.

    Attributes
    ----------
    path : str
    model : str
        What runs where, with which kernels.
    size : int
        Bytes of the model file, with its weights.
    latency : Latency
        Picture to result, timed in turn with the other's.
    """

    path: str
    model: str
    size: int
    latency: Latency


@dataclass(frozen=True)
class Comparison:
    """What `compare` found.

    Attributes
    ----------
    a, b : Side
    n : int
        Pictures compared.
    skipped : int
        Pictures that could not be read.
    agreement : float in [0, 1]
        Share of the pictures with the same best class.
    mean_difference, max_difference : float
        Of the scores (probabilities after a softmax), absolute, over all classes and pictures.
    accuracy : PairedAccuracy or None
        None where the pictures are not labelled.
    disagreements : tuple of Disagreement
        In the order of the pictures.
    """

    a: Side
    b: Side
    n: int
    skipped: int
    agreement: float
    mean_difference: float
    max_difference: float
    accuracy: PairedAccuracy | None
    disagreements: tuple[Disagreement, ...]

    @property
    def latency_ratio(self) -> float:
        """Median latency of B over that of A."""
        return median_ratio(self.b.latency, self.a.latency)

    @property
    def size_ratio(self) -> float:
        """Size of B over that of A."""
        return self.b.size / self.a.size

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; ratios are B over A."""
        return {
            "a": asdict(self.a),
            "b": asdict(self.b),
            "n": self.n,
            "skipped": self.skipped,
            "agreement": self.agreement,
            "mean_difference": self.mean_difference,
            "max_difference": self.max_difference,
            "accuracy": None if self.accuracy is None else asdict(self.accuracy),
            "latency_ratio": self.latency_ratio,
            "size_ratio": self.size_ratio,
            "disagreements": [item.to_dict() for item in self.disagreements],
        }


def compare(
    a: str | Path,
    b: str | Path,
    data: str | Path,
    *,
    backend: str | None = None,
    device: str | None = None,
    threads: int | None = None,
    kernels: str = "auto",
    delegate: str | Path | None = None,
    options: Mapping[str, Any] | None = None,
    fallback: str | None = None,
    runs: int = 50,
) -> Comparison:
    """Run two classification bundles on the same pictures, and time them in turn.

    Parameters
    ----------
    a, b : str or Path
        Bundles or bare artefacts, as `load` takes them.
    data : str or Path
        A folder of pictures. Labelled as for evaluation (``DIR/<class>/*.jpg``, or ``DIR/labels.csv``), accuracies
        are compared too; else only the answers.
    backend, device, threads, kernels, delegate, options, fallback
        As in `load`, for both; `backend` counts for `b` where it runs that format.
    runs : int
        Counted calls of each for the latency.

    Raises
    ------
    UnsupportedError
        They do not answer the same question: another task, or another number of classes.
    InputError, MissingFileError, BundleError, MissingPackageError, BackendError, AcceleratorError
        As in `load` and in the reading of pictures.

    Examples
    --------
    >>> import edgecv_runtime as ert
    >>> found = ert.compare("float.edgecv", "int8.edgecv", "photographs")     # doctest: +SKIP
    >>> found.agreement, found.accuracy.difference                            # doctest: +SKIP
    (0.97, -0.005)
    """
    how: dict[str, Any] = {"backend": backend, "device": device, "threads": threads, "kernels": kernels}
    how |= {"delegate": delegate, "options": options, "fallback": fallback}
    if runs < 1:
        raise InputError(f"runs must be at least 1; received {runs}")
    with load(a, **how) as first, load_second(b, **how) as second:
        classes = _same_question(first, second)
        answers = _Answers(first, second)
        answers.collect(read_pictures(data, first.manifest.labels, classes))
        latencies = measure_latency([first, second], [noise_image(first), noise_image(second)], runs)
        return answers.comparison(
            Side(str(a), repr(first), _size(a), latencies[0]), Side(str(b), repr(second), _size(b), latencies[1])
        )


def read_pictures(folder: str | Path, labels: tuple[str, ...] | None, classes: int) -> list[Picture]:
    """The pictures of a folder, with their classes where it is labelled.

    A folder that holds pictures itself, without a ``labels.csv``, is not labelled. Where its subfolders cannot be
    matched to the model's classes, a warning says so and the pictures count as not labelled.

    Raises
    ------
    MissingFileError
        No such folder.
    InputError
        It holds no picture, or its ``labels.csv`` is not valid for this model.
    """
    folder = existing_folder(folder)
    listed = (folder / LABELS_FILE).is_file()
    if not listed and any(path.suffix.lower() in IMAGE_SUFFIXES for path in folder.iterdir()):
        return [Picture(path) for path in list_images(folder)]
    try:
        return [Picture(item.path, item.class_index) for item in read_labelled_images(folder, labels, classes)]
    except InputError as error:
        if listed:
            raise
        pictures = [Picture(path) for path in list_images(folder)]
        warnings.warn(f"only agreement can be told: {error}", RuntimeWarning, stacklevel=3)
        return pictures


def _same_question(a: Model, b: Model) -> int:
    """The number of classes of both."""
    if a.manifest.task != "classification" or b.manifest.task != "classification":
        raise UnsupportedError(
            f"classification bundles can be compared; received {a.manifest.task} and {b.manifest.task}"
        )
    first, second = class_count(a), class_count(b)
    if first != second:
        raise UnsupportedError(
            f"two bundles must have the same classes to be compared; received {first} and {second} of them"
        )
    ours, theirs = a.manifest.labels, b.manifest.labels
    if ours is not None and theirs is not None and ours != theirs:
        index = next(i for i, (one, other) in enumerate(zip(ours, theirs, strict=True)) if one != other)
        warnings.warn(
            f"the labels of the two bundles differ, first in class {index} ({ours[index]!r} and {theirs[index]!r}): "
            "answers are compared by class index",
            RuntimeWarning,
            stacklevel=3,
        )
    return first


def _size(path: str | Path) -> int:
    """Bytes of the model file, without the bundle around it: the proof that travels along is not part of the model."""
    path = Path(path)
    bare = path.suffix.lower() in MODEL_SUFFIXES
    return Artefact.from_file(path).size if bare else Bundle(path).artefact().size


class _Answers:
    """Collects what both say, picture by picture: each is read once, and no scores are kept."""

    def __init__(self, a: Model, b: Model) -> None:
        self._models = a, b
        self._right: list[tuple[bool, bool]] = []
        self._disagreements: list[Disagreement] = []
        self._sum = self._largest = 0.0
        self._values = self._count = self._skipped = 0
        self._labelled = False

    def collect(self, pictures: Sequence[Picture]) -> None:
        self._labelled = all(picture.truth is not None for picture in pictures)
        for picture, image in readable([(picture.path, picture) for picture in pictures], "comparing", "images"):
            self._add(picture, *(model.outputs(image)[0].reshape(-1) for model in self._models))
        self._skipped = len(pictures) - self._count

    def _add(self, picture: Picture, a: npt.NDArray[np.float32], b: npt.NDArray[np.float32]) -> None:
        if a.shape != b.shape:  # the classes were dynamic in a manifest
            raise UnsupportedError(
                f"two bundles must have the same classes to be compared; received {len(a)} and {len(b)} of them"
            )
        gaps = np.abs(a.astype(np.float64) - b)
        self._sum += float(gaps.sum())
        self._largest = max(self._largest, float(gaps.max()))
        self._values += len(gaps)
        self._count += 1
        best_a, best_b, truth = int(a.argmax()), int(b.argmax()), picture.truth
        self._right.append((best_a == truth, best_b == truth))
        if best_a != best_b:
            first, second = self._models
            self._disagreements.append(
                Disagreement(
                    path=picture.path,
                    truth=truth,
                    truth_label=None if truth is None else _label(first, truth),
                    a=Answer(best_a, _label(first, best_a), float(a[best_a])),
                    b=Answer(best_b, _label(second, best_b), float(b[best_b])),
                )
            )

    def comparison(self, a: Side, b: Side) -> Comparison:
        right = np.array(self._right)
        return Comparison(
            a=a,
            b=b,
            n=self._count,
            skipped=self._skipped,
            agreement=1 - len(self._disagreements) / self._count,
            mean_difference=self._sum / self._values,
            max_difference=self._largest,
            accuracy=PairedAccuracy.of(right[:, 0], right[:, 1]) if self._labelled else None,
            disagreements=tuple(self._disagreements),
        )


def _label(model: Model, index: int) -> str:
    labels = model.manifest.labels
    return f"class {index}" if labels is None else labels[index]
