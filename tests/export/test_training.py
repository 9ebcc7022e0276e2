"""Pictures to train on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edgecv_export import training
from edgecv_export.sources import source_of
from edgecv_export.training import load_training
from edgecv_runtime.errors import InputError, MissingFileError
from edgecv_runtime.evaluate import LabelledImage, read_labelled_images


@pytest.fixture(scope="module")
def source(lenet: Any) -> Any:
    """(32, 32, 1), ten classes."""
    return source_of(lenet)


@pytest.fixture
def folder(tmp_path: Path) -> Callable[..., Path]:
    """``folder(count, labelled=True)``: that many pictures, number i filled with i."""

    def make(count: int, labelled: bool = True, name: str = "pictures") -> Path:
        for index in range(count):
            place = tmp_path / name / (str(index % 10) if labelled else "mixed")
            place.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(place / f"{index:03d}.png"), np.full((20, 24, 3), index, np.uint8))
        return tmp_path / name

    return make


def test_labelled_by_folder(folder: Callable[..., Path], source: Any) -> None:
    found = load_training(folder(30), source, None)
    assert len(found) == 30
    assert (found.pixels.shape, found.pixels.dtype) == ((30, 32, 32, 1), np.uint8)
    assert found.labels is not None
    # In order of the folders: 0, 10, 20, 1, 11, 21, ...
    assert found.pixels[:, 0, 0, 0].tolist() == [digit + ten for digit in range(10) for ten in (0, 10, 20)]
    assert found.labels.tolist() == [digit for digit in range(10) for _ in range(3)]


def test_without_labels(folder: Callable[..., Path], source: Any) -> None:
    where = folder(25, labelled=False)
    with pytest.warns(RuntimeWarning) as told:
        found = load_training(where, source, None)
    assert [str(one.message) for one in told] == [
        f"training without labels: the 1 class folders of {where} cannot be matched to the model's 10 classes: name "
        "them after its labels or by class index, or write labels.csv (file,class_index)"
    ]
    assert found.labels is None
    assert found.pixels[:, 0, 0, 0].tolist() == list(range(25))


def test_pictures_that_are_evaluated_on_are_refused(folder: Callable[..., Path], source: Any, tmp_path: Path) -> None:
    where = folder(30)
    with pytest.raises(InputError) as caught:
        load_training(where, source, None, read_labelled_images(where, None, 10)[7:8])
    assert str(caught.value) == "training and evaluation pictures must differ; 012.png is among both"
    # By another way to the same file as well.
    (tmp_path / "other").symlink_to(where)
    with pytest.raises(InputError, match="must differ; 000.png is among both"):
        load_training(tmp_path / "other", source, None, [LabelledImage(where / "0" / "000.png", 0)])


def test_other_pictures_of_the_same_names_are_no_matter(folder: Callable[..., Path], source: Any) -> None:
    evaluation = read_labelled_images(folder(3, name="evaluation"), None, 10)
    assert len(load_training(folder(20, name="lessons"), source, None, evaluation)) == 20


def test_unreadable_ones_are_left_out_with_their_labels(folder: Callable[..., Path], source: Any) -> None:
    where = folder(22)
    (where / "0" / "010.png").write_text("no picture")
    with pytest.warns(RuntimeWarning, match="training picture skipped: .*010.png is not an image"):
        found = load_training(where, source, None)
    assert len(found) == 21
    assert found.labels is not None
    assert (found.pixels[:, 0, 0, 0] % 10).tolist() == found.labels.tolist()


@pytest.mark.parametrize("count", [1, 19])
def test_too_few(count: int, folder: Callable[..., Path], source: Any) -> None:
    """Said before the search, not at its end."""
    where = folder(20)
    for path in sorted(where.rglob("*.png"))[count:]:
        path.write_text("no picture")
    with pytest.warns(RuntimeWarning, match="skipped"), pytest.raises(InputError) as caught:
        load_training(where, source, None)
    assert str(caught.value) == f"training needs at least 20 pictures; {count} of 20 in {where} can be read"


def test_no_folder_and_no_picture(source: Any, tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="^no folder at "):
        load_training(tmp_path / "none", source, None)
    with (
        pytest.warns(RuntimeWarning, match="^training without labels"),
        pytest.raises(InputError, match="holds no image"),
    ):
        load_training(tmp_path, source, None)


def test_more_than_memory_holds(folder: Callable[..., Path], source: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Evenly spaced ones, from the first to the last."""
    monkeypatch.setattr(training, "_MEMORY", 21 * 32 * 32)
    with pytest.warns(RuntimeWarning, match="^21 of 41 training pictures are used: more do not fit memory$"):
        found = load_training(folder(41), source, None)
    assert len(found) == 21
    everything = [index for digit in range(10) for index in range(digit, 41, 10)]
    assert found.pixels[:, 0, 0, 0].tolist() == everything[::2]
