"""Accuracy of a bundle on labelled pictures: the same preprocessing, back end and decoder as on the device."""

from __future__ import annotations

import csv
import warnings
from collections.abc import Callable, Iterator, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from edgecv_runtime.errors import InputError, MissingFileError
from edgecv_runtime.files import existing_folder, files_below
from edgecv_runtime.images import IMAGE_SUFFIXES, Image, read_image
from edgecv_runtime.model import Model
from edgecv_runtime.progress import track

LABELS_FILE = "labels.csv"

Item = TypeVar("Item")


@dataclass(frozen=True)
class LabelledImage:
    """A picture and the index of its class."""

    path: Path
    class_index: int

    def read(self) -> Image:
        """As `read_image`."""
        return read_image(self.path)


class Labelled(Protocol):
    """What has a class, and can be read: a picture, a signal, a volume."""

    @property
    def path(self) -> Path: ...

    @property
    def class_index(self) -> int: ...

    def read(self) -> Any:
        """What a model takes.

        Raises
        ------
        InputError, MissingFileError
        """


@dataclass(frozen=True)
class ClassificationAccuracy:
    """Fractions of correctly classified pictures.

    Attributes
    ----------
    top1, top5 : float in [0, 1]
        The true class is the first, or among the first five.
    n : int
        Pictures counted.
    skipped : int
        Pictures that could not be read.
    """

    top1: float
    top5: float
    n: int
    skipped: int

    @property
    def score(self) -> float:
        """The figure that a budget is about."""
        return self.top1

    def to_dict(self) -> dict[str, Any]:
        return {"top1": self.top1, "top5": self.top5, "n": self.n, "skipped": self.skipped}


def class_count(model: Model) -> int:
    """How many classes a classification model has: by its output, or by its labels where that is dynamic."""
    return model.manifest.outputs[0].shape[-1] or len(model.manifest.labels or ())


def read_labelled_images(folder: str | Path, labels: tuple[str, ...] | None, classes: int) -> list[LabelledImage]:
    """Read ``FOLDER/<class>/*.jpg``, or ``FOLDER/labels.csv`` (``file,class_index``) beside ``FOLDER/images/``.

    Class folders are matched to class indices by name: the model's labels where all folders carry one; else by
    the number where all are numbers; else, where there are as many folders as classes, in sorted order (as
    Keras does), with a warning where the model's labels say otherwise.

    Parameters
    ----------
    folder : str or Path
    labels : tuple of str, or None
        The model's class names.
    classes : int
        How many classes the model has.

    Raises
    ------
    MissingFileError
        No such folder.
    InputError
        It is laid out in neither way, or an index is out of range.
    """
    return read_labelled_files(folder, labels, classes, IMAGE_SUFFIXES, "image")


def read_labelled_files(
    folder: str | Path, labels: tuple[str, ...] | None, classes: int, suffixes: Set[str], kind: str
) -> list[LabelledImage]:
    """`read_labelled_images` for files of any kind, which ``read`` of the answer does not know."""
    folder = existing_folder(folder)
    listed = folder / LABELS_FILE
    items = _read_list(folder, listed) if listed.is_file() else _read_class_folders(folder, labels, classes, suffixes)
    if not items:
        pattern = "*.jpg" if ".jpg" in suffixes else f"*{min(suffixes)}"
        raise InputError(f"{folder} holds no labelled {kind}: DIR/<class>/{pattern} or DIR/{LABELS_FILE} is required")
    for item in items:
        if not 0 <= item.class_index < classes:
            raise InputError(
                f"class_index of {item.path.name} must be in 0..{classes - 1} for this model; "
                f"received {item.class_index}"
            )
    return items


def _read_list(folder: Path, listed: Path) -> list[LabelledImage]:
    images = folder / "images" if (folder / "images").is_dir() else folder
    with listed.open(newline="", encoding="utf-8-sig") as file:
        rows = csv.DictReader(file)
        try:
            columns = rows.fieldnames or ()
            if not {"file", "class_index"} <= set(columns):
                raise InputError(
                    f"{listed} must have the columns file,class_index; received {','.join(columns) or 'none':.80}"
                )
            return [LabelledImage(images / row["file"], int(row["class_index"])) for row in rows]
        except UnicodeDecodeError as error:
            raise InputError(f"{listed} must be UTF-8 text: {error.reason} at byte {error.start}") from None
        except csv.Error as error:
            raise InputError(f"{listed}, line {rows.line_num}: {error}") from None
        except (ValueError, TypeError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f"{listed}, line {rows.line_num}: class_index must be an integer ({error})") from None


def _read_class_folders(
    folder: Path, labels: tuple[str, ...] | None, classes: int, suffixes: Set[str]
) -> list[LabelledImage]:
    folders = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    names = [path.name for path in folders]
    if labels is not None and set(names) <= set(labels):
        ambiguous = [name for name in names if labels.count(name) > 1]  # ImageNet has two cranes
        if ambiguous:
            raise InputError(
                f"class folder {ambiguous[0]!r} of {folder} is the label of {labels.count(ambiguous[0])} classes "
                f"of this model: name the folders by class index, or write {LABELS_FILE} (file,class_index)"
            )
        indices = [labels.index(name) for name in names]
    elif names and all(name.isdecimal() for name in names):
        indices = [int(name) for name in names]
    elif len(names) == classes:
        indices = list(range(classes))
        if labels is not None:
            warnings.warn(
                f"the class folders of {folder} do not carry the model's labels and are matched in sorted order: "
                f"{names[0]!r} is taken for {labels[0]!r}",
                RuntimeWarning,
                stacklevel=4,
            )
    else:
        raise InputError(
            f"the {len(names)} class folders of {folder} cannot be matched to the model's {classes} classes: name them "
            f"after its labels or by class index, or write {LABELS_FILE} (file,class_index)"
        )
    return [
        LabelledImage(path, index)
        for subfolder, index in zip(folders, indices, strict=True)
        for path in files_below(subfolder, suffixes)
    ]


def evaluate_classification(model: Model, items: Sequence[Labelled]) -> ClassificationAccuracy:
    """Top-1 and top-5 accuracy of a loaded model; see `count_correct`."""
    return count_correct(lambda image: model(image).top(5).indices.tolist(), items, "evaluating")


def count_correct(rank: Callable[[Any], Sequence[int]], items: Sequence[Labelled], text: str) -> ClassificationAccuracy:
    """Top-1 and top-5 accuracy of anything that ranks classes.

    Pictures that cannot be read are skipped with a warning and counted.

    Parameters
    ----------
    rank : callable
        From what an item reads, (H, W, 3) uint8 RGB of a picture, to the five best class indices, best first.
    items : sequence of Labelled
    text : str
        For the progress bar.

    Raises
    ------
    InputError
        Not one picture could be read.
    """
    first = fifth = count = 0
    for item, value in readable([(item, item) for item in items], text, read=lambda item: item.read()):
        best = rank(value)
        first += best[0] == item.class_index
        fifth += item.class_index in best
        count += 1
    return ClassificationAccuracy(first / count, fifth / count, count, len(items) - count)


def readable(
    items: Sequence[tuple[Any, Item]],
    text: str,
    kind: str = "labelled images",
    read: Callable[[Any], Any] = read_image,
) -> Iterator[tuple[Item, Any]]:
    """The items with their pictures; those that cannot be read are left out with a warning.

    Parameters
    ----------
    items : sequence of (path, item)
        Or of whatever else `read` takes, and the item.
    text : str
        For the progress bar.
    kind : str
        What they are, for the error.
    read : callable

    Raises
    ------
    InputError
        Not one can be read.
    """
    count = 0
    for path, item in track(items, len(items), text, "images"):
        try:
            image = read(path)
        except (InputError, MissingFileError) as error:
            warnings.warn(f"skipped: {error}", RuntimeWarning, stacklevel=3)
            continue
        count += 1
        yield item, image
    if not count:
        raise InputError(f"none of the {len(items)} {kind} could be read")
