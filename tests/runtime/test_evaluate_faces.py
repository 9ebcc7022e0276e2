"""Verification rates of an embedder on folders of pictures, with vectors that are known."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from edgecv_runtime.errors import InputError, MissingFileError, UnsupportedError
from edgecv_runtime.evaluate_faces import evaluate_embedding, read_identities, verification_accuracy


class Plane:
    """An embedder whose vector is at an angle of as many degrees as the picture's grey level."""

    task = "embedding"

    def __call__(self, image: np.ndarray) -> Any:
        angle = np.radians(float(image.mean()))
        return SimpleNamespace(vector=np.array([np.cos(angle), np.sin(angle)], np.float32))


def people(folder: Path, **levels: tuple[int, ...]) -> Path:
    for person, values in levels.items():
        (folder / person).mkdir(parents=True)
        for index, value in enumerate(values):
            assert cv2.imwrite(str(folder / person / f"{index}.png"), np.full((8, 8, 3), value, np.uint8))
    return folder


def test_by_hand(tmp_path: Path) -> None:
    # Genuine pairs 10 and 30 degrees apart; impostor pairs 30, 60, 20, 50 (see the metric's own test).
    folder = people(tmp_path, ann=(0, 10), bob=(30, 60))
    found = evaluate_embedding(Plane(), folder, far=0.5)  # type: ignore[arg-type]
    assert (found.tar_at_far, found.far, found.people, found.n, found.skipped) == (1.0, 0.5, 2, 4, 0)
    assert found.rates.far.tolist() == [0.5, 0.1, 0.01, 0.001]
    assert found.rates.tar.tolist() == [1.0, 0.5, 0.5, 0.5]
    answer = found.to_dict()
    assert (answer["tar_at_far"], answer["far"], answer["genuine"], answer["impostor"]) == (1.0, 0.5, 2, 4)
    assert len(evaluate_embedding(Plane(), folder, far=0.25).rates.far) == 4  # type: ignore[arg-type]


def test_a_list_of_files(tmp_path: Path) -> None:
    people(tmp_path, images=(0, 10, 30, 60))
    (tmp_path / "labels.csv").write_text("file,class_index\n0.png,7\n1.png,7\n2.png,9\n3.png,9\n")
    assert evaluate_embedding(Plane(), tmp_path, far=0.5).tar_at_far == 1.0  # type: ignore[arg-type]


def test_unreadable_pictures_are_skipped_and_counted(tmp_path: Path) -> None:
    folder = people(tmp_path, ann=(0, 10), bob=(30, 60))
    (folder / "bob" / "2.jpg").write_bytes(b"no picture")
    with pytest.warns(RuntimeWarning, match="2.jpg is not an image"):
        found = evaluate_embedding(Plane(), folder, far=0.5)  # type: ignore[arg-type]
    assert (found.n, found.skipped) == (4, 1)


def test_too_few_pairs_for_a_rate() -> None:
    vectors = np.array([[1, 0], [1, 0], [0, 1]], np.float32)
    with pytest.warns(RuntimeWarning, match="0.001 needs 1,000 pairs of different people; there are 2"):
        assert verification_accuracy(vectors, [0, 0, 1]).tar_at_far == 1.0


def test_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="no folder at"):
        read_identities(tmp_path / "none")
    with pytest.raises(InputError, match="received 0 pictures of 0 people"):
        read_identities(tmp_path)
    with pytest.raises(InputError, match="received 2 pictures of 2 people"):
        read_identities(people(tmp_path / "strangers", ann=(0,), bob=(1,)))
    with pytest.raises(InputError, match="received 2 pictures of 1 people"):
        read_identities(people(tmp_path / "alone", ann=(0, 1)))
    with pytest.raises(UnsupportedError, match="verification rates are of embedders; this is a detection model"):
        evaluate_embedding(SimpleNamespace(task="detection"), tmp_path)  # type: ignore[arg-type]
