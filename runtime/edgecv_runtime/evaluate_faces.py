"""Evaluate an embedder on pictures of known people: verification rates, with the road that it has on the device."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecv_runtime.errors import InputError, UnsupportedError
from edgecv_runtime.evaluate import LABELS_FILE, LabelledImage, read_labelled_images, readable
from edgecv_runtime.files import existing_folder, files_below
from edgecv_runtime.images import IMAGE_SUFFIXES
from edgecv_runtime.metrics.verification import FAR, RATES, VerificationRates, verification_rates
from edgecv_runtime.model import Model


@dataclass(frozen=True, eq=False)
class VerificationAccuracy:
    """What an embedder is worth for verification.

    Attributes
    ----------
    tar_at_far : float in [0, 1]
        Share of the genuine pairs that are accepted at the false-accept rate `far`.
    far : float
    rates : VerificationRates
        The first of its rates is `far`.
    people : int
    n : int
        Pictures.
    skipped : int
        Pictures that could not be read.
    """

    far: float
    rates: VerificationRates
    people: int
    n: int
    skipped: int

    @property
    def tar_at_far(self) -> float:
        return float(self.rates.tar[0])

    @property
    def score(self) -> float:
        """The figure that a budget is about."""
        return self.tar_at_far

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "tar_at_far": self.tar_at_far,
            "far": self.far,
            **self.rates.to_dict(),
            "people": self.people,
            "n": self.n,
            "skipped": self.skipped,
        }


def read_identities(folder: str | Path) -> list[LabelledImage]:
    """Read ``FOLDER/<person>/*.jpg``, or ``FOLDER/labels.csv`` (``file,class_index``) beside ``FOLDER/images/``.

    The class index is the person's number, in sorted order of the folders: it says who is the same, no more.

    Raises
    ------
    MissingFileError
        No such folder.
    InputError
        It is laid out in neither way, or there are no two people, or no two pictures of one.
    """
    folder = existing_folder(folder)
    if (folder / LABELS_FILE).is_file():
        items = read_labelled_images(folder, None, sys.maxsize)
    else:
        people = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
        items = [
            LabelledImage(path, index)
            for index, person in enumerate(people)
            for path in files_below(person, IMAGE_SUFFIXES)
        ]
    found = len({item.class_index for item in items})
    if found < 2 or found == len(items):
        raise InputError(
            f"{folder} must hold at least two people, one of them with two pictures: DIR/<person>/*.jpg or "
            f"DIR/{LABELS_FILE}; received {len(items)} pictures of {found} people"
        )
    return items


def evaluate_embedding(
    model: Model, data: str | Path | Sequence[LabelledImage], far: float = FAR
) -> VerificationAccuracy:
    """True-accept rate of an embedder at a false-accept rate, over all pairs of pictures.

    Parameters
    ----------
    model : Model
    data : folder, or sequence of LabelledImage
        Pictures of people as the embedder takes them: aligned faces for a face embedder. See `read_identities`.
    far : float in (0, 1]

    Raises
    ------
    InputError, MissingFileError
        As in reading, or what could be read makes no pairs.
    UnsupportedError
        The model is no embedder.
    """
    if model.task != "embedding":
        raise UnsupportedError(f"verification rates are of embedders; this is a {model.task} model")
    items = read_identities(data) if isinstance(data, str | Path) else data
    vectors, people = [], []
    for index, image in readable([(item.path, item.class_index) for item in items], "evaluating"):
        vectors.append(model(image).vector)
        people.append(index)
    return verification_accuracy(np.stack(vectors), people, far, len(items) - len(people))


def verification_accuracy(
    vectors: npt.NDArray[np.float32], people: Sequence[int], far: float = FAR, skipped: int = 0
) -> VerificationAccuracy:
    """The accuracy of vectors, however they were made.

    Parameters
    ----------
    vectors : (N, D) float32
    people : sequence of int
        Who each is of.
    far : float in (0, 1]
    skipped : int
        Pictures without a vector.

    Warns
    -----
    RuntimeWarning
        There are too few impostor pairs to show that rate.
    """
    rates = verification_rates(vectors, people, (far, *(rate for rate in RATES if rate != far)))
    if far * rates.impostor < 1:
        warnings.warn(
            f"a false-accept rate of {far:g} needs {int(np.ceil(1 / far)):,} pairs of different people; there are "
            f"{rates.impostor:,}: none is accepted instead; give more pictures",
            RuntimeWarning,
            stacklevel=2,
        )
    return VerificationAccuracy(far, rates, len(set(people)), len(people), skipped)
